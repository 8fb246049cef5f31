//! Search and lists.

mod registry;

use std::collections::BTreeMap;

use havre_hub::{Actor, Order, RepositoryQuery, SearchQuery};
use registry::{Registry, name, repository};

fn found(registry: &Registry, actor: &Actor, text: &str) -> Vec<String> {
    let query = SearchQuery {
        text: text.to_owned(),
        limit: 10,
        ..SearchQuery::default()
    };
    let found = registry.hub.search(actor, &query).expect("an answer");
    assert_eq!(found.total, found.repositories.len());
    found
        .repositories
        .iter()
        .map(|one| one.name.to_string())
        .collect()
}

#[test]
fn names_descriptions_tags_and_labels_of_what_may_be_seen() {
    let registry = Registry::new();
    let (hub, me, you) = (&registry.hub, registry.actor("me"), registry.actor("you"));
    for of in [
        "me/nginx",
        "me/web",
        "me/nginx-exporter",
        "me/100_percent",
        "you/secret-nginx",
    ] {
        registry.push(of, "stable", b"layer");
    }
    registry.push("me/web", "bookworm-2.0", b"layer");
    hub.describe(&me, &repository("me/web"), "A server like Nginx", "")
        .expect("described");
    let digest = registry.push("me/web", "3", b"other");
    let labels = BTreeMap::from([(
        "org.opencontainers.image.vendor".to_owned(),
        "Ganymede".to_owned(),
    )]);
    hub.pushed(&me, &repository("me/web"), "3", &digest, &labels)
        .expect("noted");
    assert_eq!(
        found(&registry, &me, "nginx"),
        ["me/nginx", "me/nginx-exporter", "me/web"]
    );
    assert_eq!(found(&registry, &me, "NGINX server"), ["me/web"]);
    assert_eq!(found(&registry, &me, "bookworm"), ["me/web"]);
    assert_eq!(found(&registry, &me, "ganymede"), ["me/web"]);
    assert_eq!(found(&registry, &me, "0_p"), ["me/100_percent"]);
    for nothing in ["%", "100%", "ng_nx", "' OR 1=1 --", "nginx nothing"] {
        assert!(found(&registry, &me, nothing).is_empty(), "{nothing}");
    }
    assert_eq!(found(&registry, &me, "").len(), 4);
    assert_eq!(found(&registry, &you, "nginx"), ["you/secret-nginx"]);
    assert!(found(&registry, &Actor::anonymous(None), "nginx").is_empty());
    hub.set_public(&me, &repository("me/nginx-exporter"), true)
        .expect("public");
    assert_eq!(
        found(&registry, &Actor::anonymous(None), "nginx"),
        ["me/nginx-exporter"]
    );
    assert_eq!(found(&registry, &registry.actor("boss"), "nginx").len(), 4);
}

#[test]
fn lists_are_sorted_and_paged() {
    let registry = Registry::new();
    let (hub, me) = (&registry.hub, registry.actor("me"));
    for of in ["me/a", "me/b", "me/c", "you/a"] {
        registry.push(of, "1", of.as_bytes());
    }
    hub.star(&me, &repository("me/b"), true).expect("a star");
    let digest = registry.push("me/c", "1", b"me/c");
    hub.pulled(&repository("me/c"), &digest);
    hub.write_pulls().expect("written");
    let list = |query: RepositoryQuery| {
        let page = hub.repositories(&me, &query).expect("a page");
        let names = page.repositories.iter().map(|one| one.name.to_string());
        (page.total, names.collect::<Vec<_>>())
    };
    let query = RepositoryQuery {
        limit: 2,
        ..RepositoryQuery::default()
    };
    assert_eq!(
        list(query.clone()),
        (3, vec!["me/a".to_owned(), "me/b".to_owned()])
    );
    let second = RepositoryQuery {
        skip: 2,
        ..query.clone()
    };
    assert_eq!(list(second).1, ["me/c"]);
    for (order, first) in [(Order::Stars, "me/b"), (Order::Pulls, "me/c")] {
        assert_eq!(
            list(RepositoryQuery {
                order,
                ..query.clone()
            })
            .1[0],
            first
        );
    }
    let starred = RepositoryQuery {
        starred_by: Some(name("me")),
        ..query.clone()
    };
    assert_eq!(list(starred), (1, vec!["me/b".to_owned()]));
    let theirs = RepositoryQuery {
        namespace: Some("you".to_owned()),
        ..query
    };
    assert_eq!(list(theirs).0, 0);
}
