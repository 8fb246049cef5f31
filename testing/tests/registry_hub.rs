//! The people of a registry whose database is PostgreSQL, shared by two processes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use havre_hub::{
    AccountName, Action, Actor, AuditQuery, Hub, HubError, NewAccount, NewInvitation, NewToken, Policy,
    PolicyScope, Quota, RepositoryQuery, Retention, Role, Scope, SearchQuery, Settings,
};
use havre_oci::{Algorithm, Descriptor, Digest, Manifest, media_type};
use havre_postgres::Postgres;
use havre_registry_store::{RegistryStore, RepositoryName};
use havre_testing::PostgresServer;

const PASSWORD: &str = "correct horse";

fn name(text: &str) -> AccountName {
    text.parse().expect("a name")
}

fn repository(text: &str) -> RepositoryName {
    text.parse().expect("a name")
}

fn push(store: &RegistryStore, to: &str, tag: &str, layer: &[u8]) -> Digest {
    let to = repository(to);
    for bytes in [&b"{}"[..], layer] {
        let upload = store.begin_upload(&to, Algorithm::Sha256).expect("an upload");
        let mut appending = store.append(&to, &upload.id, None).expect("the upload");
        appending.write(bytes).expect("written");
        appending.finish(&Digest::sha256_of(bytes)).expect("a blob");
    }
    let manifest = Manifest::oci(
        Descriptor::of(media_type::OCI_CONFIG, b"{}"),
        vec![Descriptor::of(media_type::OCI_LAYER, layer)],
    );
    let tag = tag.parse().expect("a tag");
    let put = store.put_manifest(&to, &tag, Some(media_type::OCI_MANIFEST), &manifest.to_bytes());
    put.expect("a manifest").digest
}

#[test]
fn people_and_rules_on_postgresql() {
    let server = PostgresServer::start();
    let folder = tempfile::tempdir().expect("a folder");
    let open = || {
        let database = Postgres::open(&server.url(), 4).expect("a database");
        RegistryStore::in_folder(folder.path(), Arc::new(database)).expect("a store")
    };
    let (store, second) = (open(), open());
    // Both make the tables and the first key at once.
    let settings = Settings {
        failures: 2,
        ..Settings::default()
    };
    let (hub, replica) = std::thread::scope(|scope| {
        let other = scope.spawn(|| Hub::open(&second, settings.clone()).expect("a hub"));
        let hub = Hub::open(&store, settings.clone()).expect("a hub");
        (hub, other.join().expect("a hub"))
    });
    let first = hub.first_run().expect("an answer").expect("an invitation");
    let who = |called: &str| NewAccount {
        name: called.to_owned(),
        password: PASSWORD.to_owned(),
        ..NewAccount::default()
    };
    let nobody = Actor::anonymous(None);
    replica
        .sign_up(&who("boss"), Some(&first), &nobody)
        .expect("the first account");
    let boss = hub.authenticate("boss", PASSWORD, None).expect("boss");
    assert!(boss.is_admin());
    for called in ["me", "you"] {
        let new = NewInvitation {
            note: called.to_owned(),
            admin: false,
            organisation: None,
            lifetime: Duration::from_secs(60),
        };
        let (_, secret) = hub.invite(&boss, &new).expect("an invitation");
        assert_eq!(hub.invitations(&boss, None).expect("invitations").len(), 1);
        replica
            .sign_up(&who(called), Some(&secret), &nobody)
            .expect("an account");
    }
    let taken = hub.create_account(&boss, &who("me"));
    assert!(matches!(taken, Err(HubError::Exists { .. })), "{taken:?}");
    assert_eq!(hub.accounts(&boss, "o", "", 10).expect("accounts").len(), 2);
    let (me, you) = (
        hub.authenticate("me", PASSWORD, None).expect("me"),
        replica.authenticate("you", PASSWORD, None).expect("you"),
    );

    let session = hub
        .sign_in("me", PASSWORD, "192.0.2.1".parse().ok(), "test")
        .expect("a session");
    let seen = replica
        .session(&session.secret, None)
        .expect("an answer")
        .expect("the session");
    assert_eq!(replica.sessions(&seen.actor).expect("sessions").len(), 1);
    for hub in [&hub, &replica] {
        assert!(hub.sign_in("you", "wrong password", None, "").is_err());
    }
    let locked = hub.sign_in("you", PASSWORD, None, "").expect_err("locked");
    assert!(
        matches!(locked, HubError::Locked { .. }),
        "failures count together: {locked:?}"
    );
    hub.set_password(&boss, &name("you"), None, "another horse")
        .expect("a password");
    hub.sign_in("you", "another horse", None, "")
        .expect("no failures");

    let new = NewToken {
        title: "ci".to_owned(),
        role: Role::Write,
        repositories: vec!["acme/**".to_owned()],
        lifetime: Some(Duration::from_secs(60)),
    };
    let acme = name("acme");
    hub.create_organisation(&me, &acme, "Acme")
        .expect("an organisation");
    let (robot, secret) = hub.create_robot(&me, &acme, "ci", &new).expect("a robot");
    hub.set_member(&me, &acme, &name("you"), false).expect("a member");
    hub.set_team(&me, &acme, "devs", "Developers").expect("a team");
    hub.set_team_member(&me, &acme, "devs", &robot, true)
        .expect("in the team");
    hub.set_team_role(&me, &acme, "devs", "*", Some(Role::Write))
        .expect("a role");
    hub.set_collaborator(&me, &repository("acme/app"), &name("you"), Some(Role::Admin))
        .expect("a role");
    assert_eq!(
        hub.teams(&you, &acme).expect("teams")[0].members,
        std::slice::from_ref(&robot)
    );
    assert_eq!(hub.members(&you, &acme).expect("members").len(), 2);
    assert_eq!(hub.robots(&me, &acme).expect("robots").len(), 1);
    assert_eq!(hub.tokens(&me, &robot).expect("tokens").len(), 1);
    let ci = replica.authenticate("acme+ci", &secret, None).expect("the robot");
    let app = repository("acme/app");
    assert_eq!(replica.role(&ci, &app).expect("a role"), Some(Role::Write));
    assert_eq!(replica.role(&you, &app).expect("a role"), Some(Role::Admin));
    assert!(!replica.may(&nobody, &app, Action::Pull).expect("an answer"));
    let scopes: Vec<Scope> = vec!["repository:acme/app:pull,push".parse().expect("a scope")];
    let token = hub.issue(&ci, &scopes).expect("a token").token;
    let bearer = replica.verify(&token).expect("believed by the other");
    assert!(bearer.allows(&app, Action::Push) && !bearer.allows(&app, Action::Delete));
    assert_eq!(replica.bearer(&bearer, None).expect("the robot"), ci);
    let refresh = hub
        .refresh_token(&ci, "test")
        .expect("an answer")
        .expect("a token");
    assert_eq!(
        replica.refresh(&refresh, None).expect("the robot").name(),
        Some(&robot)
    );

    for (tag, layer) in [("1", b"one"), ("2", b"two"), ("v3", b"six")] {
        let digest = push(&store, "acme/app", tag, layer);
        let labels = BTreeMap::from([("vendor".to_owned(), "Ganymede".to_owned())]);
        hub.pushed(&ci, &app, tag, &digest, &labels).expect("noted");
        hub.pulled(&app, &digest);
        replica.pulled(&app, &digest);
    }
    hub.write_pulls().expect("written");
    replica.write_pulls().expect("written");
    hub.describe(&me, &app, "An app", "# App").expect("described");
    hub.set_official(&boss, &app, true).expect("official");
    hub.star(&you, &app, true).expect("a star");
    let found = hub.repository(&you, &app).expect("the repository");
    assert_eq!(
        (found.pulls, found.stars, found.official, found.starred),
        (6, 1, true, true)
    );
    assert!(hub.repository(&nobody, &app).is_err());
    hub.set_public(&me, &app, true).expect("public");
    for text in ["app", "ganymede", "AN", "v3"] {
        let query = SearchQuery {
            text: text.to_owned(),
            limit: 10,
            ..SearchQuery::default()
        };
        assert_eq!(
            replica.search(&nobody, &query).expect("an answer").total,
            1,
            "{text}"
        );
    }
    let starred = RepositoryQuery {
        namespace: Some("acme".to_owned()),
        starred_by: Some(name("you")),
        limit: 10,
        ..RepositoryQuery::default()
    };
    assert_eq!(hub.repositories(&you, &starred).expect("a page").total, 1);
    assert_eq!(
        hub.catalog(&nobody, "", 10).expect("a page"),
        (vec!["acme/app".to_owned()], false)
    );

    let quota = Quota {
        bytes: Some(100),
        repositories: Some(1),
    };
    hub.set_quota(&boss, &acme, Some(quota)).expect("a quota");
    assert!(hub.usage(&me, &acme).expect("a usage").bytes > 100);
    let full = hub.must_fit(&app, &Digest::sha256_of(b"new"), 3);
    assert!(matches!(full, Err(HubError::Quota { .. })), "{full:?}");
    hub.must_fit(&app, &Digest::sha256_of(b"one"), 3)
        .expect("it is there");
    assert!(hub.room(&repository("acme/other"), None).is_err());
    hub.set_quota(&boss, &acme, None).expect("no quota");

    let policy = Policy {
        immutable: vec!["v*".to_owned()],
        naming: vec!["v?[0-9]+".to_owned()],
        retention: Some(Retention {
            keep_newest: Some(1),
            every_hours: Some(1),
            ..Retention::default()
        }),
    };
    let scope = PolicyScope::Namespace(acme.clone());
    hub.set_policy(&me, &scope, Some(&policy)).expect("a policy");
    let refused = hub.delete_tag(&me, &app, &"v3".parse().expect("a tag"));
    assert!(matches!(refused, Err(HubError::Immutable { .. })), "{refused:?}");
    let plans = replica.preview(&me, &scope, None).expect("a plan");
    assert_eq!(plans[0].tags.len(), 2);
    // Of two that find it due one does it.
    let done = std::thread::scope(|scope| {
        let other = scope.spawn(|| replica.run_due_policies().expect("done"));
        let mut done = hub.run_due_policies().expect("done");
        done.extend(other.join().expect("done"));
        done
    });
    assert_eq!(done, plans);
    assert_eq!(store.tags(&app, "", 10).expect("tags").items, ["v3"]);

    hub.rotate_keys(&boss, true).expect("a new key");
    assert!(hub.verify(&token).is_err());
    hub.tidy().expect("tidied");
    let all = AuditQuery {
        namespace: Some(acme.clone()),
        action: Some("retention.".to_owned()),
        limit: 10,
        ..AuditQuery::default()
    };
    assert_eq!(hub.audit(&me, &all).expect("entries").len(), 4);
    let kept = hub.delete_account(&me, &acme);
    assert!(matches!(kept, Err(HubError::Conflict(_))), "{kept:?}");
    hub.delete_account(&boss, &name("you")).expect("gone");
    assert!(hub.set_admin(&boss, &name("boss"), false).is_err());
}
