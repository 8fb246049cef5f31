//! The state machine and the table of containers.

use jiff::Timestamp;
use proptest::prelude::*;

use super::record::{Record, State};
use super::*;
use crate::ErrorKind;

fn transitions() -> impl Strategy<Value = Transition> {
    prop_oneof![
        Just(Transition::Start),
        Just(Transition::Pause),
        Just(Transition::Unpause),
        Just(Transition::Exit),
        Just(Transition::ExitToRestart),
        Just(Transition::Remove),
        Just(Transition::RemoveFailed),
    ]
}

proptest! {
    /// Whatever happens in whatever order, the rules below hold.
    #[test]
    fn the_state_machine_keeps_its_rules(happenings in proptest::collection::vec(transitions(), 0..40)) {
        let mut status = Status::Created;
        let mut started = false;
        for transition in happenings {
            let Ok(next) = status.after(transition) else { continue };
            started |= transition == Transition::Start;
            // A process lives only after a start, and is paused only while it lives.
            prop_assert!(started || !next.is_live());
            if next == Status::Paused { prop_assert_eq!(status, Status::Running); }
            // Nothing that lives is removed, and what is being removed never lives again.
            if next == Status::Removing { prop_assert!(!status.is_live()); }
            if matches!(status, Status::Removing | Status::Dead) { prop_assert!(!next.is_live()); }
            // Only what lived waits for its restart, and nothing is ever `created` again.
            if next == Status::Restarting { prop_assert!(status.is_live()); }
            prop_assert_ne!(next, Status::Created);
            status = next;
        }
    }
}

#[test]
fn every_status_can_be_left_except_by_nothing() {
    let all = [
        Transition::Start,
        Transition::Pause,
        Transition::Unpause,
        Transition::Exit,
        Transition::ExitToRestart,
        Transition::Remove,
        Transition::RemoveFailed,
    ];
    for status in Status::ALL {
        assert!(
            all.into_iter().any(|transition| status.after(transition).is_ok()),
            "{status} is a trap"
        );
    }
    let error = Status::Running.after(Transition::Remove).unwrap_err();
    assert_eq!(error.to_string(), "container is running: Remove is not possible");
}

pub(super) fn record(id: &str, name: &str) -> Record {
    Record {
        id: id.to_owned(),
        name: name.to_owned(),
        created: Timestamp::UNIX_EPOCH,
        image: havre_oci::Digest::sha256_of(b""),
        layers: Vec::new(),
        os: "linux".to_owned(),
        args: vec!["true".to_owned()],
        config: Config::default(),
        host_config: HostConfig::default(),
        endpoints: Default::default(),
        mounts: Vec::new(),
        state: State::default(),
        restart_count: 0,
        stopped_by_user: false,
        left_primary: false,
        network: None,
        mountpoints: Vec::new(),
    }
}

fn table(containers: &[(&str, &str)]) -> Table {
    let table = Table::default();
    for (id, name) in containers {
        table.reserve(name, id).unwrap();
        table.insert(Container::new(record(id, name)));
    }
    table
}

#[test]
fn lookup_prefers_id_then_name_then_prefix() {
    let table = table(&[("aaa1", "web"), ("aaa2", "aaa"), ("bbb1", "db")]);
    let id = |wanted: &str| table.find(wanted).map(|container| container.id.clone());
    assert_eq!(id("aaa1").unwrap(), "aaa1");
    assert_eq!(id("/web").unwrap(), "aaa1");
    assert_eq!(id("aaa").unwrap(), "aaa2", "a name before prefixes");
    assert_eq!(id("b").unwrap(), "bbb1");
    let ambiguous = id("aa").unwrap_err();
    assert_eq!(
        ambiguous.to_string(),
        "Multiple IDs found with provided prefix: aa"
    );
    assert_eq!(ambiguous.kind(), ErrorKind::InvalidParameter);
    for missing in ["c", "", "webb"] {
        let error = id(missing).unwrap_err();
        assert_eq!(error.to_string(), format!("No such container: {missing}"));
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[test]
fn names_are_unique_until_released() {
    let table = table(&[("aaa1", "web")]);
    let error = table.reserve("web", "bbb1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Conflict. The container name \"/web\" is already in use by container \"aaa1\". You have to remove (or rename) that \
         container to be able to reuse that name."
    );
    assert_eq!(error.kind(), ErrorKind::Conflict);
    table.release("web", "bbb1");
    assert!(
        table.reserve("web", "bbb1").is_err(),
        "only its holder can release a name"
    );
    table.remove("aaa1");
    table.reserve("web", "bbb1").unwrap();
}

#[tokio::test]
async fn waiters_are_woken_by_their_condition_only() {
    let container = Container::new(record("aaa1", "web"));
    let outcome = |code| WaitOutcome {
        exit_code: code,
        error: None,
    };
    assert_eq!(
        container.wait(WaitCondition::NotRunning).await.unwrap(),
        outcome(0),
        "it does not run"
    );
    let mut next = container.wait(WaitCondition::NextExit);
    let mut removed = container.wait(WaitCondition::Removed);
    assert!(next.try_recv().is_err() && removed.try_recv().is_err());
    container.change(|record| {
        record.state.status = Status::Exited;
        record.state.exit_code = 3;
    });
    container.notify(&[WaitCondition::NotRunning, WaitCondition::NextExit], None);
    assert_eq!(next.await.unwrap(), outcome(3));
    assert!(removed.try_recv().is_err());
    container.notify(&[WaitCondition::Removed], Some("disk on fire".to_owned()));
    assert_eq!(removed.await.unwrap().error.as_deref(), Some("disk on fire"));
}

#[test]
fn records_come_back_as_they_were_stored() {
    let mut stored = record("aaa1", "web");
    stored.config.exposed_ports.insert("80/tcp".parse().unwrap());
    stored.host_config.resources.memory = 1 << 30;
    stored
        .host_config
        .port_bindings
        .insert("80/tcp".parse().unwrap(), vec![PortBinding::default()]);
    stored.state.status = Status::Running;
    let text = table::encode(&stored).unwrap();
    let read: Record = serde_json::from_str(&text).unwrap();
    assert_eq!(read.config, stored.config);
    assert_eq!(read.host_config, stored.host_config);
    assert_eq!(read.state.status, Status::Running);
}

#[test]
fn restart_policies() {
    let wants = |name, retries, count, code| {
        let mut record = record("aaa1", "web");
        record.host_config.restart_policy = RestartPolicy {
            name,
            maximum_retry_count: retries,
        };
        record.restart_count = count;
        exit::wants_restart(&record, code)
    };
    use RestartPolicyName::*;
    assert!(!wants(No, 0, 0, 1));
    assert!(wants(Always, 0, 1000, 0) && wants(UnlessStopped, 0, 0, 0));
    assert!(wants(OnFailure, 0, 99, 1) && !wants(OnFailure, 0, 0, 0));
    assert!(wants(OnFailure, 3, 2, 1) && !wants(OnFailure, 3, 3, 1));
}
