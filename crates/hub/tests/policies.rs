//! What goes by itself is what the plan says, and nothing else.

mod registry;

use havre_hub::{HubError, Plan, Policy, PolicyScope, Retention};
use havre_oci::{Descriptor, Digest, Index, media_type};
use registry::{Registry, name, repository};

fn tags(registry: &Registry, of: &str) -> Vec<String> {
    registry
        .store
        .tags(&repository(of), "", 1000)
        .expect("tags")
        .items
}

fn keeping(retention: Retention) -> Policy {
    Policy {
        retention: Some(retention),
        ..Policy::default()
    }
}

fn scope(text: &str) -> PolicyScope {
    text.parse().expect("a scope")
}

fn going(plan: &Plan) -> Vec<&str> {
    plan.tags.iter().map(|one| one.tag.as_str()).collect()
}

fn there(registry: &Registry, of: &str, digest: &Digest) -> bool {
    let wanted = digest.as_str().parse().expect("a digest");
    registry.store.find_manifest(&repository(of), &wanted).is_ok()
}

#[test]
fn a_run_deletes_just_what_the_plan_says() {
    let registry = Registry::new();
    let (hub, me) = (&registry.hub, registry.actor("me"));
    let mut digests = Vec::new();
    for (age, tag) in [(50, "v1"), (40, "a"), (30, "b"), (20, "c"), (10, "d"), (0, "e")] {
        digests.push(registry.push("me/app", tag, tag.as_bytes()));
        registry.age("me/app", tag, age);
    }
    // Another name for what goes otherwise, and another repository.
    registry.push("me/app", "same-as-b", b"b");
    registry.push("me/other", "a", b"a");
    hub.pulled(&repository("me/app"), &digests[3]);
    hub.write_pulls().expect("written");
    let policy = Policy {
        immutable: vec!["v*".to_owned()],
        naming: Vec::new(),
        retention: Some(Retention {
            keep_newest: Some(1),
            keep_days: Some(15),
            keep_pulled_days: Some(5),
            ..Retention::default()
        }),
    };
    let app = scope("me/app");
    // Looked at before it is in force.
    let before = hub.preview(&me, &app, Some(&policy)).expect("a plan");
    assert!(hub.preview(&me, &app, None).expect("a plan").is_empty());
    hub.set_policy(&me, &app, Some(&policy)).expect("set");
    let plans = hub.preview(&me, &app, None).expect("a plan");
    assert_eq!(plans, before);
    let [plan] = plans.as_slice() else {
        panic!("{plans:?}")
    };
    assert_eq!(going(plan), ["b", "a"]);
    assert!(
        plan.tags[1].why.contains("40 days ago") && plan.tags[1].why.contains("never pulled"),
        "{plan:?}"
    );
    assert_eq!(
        plan.manifests
            .iter()
            .map(|(digest, _)| digest)
            .collect::<Vec<_>>(),
        [&digests[1]]
    );
    let why = |tag: &str| {
        plan.kept
            .iter()
            .find(|one| one.tag.as_str() == tag)
            .expect(tag)
            .why
            .clone()
    };
    assert!(
        why("v1").contains("immutable")
            && why("c").contains("pulled today")
            && why("d").contains("10 days ago")
    );
    // A dry run changes nothing.
    assert_eq!(tags(&registry, "me/app").len(), 7);
    let done = hub.run_retention(&me, &app).expect("done");
    assert_eq!(done, plans);
    assert_eq!(tags(&registry, "me/app"), ["c", "d", "e", "same-as-b", "v1"]);
    for (index, digest) in digests.iter().enumerate() {
        assert_eq!(there(&registry, "me/app", digest), index != 1, "{index}");
    }
    assert_eq!(tags(&registry, "me/other"), ["a"]);
    let again = hub.run_retention(&me, &app).expect("done");
    assert!(
        again
            .iter()
            .all(|plan| plan.tags.is_empty() && plan.manifests.is_empty())
    );
}

#[test]
fn the_last_tag_stays_and_only_matching_tags_are_concerned() {
    let registry = Registry::new();
    let (hub, me) = (&registry.hub, registry.actor("me"));
    for tag in ["pr-1", "pr-2"] {
        registry.push("me/app", tag, tag.as_bytes());
        registry.age("me/app", tag, 100);
    }
    let policy = keeping(Retention {
        tags: vec!["pr-*".to_owned()],
        keep_days: Some(7),
        keep_matching: vec!["main".to_owned()],
        ..Retention::default()
    });
    hub.set_policy(&me, &scope("me/"), Some(&policy)).expect("set");
    let plans = hub.preview(&me, &scope("me/"), None).expect("a plan");
    assert_eq!(going(&plans[0]), ["pr-1"], "one is left: {plans:?}");
    registry.push("me/app", "release", b"release");
    registry.age("me/app", "release", 300);
    hub.run_retention(&me, &scope("me/")).expect("done");
    assert_eq!(tags(&registry, "me/app"), ["release"]);
}

#[test]
fn indexes_go_with_what_only_they_name_and_what_is_about_them() {
    let registry = Registry::new();
    let (hub, me) = (&registry.hub, registry.actor("me"));
    let (one, shared) = (
        registry.push("me/app", "one", b"1"),
        registry.push("me/app", "two", b"2"),
    );
    let descriptor = |digest: &Digest| {
        let wanted = digest.as_str().parse().expect("a digest");
        let size = registry
            .store
            .find_manifest(&repository("me/app"), &wanted)
            .expect("there")
            .size;
        Descriptor::new(media_type::OCI_MANIFEST, digest.clone(), size)
    };
    let index =
        |inner: &[&Digest]| Index::oci(inner.iter().map(|digest| descriptor(digest)).collect()).to_bytes();
    let old = registry.put("me/app", "old", &index(&[&one, &shared]), media_type::OCI_INDEX);
    registry.put("me/app", "new", &index(&[&shared]), media_type::OCI_INDEX);
    let size = index(&[&one, &shared]).len();
    let about = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": "test/signature",
        "config": Descriptor::of("application/vnd.oci.empty.v1+json", b"{}"), "layers": [],
        "subject": {"mediaType": media_type::OCI_INDEX, "digest": old, "size": size},
    });
    let about = about.to_string();
    let signature = registry.put(
        "me/app",
        Digest::sha256_of(about.as_bytes()).as_str(),
        about.as_bytes(),
        media_type::OCI_MANIFEST,
    );
    for tag in ["one", "two"] {
        registry
            .store
            .delete_tag(&repository("me/app"), &tag.parse().expect("a tag"))
            .expect("gone");
    }
    registry.age("me/app", "old", 9);
    let policy = keeping(Retention {
        keep_days: Some(7),
        ..Retention::default()
    });
    hub.set_policy(&me, &scope("me/app"), Some(&policy)).expect("set");
    let done = hub.run_retention(&me, &scope("me/app")).expect("done");
    let mut gone: Vec<&Digest> = done[0].manifests.iter().map(|(digest, _)| digest).collect();
    gone.sort();
    let mut expected = [&old, &one, &signature];
    expected.sort();
    assert_eq!(gone, expected);
    assert!(there(&registry, "me/app", &shared) && !there(&registry, "me/app", &one));
    assert_eq!(tags(&registry, "me/app"), ["new"]);
}

#[test]
fn nearer_rules_of_retention_count_and_other_rules_add_up() {
    let registry = Registry::new();
    let (hub, me, boss) = (&registry.hub, registry.actor("me"), registry.actor("boss"));
    for of in ["me/app", "me/other"] {
        for tag in ["1", "2", "3"] {
            registry.push(of, tag, tag.as_bytes());
        }
    }
    let newest = |count| {
        keeping(Retention {
            keep_newest: Some(count),
            every_hours: Some(1),
            ..Retention::default()
        })
    };
    hub.set_policy(&boss, &PolicyScope::Everything, Some(&newest(1)))
        .expect("set");
    hub.set_policy(&me, &scope("me/app"), Some(&newest(2)))
        .expect("set");
    let plans = hub.preview(&boss, &PolicyScope::Everything, None).expect("plans");
    let about: Vec<&str> = plans.iter().map(|plan| plan.repository.as_str()).collect();
    assert_eq!(about, ["me/other"]);
    let done = hub.run_due_policies().expect("done");
    assert_eq!(done.iter().map(|plan| plan.tags.len()).sum::<usize>(), 3);
    assert_eq!(
        (tags(&registry, "me/app").len(), tags(&registry, "me/other").len()),
        (2, 1)
    );
    registry.push("me/app", "4", b"4");
    assert!(hub.run_due_policies().expect("done").is_empty(), "not due yet");
    let immutable = Policy {
        immutable: vec!["4".to_owned()],
        ..Policy::default()
    };
    hub.set_policy(&boss, &PolicyScope::Everything, Some(&immutable))
        .expect("set");
    let refused = hub.delete_tag(&me, &repository("me/app"), &"4".parse().expect("a tag"));
    assert!(matches!(refused, Err(HubError::Immutable { .. })), "{refused:?}");
    hub.delete_tag(&me, &repository("me/app"), &"3".parse().expect("a tag"))
        .expect("gone");
}

#[test]
fn rules_are_for_those_they_belong_to_and_must_be_some() {
    let registry = Registry::new();
    let (hub, me, you) = (&registry.hub, registry.actor("me"), registry.actor("you"));
    let policy = Policy::default();
    for scope in ["me/app", "me/", "*"] {
        assert!(
            hub.set_policy(&you, &scope.parse().expect("a scope"), Some(&policy))
                .is_err(),
            "{scope}"
        );
        assert!(
            hub.policy(&you, &scope.parse().expect("a scope")).is_err(),
            "{scope}"
        );
        assert!(
            hub.preview(&you, &scope.parse().expect("a scope"), Some(&policy))
                .is_err(),
            "{scope}"
        );
        assert!(
            hub.run_retention(&you, &scope.parse().expect("a scope")).is_err(),
            "{scope}"
        );
    }
    assert!(
        hub.set_policy(&me, &PolicyScope::Everything, Some(&policy))
            .is_err()
    );
    hub.set_policy(&me, &PolicyScope::Namespace(name("me")), Some(&policy))
        .expect("set");
    for broken in [
        keeping(Retention::default()),
        keeping(Retention {
            keep_newest: Some(0),
            ..Retention::default()
        }),
        keeping(Retention {
            keep_newest: Some(1),
            every_hours: Some(0),
            ..Retention::default()
        }),
        Policy {
            immutable: vec!["[".to_owned()],
            ..Policy::default()
        },
        Policy {
            naming: vec!["a)(b".to_owned()],
            ..Policy::default()
        },
        Policy {
            naming: vec!["(a{1000}){1000}".to_owned()],
            ..Policy::default()
        },
    ] {
        let refused = hub.set_policy(&me, &scope("me/app"), Some(&broken));
        assert!(
            matches!(refused, Err(HubError::Invalid { .. })),
            "{broken:?}: {refused:?}"
        );
    }
}

#[test]
fn tags_are_deleted_together_and_come_back() {
    let registry = Registry::new();
    let (hub, me, you) = (&registry.hub, registry.actor("me"), registry.actor("you"));
    let app = repository("me/app");
    let some: Vec<_> = ["1", "2"]
        .map(|tag| {
            (
                tag.parse().expect("a tag"),
                registry.push("me/app", tag, tag.as_bytes()),
            )
        })
        .into();
    let immutable = Policy {
        immutable: vec!["2".to_owned()],
        ..Policy::default()
    };
    hub.set_policy(&me, &scope("me/app"), Some(&immutable))
        .expect("set");
    assert!(matches!(
        hub.delete_tags(&me, &app, &some),
        Err(HubError::Immutable { .. })
    ));
    assert_eq!(tags(&registry, "me/app"), ["1", "2"], "all or none");
    hub.set_policy(&me, &scope("me/app"), None).expect("set");
    assert!(matches!(
        hub.delete_tags(&you, &app, &some),
        Err(HubError::Unknown { .. })
    ));
    hub.delete_tags(&me, &app, &some).expect("gone");
    assert!(tags(&registry, "me/app").is_empty());
    let day = std::time::Duration::from_secs(24 * 3600);
    assert!(hub.restore_tags(&you, &app, &some, day).is_err());
    hub.restore_tags(&me, &app, &some, day).expect("back");
    assert_eq!(tags(&registry, "me/app"), ["1", "2"]);
}
