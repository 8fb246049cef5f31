//! Deliveries from the event to their end.

use std::sync::Arc;

use havre_database::{Database, Sqlite};
use havre_registry_events::{
    Action, Actor, Event, EventsError, NewWebhook, Origin, Outbox, Request, State, Subject, Target, signature,
};

struct Fixture {
    _folder: tempfile::TempDir,
    database: Arc<dyn Database>,
    outbox: Outbox,
}

fn fixture(configured: Vec<Target>) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let database: Arc<dyn Database> = Arc::new(Sqlite::open(&folder.path().join("db")).expect("a database"));
    let outbox = Outbox::open(Arc::clone(&database), configured).expect("an outbox");
    Fixture {
        _folder: folder,
        database,
        outbox,
    }
}

impl Fixture {
    /// As if so many milliseconds had gone by.
    fn later(&self, milliseconds: i64) {
        let sql = "UPDATE deliveries SET due = due - $1, created = created - $1, ended = ended - $1";
        self.database
            .writing(|connection| connection.execute(sql, &[milliseconds.into()]))
            .expect("time");
    }
}

fn target(name: &str, actions: Vec<Action>) -> Target {
    Target {
        name: name.to_owned(),
        url: "https://example.com/".parse().expect("an address"),
        headers: vec![("authorization".to_owned(), "Bearer x".to_owned())],
        secret: None,
        actions,
        repository: None,
        ignored: Vec::new(),
        private: true,
    }
}

fn webhook(name: &str, repository: Option<&str>) -> NewWebhook {
    NewWebhook {
        name: name.to_owned(),
        url: "https://example.com/hook".parse().expect("an address"),
        secret: None,
        actions: vec![Action::Push],
        repository: repository.map(str::to_owned),
        private: false,
    }
}

fn event(action: Action) -> Event {
    let subject = Subject {
        repository: "team/app".to_owned(),
        tag: Some("1".to_owned()),
        ..Subject::default()
    };
    Event::new(
        action,
        subject,
        Request::default(),
        Actor::default(),
        Origin::default(),
    )
}

#[test]
fn everybody_who_wants_to_know_is_told_once() {
    let fixture = fixture(vec![
        target("all", Vec::new()),
        target("deletes", vec![Action::Delete]),
    ]);
    let secret = fixture
        .outbox
        .add_webhook(&webhook("ci", Some("team")))
        .expect("a webhook");
    fixture
        .outbox
        .add_webhook(&webhook("others", Some("else")))
        .expect("a webhook");
    assert_eq!(fixture.outbox.put(&event(Action::Push)).expect("an event"), 2);
    let due = fixture.outbox.due(9).expect("what is due");
    let names: Vec<&str> = due.iter().map(|sending| sending.target.name.as_str()).collect();
    assert!(names.contains(&"all") && names.contains(&"ci"), "{names:?}");
    assert!(
        fixture.outbox.due(9).expect("nothing").is_empty(),
        "they are being sent"
    );
    for sending in &due {
        let headers = sending.headers();
        let header = |name: &str| {
            headers
                .iter()
                .find(|(there, _)| there == name)
                .map(|(_, value)| value.clone())
        };
        match sending.target.name.as_str() {
            "ci" => assert_eq!(
                header("x-havre-signature-256"),
                Some(signature(&secret, sending.body.as_bytes()))
            ),
            _ => assert_eq!(header("authorization").as_deref(), Some("Bearer x")),
        }
        assert_eq!(header("x-havre-delivery").as_deref(), Some(sending.id.as_str()));
        fixture
            .outbox
            .told(sending, Ok((204, String::new())))
            .expect("an end");
    }
    fixture.later(120_000);
    assert!(fixture.outbox.due(9).expect("nothing").is_empty());
    let log = fixture.outbox.deliveries(Some("ci"), 9).expect("the log");
    assert_eq!(
        (log.len(), log[0].state, log[0].attempts),
        (1, State::Delivered, 1)
    );
    assert_eq!(
        (log[0].about.as_str(), log[0].answer.as_str()),
        ("push team/app:1", "204")
    );
}

#[test]
fn what_is_not_taken_is_sent_again_later_and_later() {
    let fixture = fixture(vec![target("all", Vec::new())]);
    fixture.outbox.put(&event(Action::Pull)).expect("an event");
    let mut waits = Vec::new();
    loop {
        let due = fixture.outbox.due(9).expect("what is due");
        let [sending] = due.as_slice() else {
            panic!("{due:?}")
        };
        let answer = match waits.len() % 2 {
            0 => Ok((500, "not now\u{7}".to_owned())),
            _ => Err("connection refused".to_owned()),
        };
        fixture.outbox.told(sending, answer).expect("an answer");
        let log = fixture.outbox.deliveries(None, 9).expect("the log");
        match log[0].state {
            State::Waiting { due } => {
                let wait = due - havre_database::now();
                waits.push(wait);
                assert!(fixture.outbox.due(9).expect("nothing").is_empty(), "not yet");
                fixture.later(wait + 1000);
            }
            State::GivenUp => break,
            State::Delivered => panic!("nobody took it"),
        }
        let expected = if waits.len() % 2 == 1 {
            "500 not now"
        } else {
            "connection refused"
        };
        assert_eq!(log[0].answer, expected);
    }
    assert!((4_000..=5_000).contains(&waits[0]), "{waits:?}");
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1] + 100), "{waits:?}");
    assert!((15..30).contains(&waits.len()), "{waits:?}");
    let given_up = fixture.outbox.deliveries(None, 9).expect("the log").remove(0);
    assert!(fixture.outbox.redeliver(&given_up.id).expect("again"));
    assert!(!fixture.outbox.redeliver("nothing").expect("an answer"));
    assert_eq!(fixture.outbox.due(9).expect("what is due").len(), 1);
}

#[test]
fn what_a_process_left_is_taken_by_another() {
    let fixture = fixture(vec![target("all", Vec::new())]);
    fixture.outbox.put(&event(Action::Push)).expect("an event");
    assert_eq!(fixture.outbox.due(9).expect("what is due").len(), 1);
    fixture.later(61_000);
    let again =
        Outbox::open(Arc::clone(&fixture.database), vec![target("all", Vec::new())]).expect("another");
    assert_eq!(again.due(9).expect("what is due").len(), 1);
    // The target is no longer in the configuration.
    fixture.later(61_000);
    let without = Outbox::open(Arc::clone(&fixture.database), Vec::new()).expect("another");
    assert!(without.due(9).expect("nothing").is_empty());
    assert_eq!(
        without.deliveries(None, 9).expect("the log")[0].state,
        State::GivenUp
    );
    fixture.later(8 * 24 * 3600 * 1000);
    assert_eq!(without.sweep().expect("old ones"), 1);
}

#[test]
fn webhooks_come_and_go() {
    let fixture = fixture(Vec::new());
    let outbox = &fixture.outbox;
    let secret = outbox.add_webhook(&webhook("ci", None)).expect("a webhook");
    assert_eq!(secret.len(), 48);
    assert!(matches!(
        outbox.add_webhook(&webhook("ci", None)),
        Err(EventsError::NameTaken(_))
    ));
    assert!(matches!(
        outbox.add_webhook(&webhook("a b", None)),
        Err(EventsError::Name(_))
    ));
    let there = outbox.webhooks().expect("webhooks");
    assert_eq!(
        (there.len(), there[0].actions.as_slice()),
        (1, &[Action::Push][..])
    );
    outbox.put(&event(Action::Push)).expect("an event");
    outbox.remove_webhook("ci").expect("it is gone");
    assert!(matches!(
        outbox.remove_webhook("ci"),
        Err(EventsError::WebhookUnknown(_))
    ));
    assert!(outbox.deliveries(None, 9).expect("the log").is_empty());
}
