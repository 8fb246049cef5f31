//! Accounts, organisations, permissions and tokens, over a registry in a folder.

mod registry;

use std::time::Duration;

use havre_hub::{
    AccountName, Action, Actor, AuditQuery, Hub, HubError, NewAccount, NewInvitation, NewToken, Role,
    Settings, Signup,
};
use registry::{PASSWORD, Registry, account, name, repository};

fn may(hub: &Hub, actor: &Actor, repository_name: &str, action: Action) -> bool {
    hub.may(actor, &repository(repository_name), action)
        .expect("an answer")
}

fn token(role: Role, lifetime: Option<Duration>) -> NewToken {
    NewToken {
        title: "a token".to_owned(),
        role,
        repositories: Vec::new(),
        lifetime,
    }
}

#[test]
fn the_first_administrator_comes_by_the_invitation_that_is_printed() {
    let registry = Registry::new();
    let hub = registry.bare();
    let first = hub.first_run().expect("an answer").expect("an invitation");
    let second = hub.first_run().expect("an answer").expect("an invitation");
    let nobody = Actor::anonymous(None);
    let refused = hub.sign_up(&account("me"), Some(&first), &nobody);
    assert!(matches!(refused, Err(HubError::Denied(_))), "{refused:?}");
    let me = hub
        .sign_up(&account("me"), Some(&second), &nobody)
        .expect("an account");
    assert!(me.admin);
    assert!(
        hub.sign_up(&account("you"), Some(&second), &nobody).is_err(),
        "it is used"
    );
    assert_eq!(hub.first_run().expect("an answer"), None);
}

#[test]
fn sign_up_is_as_configured() {
    let nobody = Actor::anonymous(None);
    for (signup, may) in [
        (Signup::Open, true),
        (Signup::Invitation, false),
        (Signup::Closed, false),
    ] {
        let registry = Registry::with(Settings {
            signup,
            ..Settings::default()
        });
        let made = registry.hub.sign_up(&account("sam"), None, &nobody);
        assert_eq!(made.is_ok(), may, "{signup:?}");
        if let Ok(made) = made {
            assert!(!made.admin);
        }
    }
    let registry = Registry::new();
    let boss = registry.actor("boss");
    let new = NewInvitation {
        note: "for sam".to_owned(),
        admin: false,
        organisation: None,
        lifetime: Duration::from_secs(60),
    };
    let (invitation, secret) = registry.hub.invite(&boss, &new).expect("an invitation");
    assert!(registry.hub.invite(&registry.actor("me"), &new).is_err());
    registry
        .hub
        .sign_up(&account("sam"), Some(&secret), &nobody)
        .expect("an account");
    assert!(
        registry.hub.revoke_invitation(&boss, &invitation.id).is_err(),
        "it is used"
    );
    let expired = NewInvitation {
        lifetime: Duration::ZERO,
        ..new.clone()
    };
    let refused = registry.hub.invite(&boss, &expired);
    assert!(refused.is_err(), "it would be over before it began");
    let (invitation, secret) = registry.hub.invite(&boss, &new).expect("an invitation");
    registry
        .hub
        .revoke_invitation(&boss, &invitation.id)
        .expect("revoked");
    assert!(
        registry
            .hub
            .sign_up(&account("late"), Some(&secret), &nobody)
            .is_err()
    );
}

#[test]
fn names_and_passwords_that_are_none() {
    let registry = Registry::with(Settings {
        signup: Signup::Open,
        ..Settings::default()
    });
    let nobody = Actor::anonymous(None);
    for called in [
        "", "a", "ME", "a/b", "library", "v2", "token", "a+b", "sam+ci", "a b",
    ] {
        let refused = registry.hub.sign_up(&account(called), None, &nobody);
        assert!(
            matches!(refused, Err(HubError::Invalid { field: "name", .. })),
            "{called}: {refused:?}"
        );
    }
    let taken = registry.hub.sign_up(&account("me"), None, &nobody);
    assert!(matches!(taken, Err(HubError::Exists { .. })), "{taken:?}");
    let weak = NewAccount {
        password: "short".to_owned(),
        ..account("sam")
    };
    let refused = registry.hub.sign_up(&weak, None, &nobody);
    assert!(
        matches!(
            refused,
            Err(HubError::Invalid {
                field: "password",
                ..
            })
        ),
        "{refused:?}"
    );
}

/// Whoever comes first would get what others pushed before there were accounts.
#[test]
fn nobody_signs_up_for_repositories_that_are_there() {
    let registry = Registry::with(Settings {
        signup: Signup::Open,
        ..Settings::default()
    });
    registry.push("team/app", "1", b"layer");
    let nobody = Actor::anonymous(None);
    let refused = registry.hub.sign_up(&account("team"), None, &nobody);
    assert!(
        matches!(
            refused,
            Err(HubError::Exists {
                what: "namespace",
                ..
            })
        ),
        "{refused:?}"
    );
    let refused = registry
        .hub
        .create_organisation(&registry.actor("me"), &name("team"), "");
    assert!(refused.is_err());
    registry
        .hub
        .create_account(&registry.actor("boss"), &account("team"))
        .expect("an account");
    // What only looks like it is not in the way: `_` is no pattern.
    registry.push("axb/app", "1", b"layer");
    registry
        .hub
        .sign_up(&account("a_b"), None, &nobody)
        .expect("an account");
}

#[test]
fn sessions_begin_and_end() {
    let registry = Registry::new();
    let hub = &registry.hub;
    let signed_in = hub
        .sign_in("me", PASSWORD, None, "a browser\r\n")
        .expect("a session");
    let session = hub
        .session(&signed_in.secret, None)
        .expect("an answer")
        .expect("a session");
    assert_eq!(session.actor.name(), Some(&name("me")));
    assert!(session.is_csrf(&session.csrf.clone()) && !session.is_csrf("") && !session.is_csrf("x"));
    assert!(hub.session("havre_ses_x", None).expect("an answer").is_none());
    let listed = hub.sessions(&session.actor).expect("sessions");
    assert_eq!(listed.len(), 1);
    assert!(!listed[0].is_csrf(""), "lists give no secrets away");
    assert!(hub.end_session(&registry.actor("you"), &session.id).is_err());
    hub.sign_out(&signed_in.secret).expect("signed out");
    assert!(hub.session(&signed_in.secret, None).expect("an answer").is_none());
    for end in ["password", "disabled"] {
        let signed_in = hub.sign_in("me", PASSWORD, None, "").expect("a session");
        match end {
            "password" => hub.set_password(&registry.actor("me"), &name("me"), Some(PASSWORD), PASSWORD),
            _ => hub.set_disabled(&registry.actor("boss"), &name("me"), true),
        }
        .expect(end);
        assert!(
            hub.session(&signed_in.secret, None).expect("an answer").is_none(),
            "{end}"
        );
    }
    assert!(matches!(
        hub.sign_in("me", PASSWORD, None, ""),
        Err(HubError::Credentials)
    ));
}

#[test]
fn guessing_locks_the_account_and_the_address_for_a_while() {
    let registry = Registry::with(Settings {
        failures: 2,
        lockout: Duration::from_secs(8),
        ..Settings::default()
    });
    let (hub, address) = (&registry.hub, Some("192.0.2.7".parse().expect("an address")));
    let wrong = |who: &str| {
        hub.sign_in(who, "wrong password", address, "")
            .expect_err("wrong")
    };
    assert!(matches!(wrong("me"), HubError::Credentials));
    hub.sign_in("me", PASSWORD, address, "").expect("one is none");
    assert!(matches!(wrong("me"), HubError::Credentials));
    assert!(matches!(wrong("me"), HubError::Credentials));
    let locked = hub.sign_in("me", PASSWORD, None, "").expect_err("locked");
    assert!(
        matches!(locked, HubError::Locked { seconds: 1..=9 }),
        "{locked:?}"
    );
    hub.sign_in("you", PASSWORD, address, "").expect("others may");
    for number in 0..20 {
        wrong(&format!("guess{number}"));
    }
    let locked = hub.sign_in("you", PASSWORD, address, "").expect_err("locked");
    assert!(matches!(locked, HubError::Locked { .. }), "{locked:?}");
    hub.sign_in("you", PASSWORD, None, "").expect("from elsewhere");
    std::thread::sleep(Duration::from_millis(8200));
    hub.sign_in("me", PASSWORD, address, "").expect("it is over");
}

#[test]
fn roles_of_people_organisations_and_teams() {
    use Action::{Delete, Manage, Pull, Push};
    let registry = Registry::new();
    let hub = &registry.hub;
    let (me, you, other, boss) = (
        registry.actor("me"),
        registry.actor("you"),
        registry.actor("other"),
        registry.actor("boss"),
    );
    let nobody = Actor::anonymous(None);
    for action in [Pull, Push, Delete, Manage] {
        assert!(may(hub, &me, "me/app", action) && may(hub, &boss, "me/app", action));
        assert!(!may(hub, &you, "me/app", action) && !may(hub, &nobody, "me/app", action));
        // What has no namespace is the administrators'.
        assert!(!may(hub, &me, "app", action) && may(hub, &boss, "app", action));
    }
    let acme = name("acme");
    hub.create_organisation(&me, &acme, "Acme")
        .expect("an organisation");
    assert!(may(hub, &me, "acme/app", Manage) && !may(hub, &you, "acme/app", Pull));
    hub.set_member(&me, &acme, &name("you"), false).expect("a member");
    assert!(may(hub, &you, "acme/app", Pull) && !may(hub, &you, "acme/app", Push));
    hub.set_base_role(&me, &acme, None).expect("a base");
    assert!(!may(hub, &you, "acme/app", Pull));
    hub.set_team(&me, &acme, "devs", "").expect("a team");
    hub.set_team_member(&me, &acme, "devs", &name("you"), true)
        .expect("in the team");
    assert!(
        hub.set_team_member(&me, &acme, "devs", &name("other"), true)
            .is_err(),
        "no member"
    );
    hub.set_team_role(&me, &acme, "devs", "acme/app", Some(Role::Write))
        .expect("a role");
    assert!(may(hub, &you, "acme/app", Push) && !may(hub, &you, "acme/app", Delete));
    assert!(!may(hub, &you, "acme/other", Pull));
    hub.set_team_role(&me, &acme, "devs", "*", Some(Role::Read))
        .expect("a role");
    assert!(may(hub, &you, "acme/other", Pull) && may(hub, &you, "acme/app", Push));
    assert!(
        hub.set_team_role(&me, &acme, "devs", "me/app", Some(Role::Admin))
            .is_err(),
        "not theirs"
    );
    // Who owns nothing changes nothing.
    for refused in [
        hub.set_member(&you, &acme, &name("you"), true),
        hub.set_base_role(&you, &acme, Some(Role::Admin)),
        hub.set_team_role(&you, &acme, "devs", "*", Some(Role::Admin)),
        hub.set_team(&you, &acme, "mine", ""),
        hub.delete_team(&you, &acme, "devs"),
        hub.set_collaborator(&you, &repository("acme/app"), &name("you"), Some(Role::Admin)),
        hub.delete_account(&you, &acme),
    ] {
        assert!(matches!(refused, Err(HubError::Denied(_))), "{refused:?}");
    }
    // For others it has no inside.
    assert!(matches!(
        hub.members(&other, &acme),
        Err(HubError::Unknown { .. })
    ));
    assert!(matches!(hub.teams(&other, &acme), Err(HubError::Unknown { .. })));
    let left = hub.remove_member(&me, &acme, &name("me"));
    assert!(
        matches!(left, Err(HubError::Conflict(_))),
        "the only owner: {left:?}"
    );
    hub.remove_member(&you, &acme, &name("you")).expect("they leave");
    assert!(!may(hub, &you, "acme/app", Pull));
    hub.set_collaborator(&me, &repository("me/app"), &name("other"), Some(Role::Write))
        .expect("a role");
    assert!(may(hub, &other, "me/app", Push) && !may(hub, &other, "me/app2", Pull));
    hub.set_collaborator(&me, &repository("me/app"), &name("other"), None)
        .expect("no role");
    assert!(!may(hub, &other, "me/app", Pull));
}

#[test]
fn robots_do_what_they_are_granted() {
    let registry = Registry::new();
    let (hub, me) = (&registry.hub, registry.actor("me"));
    let (robot, secret) = hub
        .create_robot(&me, &name("me"), "ci", &token(Role::Write, None))
        .expect("a robot");
    assert_eq!(robot.as_str(), "me+ci");
    assert!(
        hub.create_robot(
            &registry.actor("you"),
            &name("me"),
            "xx",
            &token(Role::Write, None)
        )
        .is_err()
    );
    let actor = hub.authenticate("me+ci", &secret, None).expect("the robot");
    assert!(!may(hub, &actor, "me/app", Action::Pull));
    hub.set_collaborator(&me, &repository("me/app"), &robot, Some(Role::Admin))
        .expect("a role");
    assert!(may(hub, &actor, "me/app", Action::Push));
    assert!(
        !may(hub, &actor, "me/app", Action::Delete),
        "the token is for less"
    );
    assert!(
        hub.sign_in("me+ci", &secret, None, "").is_err(),
        "robots have no sessions"
    );
    assert!(hub.create_organisation(&actor, &name("robots"), "").is_err());
    hub.set_disabled(&me, &robot, true).expect("disabled");
    assert!(matches!(
        hub.authenticate("me+ci", &secret, None),
        Err(HubError::Credentials)
    ));
    hub.set_disabled(&me, &robot, false).expect("enabled");
    hub.delete_account(&me, &robot).expect("gone");
    assert!(hub.authenticate("me+ci", &secret, None).is_err());
    assert!(hub.robots(&me, &name("me")).expect("robots").is_empty());
}

#[test]
fn access_tokens_end_and_cannot_make_others() {
    let registry = Registry::new();
    let (hub, me) = (&registry.hub, registry.actor("me"));
    let (_, secret) = hub
        .create_token(&me, &name("me"), &token(Role::Write, None))
        .expect("a token");
    let by_token = hub.authenticate("me", &secret, None).expect("me");
    for refused in [
        hub.create_token(&by_token, &name("me"), &token(Role::Admin, None))
            .map(drop),
        hub.set_password(&by_token, &name("me"), Some(PASSWORD), "another one"),
        hub.create_organisation(&by_token, &name("acme"), "").map(drop),
        hub.sessions(&by_token).map(drop),
        hub.delete_account(&by_token, &name("me")),
    ] {
        assert!(matches!(refused, Err(HubError::Denied(_))), "{refused:?}");
    }
    let boss = registry.actor("boss");
    let (_, secret) = hub
        .create_token(&boss, &name("boss"), &token(Role::Write, None))
        .expect("a token");
    let by_token = hub.authenticate("boss", &secret, None).expect("boss");
    assert!(
        hub.accounts(&by_token, "", "", 10).is_err(),
        "an administrator's token for less is no administrator's"
    );
    let short = token(Role::Read, Some(Duration::from_millis(2500)));
    let (_, secret) = hub.create_token(&me, &name("me"), &short).expect("a token");
    hub.authenticate("me", &secret, None).expect("me");
    std::thread::sleep(Duration::from_millis(2600));
    assert!(matches!(
        hub.authenticate("me", &secret, None),
        Err(HubError::Credentials)
    ));
    assert!(
        hub.create_token(&registry.actor("you"), &name("me"), &token(Role::Read, None))
            .is_err()
    );
    assert!(hub.tokens(&registry.actor("you"), &name("me")).is_err());
}

#[test]
fn there_is_always_an_administrator_and_an_owner() {
    let registry = Registry::new();
    let (hub, boss, me) = (&registry.hub, registry.actor("boss"), registry.actor("me"));
    for refused in [
        hub.set_admin(&boss, &name("boss"), false),
        hub.set_disabled(&boss, &name("boss"), true),
        hub.delete_account(&boss, &name("boss")),
    ] {
        assert!(matches!(refused, Err(HubError::Conflict(_))), "{refused:?}");
    }
    assert!(hub.set_admin(&me, &name("me"), true).is_err());
    hub.set_admin(&boss, &name("me"), true).expect("another");
    hub.set_admin(&boss, &name("boss"), false).expect("one is left");
    let acme = name("acme");
    hub.create_organisation(&registry.actor("you"), &acme, "")
        .expect("an organisation");
    let refused = hub.delete_account(&registry.actor("you"), &name("you"));
    assert!(matches!(refused, Err(HubError::Conflict(_))), "{refused:?}");
    registry.push("other/app", "1", b"layer");
    let refused = hub.delete_account(&registry.actor("other"), &name("other"));
    assert!(matches!(refused, Err(HubError::Conflict(_))), "{refused:?}");
}

#[test]
fn everything_is_in_the_audit_log_for_those_it_concerns() {
    let registry = Registry::new();
    let (hub, me, boss) = (&registry.hub, registry.actor("me"), registry.actor("boss"));
    hub.sign_in("me", PASSWORD, Some("192.0.2.7".parse().expect("an address")), "")
        .expect("a session");
    let _ = hub.sign_in("me", "wrong password", None, "");
    hub.create_repository(&me, &repository("me/app"), false)
        .expect("a repository");
    let made = hub.repository(&me, &repository("me/app")).expect("it is there");
    assert!(!made.public);
    let again = hub.create_repository(&me, &repository("me/app"), true);
    assert!(matches!(again, Err(HubError::Exists { .. })), "{again:?}");
    hub.set_public(&me, &repository("me/app"), true).expect("public");
    let mine = AuditQuery {
        namespace: Some(name("me")),
        limit: 100,
        ..AuditQuery::default()
    };
    let entries = hub.audit(&me, &mine).expect("entries");
    let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "repository.visibility",
            "repository.create",
            "login.failed",
            "login.session",
            "account.create"
        ]
    );
    assert_eq!(entries[3].address.as_deref(), Some("192.0.2.7"));
    assert_eq!(
        (entries[0].actor.as_str(), entries[0].detail.as_str()),
        ("me", "public")
    );
    let next = AuditQuery {
        before: Some(entries[0].id.clone()),
        limit: 1,
        ..mine.clone()
    };
    assert_eq!(
        hub.audit(&me, &next).expect("entries")[0].action,
        "repository.create"
    );
    assert!(hub.audit(&registry.actor("you"), &mine).is_err());
    let all = AuditQuery {
        action: Some("account.".to_owned()),
        limit: 100,
        ..AuditQuery::default()
    };
    assert!(hub.audit(&me, &all).is_err());
    assert_eq!(hub.audit(&boss, &all).expect("entries").len(), 4);
}

#[test]
fn what_is_said_of_a_repository() {
    let registry = Registry::new();
    let (hub, me, you) = (&registry.hub, registry.actor("me"), registry.actor("you"));
    registry.push("me/app", "1", b"layer");
    let app = repository("me/app");
    assert!(matches!(
        hub.repository(&you, &app),
        Err(HubError::Unknown { .. })
    ));
    assert!(matches!(
        hub.star(&you, &app, true),
        Err(HubError::Unknown { .. })
    ));
    assert!(matches!(
        hub.describe(&you, &app, "x", ""),
        Err(HubError::Unknown { .. })
    ));
    hub.describe(&me, &app, "An app", "# App\n<script>")
        .expect("described");
    hub.set_public(&me, &app, true).expect("public");
    hub.star(&you, &app, true).expect("a star");
    hub.star(&you, &app, true).expect("the same star");
    let seen = hub.repository(&you, &app).expect("a repository");
    assert_eq!((seen.stars, seen.starred, seen.role), (1, true, Role::Read));
    assert_eq!(
        (seen.description.as_str(), seen.readme.as_str()),
        ("An app", "# App\n<script>")
    );
    assert!(matches!(
        hub.describe(&you, &app, "x", ""),
        Err(HubError::Denied(_))
    ));
    assert!(matches!(
        hub.set_official(&me, &app, true),
        Err(HubError::Denied(_))
    ));
    hub.set_official(&registry.actor("boss"), &app, true)
        .expect("official");
    assert!(hub.repository(&you, &app).expect("a repository").official);
    for (description, readme) in [
        ("two\nlines", ""),
        (&"x".repeat(201), ""),
        ("", &"x".repeat(70_000)),
    ] {
        assert!(hub.describe(&me, &app, description, readme).is_err());
    }
    hub.set_public(&me, &app, false).expect("private");
    assert!(matches!(
        hub.repository(&you, &app),
        Err(HubError::Unknown { .. })
    ));
}

#[test]
fn names_of_accounts_in_patterns_are_only_names() {
    let registry = Registry::new();
    let boss = registry.actor("boss");
    registry
        .hub
        .create_account(&boss, &account("a_b"))
        .expect("an account");
    let found = registry.hub.accounts(&boss, "_", "", 10).expect("accounts");
    let found: Vec<AccountName> = found.into_iter().map(|found| found.name).collect();
    assert_eq!(found, [name("a_b")]);
}
