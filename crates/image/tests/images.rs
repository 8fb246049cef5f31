//! What happens to images after they came: push, tag, list, remove, prune. Needs root.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;
use std::io::Read as _;

use havre_image::{
    BootstrapRequest, CreateImage, ErrorKind, Filters, ImageError, ImageService, ImageUse, ListOptions,
    PruneOptions, PullOptions, PushOptions, RemoveOptions, Removed, Silent,
};
use havre_oci::{Digest, ImageConfig, Platform};
use support::images::{import, parse};
use support::registry::FakeRegistry;
use support::{Bench, Fixture, Told};

fn lines(removed: &[Removed]) -> Vec<String> {
    removed
        .iter()
        .map(|one| match one {
            Removed::Untagged(name) => format!("Untagged: {name}"),
            Removed::Deleted(id) => format!("Deleted: {id}"),
        })
        .collect()
}

fn using(image: &Digest, running: bool) -> Vec<ImageUse> {
    let container = "c0ffee".repeat(10) + "c0ff";
    vec![ImageUse {
        image: image.clone(),
        reference: "x".into(),
        container,
        running,
    }]
}

fn filters(pairs: &[(&str, &str)]) -> Filters {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in pairs {
        values
            .entry((*key).to_owned())
            .or_default()
            .push((*value).to_owned());
    }
    Filters::new(values)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pulled_image_is_pushed_as_it_was() {
    let (registry, other, bench) = (
        FakeRegistry::start().await,
        FakeRegistry::start().await,
        Bench::new(),
    );
    let fixture = Fixture::new(20, 3, 60_000);
    let digest = fixture.publish(&registry, "app", "v1");
    let name = format!("{}/app:v1", registry.host());
    bench
        .images
        .pull(&parse(&name), &PullOptions::default(), &Silent)
        .await
        .unwrap();
    let copy = format!("{}/team/copy:v2", other.host());
    bench.images.tag(&name, &parse(&copy)).await.unwrap();
    let told = Told::default();
    let pushed = bench
        .images
        .push(&parse(&copy), &PushOptions::default(), &told)
        .await
        .unwrap();
    assert_eq!((pushed[0].tag.as_str(), &pushed[0].digest), ("v2", &digest));
    let lines = told.lines();
    assert_eq!(
        lines[0],
        format!("The push refers to repository [{}/team/copy]", other.host())
    );
    assert_eq!(
        *lines.last().unwrap(),
        format!("v2: digest: {digest} size: {}", fixture.manifest.len())
    );
    assert_eq!((told.count("Preparing"), told.count("Pushed")), (3, 3));
    // Again, and to another repository of that registry: nothing is sent.
    let told = Told::default();
    bench
        .images
        .push(&parse(&copy), &PushOptions::default(), &told)
        .await
        .unwrap();
    assert_eq!(told.count("Layer already exists"), 3);
    let third = format!("{}/team/third:v2", other.host());
    bench.images.tag(&copy, &parse(&third)).await.unwrap();
    let told = Told::default();
    bench
        .images
        .push(&parse(&third), &PushOptions::default(), &told)
        .await
        .unwrap();
    assert_eq!(told.count("Mounted from team/copy"), 3, "{:?}", told.lines());

    let error = bench
        .images
        .push(&parse("nosuch"), &PushOptions::default(), &Silent)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "An image does not exist locally with the tag: nosuch"
    );
    let missing = parse(&format!("{}/team/copy:no", other.host()));
    let error = bench
        .images
        .push(&missing, &PushOptions::default(), &Silent)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("tag does not exist: {}", missing.familiar())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_image_is_pushed_and_comes_back_the_same() {
    let (registry, bench) = (FakeRegistry::start().await, Bench::new());
    let base = import(&bench, "base", 30).await;
    let base = bench.images.resolve(base.as_str()).await.unwrap();
    let lease = bench.store.lease();
    let added = import(&bench, "added", 31).await;
    let added = bench.images.resolve(added.as_str()).await.unwrap();
    let name = format!("{}/made:1", registry.host());
    let request = CreateImage {
        parent: Some(base.id.clone()),
        layers: vec![base.layers[0].clone(), added.layers[0].clone()],
        config: ImageConfig::new(&Platform::host()),
        tags: vec![parse(&name)],
        command: "build".into(),
    };
    let made = bench.images.create_from(request, &lease).await.unwrap();
    let pushed = bench
        .images
        .push(&parse(&name), &PushOptions::default(), &Silent)
        .await
        .unwrap();
    let again = bench
        .images
        .push(&parse(&name), &PushOptions::default(), &Silent)
        .await
        .unwrap();
    assert_eq!(pushed, again);
    let inspect = bench.images.inspect(&name, None).await.unwrap();
    assert_eq!(
        inspect.repo_digests,
        [format!("{}/made@{}", registry.host(), pushed[0].digest)]
    );

    let fresh = Bench::new();
    let pulled = fresh
        .images
        .pull(&parse(&name), &PullOptions::default(), &Silent)
        .await
        .unwrap();
    assert_eq!(
        (&pulled[0].image, &pulled[0].digest),
        (&made.id, &pushed[0].digest)
    );
    let mut tars = [&bench, &fresh].map(|bench| {
        let mut tar = Vec::new();
        bench
            .store
            .layers()
            .tar(&made.layers[1])
            .unwrap()
            .read_to_end(&mut tar)
            .unwrap();
        tar
    });
    assert_eq!(tars[0], tars[1]);
    assert_eq!(Digest::sha256_of(&std::mem::take(&mut tars[0])), made.layers[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_prefixes_and_what_they_find() {
    let bench = Bench::new();
    let id = import(&bench, "app:1", 70).await;
    for name in [
        "app:1",
        "docker.io/library/app:1",
        id.as_str(),
        id.hex(),
        id.short(),
        &format!("sha256:{}", id.short()),
    ] {
        assert_eq!(bench.images.resolve(name).await.unwrap().id, id, "{name}");
    }
    for (name, message) in [
        ("app", "No such image: app:latest"),
        (
            "App",
            "invalid reference format: repository name (library/App) must be lowercase",
        ),
        ("", "invalid reference format"),
    ] {
        assert_eq!(bench.images.resolve(name).await.unwrap_err().to_string(), message);
    }
    for seed in 71..110 {
        import(&bench, "many:latest", seed).await;
    }
    let ids: Vec<_> = bench
        .store
        .meta()
        .images()
        .unwrap()
        .into_iter()
        .map(|image| image.id)
        .collect();
    let first = |id: &Digest| id.hex()[..1].to_owned();
    let shared = ids
        .iter()
        .find(|id| ids.iter().filter(|other| first(other) == first(id)).count() > 1)
        .unwrap();
    let prefix = first(shared);
    if prefix.as_bytes()[0].is_ascii_digit() || prefix.as_bytes()[0].is_ascii_lowercase() {
        let error = bench.images.resolve(&prefix).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("multiple IDs found with provided prefix: {prefix}")
        );
    }
    let digest = parse(&format!("app@{id}"));
    assert!(matches!(
        bench.images.tag("app:1", &digest).await,
        Err(ImageError::TagWithDigest)
    ));
}

/// Removes one name.
async fn remove_one(
    images: &ImageService,
    name: &str,
    options: RemoveOptions,
    uses: &[ImageUse],
) -> Result<Vec<Removed>, ImageError> {
    let outcomes = images.remove(&[name.to_owned()], options, uses, None).await?;
    outcomes.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_names_go_together_and_one_that_cannot_does_not_stop_them() {
    let bench = Bench::new();
    let ids = [
        import(&bench, "app:1", 80).await,
        import(&bench, "other", 90).await,
    ];
    bench.images.tag("app:1", &parse("app:2")).await.unwrap();
    let names = ["app:2", "missing", "other", "app:1", "app:1"].map(str::to_owned);
    let outcomes = bench
        .images
        .remove(&names, RemoveOptions::default(), &[], None)
        .await
        .unwrap();
    let said: Vec<Vec<String>> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(removed) => lines(removed),
            Err(error) => vec![error.to_string()],
        })
        .collect();
    assert_eq!(said[0], ["Untagged: app:2"]);
    assert_eq!(said[1], ["No such image: missing:latest"]);
    assert_eq!(
        said[2][..2],
        [
            "Untagged: other:latest".to_owned(),
            format!("Deleted: {}", ids[1])
        ]
    );
    assert_eq!(
        said[3][..2],
        ["Untagged: app:1".to_owned(), format!("Deleted: {}", ids[0])]
    );
    assert_eq!(said[4], ["No such image: app:1"]);
    assert!(bench.store.meta().images().unwrap().is_empty());
    bench.store.wait_for_trash();
    assert_eq!(bench.store.content().list().unwrap(), []);
    assert_eq!(bench.store.collect().unwrap(), Default::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_has_dockers_rules() {
    let bench = Bench::new();
    let id = import(&bench, "app:1", 80).await;
    let layer = bench.images.resolve("app:1").await.unwrap().layers[0].clone();
    bench.images.tag("app:1", &parse("app:2")).await.unwrap();
    let remove = |name: &str, force: bool, uses: Vec<ImageUse>| {
        let (images, name) = (bench.images.clone(), name.to_owned());
        async move {
            let no_prune = false;
            remove_one(
                &images,
                &name,
                RemoveOptions {
                    force,
                    no_prune,
                    ..RemoveOptions::default()
                },
                &uses,
            )
            .await
        }
    };
    // By ID with two names; by name while a container uses it; the last name of a used image.
    let error = remove(id.short(), false, vec![]).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
            id.short()
        )
    );
    assert_eq!(
        lines(&remove("app:2", false, using(&id, true)).await.unwrap()),
        ["Untagged: app:2"]
    );
    let error = remove("app:1", false, using(&id, false)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to remove repository reference \"app:1\" (must force) - container c0ffeec0ffee is using its referenced image {}",
            id.short()
        )
    );
    let error = remove(id.hex(), true, using(&id, true))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!(
            "conflict: unable to delete {} (cannot be forced) - image is being used by running container c0ffeec0ffee",
            id.short()
        )
    );
    let error = remove(id.hex(), false, using(&id, false))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("(must be forced) - image is being used by stopped container c0ffeec0ffee"),
        "{error}"
    );
    // Forced, its name goes and the image stays while the container runs.
    assert_eq!(
        lines(&remove("app:1", true, using(&id, true)).await.unwrap()),
        ["Untagged: app:1"]
    );
    bench.images.tag(id.as_str(), &parse("app:1")).await.unwrap();
    let removed = lines(&remove("app:1", false, vec![]).await.unwrap());
    assert_eq!(
        removed,
        [
            "Untagged: app:1".to_owned(),
            format!("Deleted: {id}"),
            format!("Deleted: {layer}")
        ]
    );
    assert!(bench.store.layers().find(&layer).unwrap().is_none());
    assert_eq!(
        remove("app:1", false, vec![]).await.unwrap_err().to_string(),
        "No such image: app:1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_go_with_their_last_child_and_shared_layers_stay() {
    let bench = Bench::new();
    let base = import(&bench, "base", 90).await;
    let other = import(&bench, "other", 91).await;
    let base_row = bench.images.resolve("base").await.unwrap();
    let child = |seed: &str, parent: &Digest, tag: Option<&str>| {
        let mut config = ImageConfig::new(&Platform::host());
        config.author = seed.to_owned();
        let request = CreateImage {
            parent: Some(parent.clone()),
            layers: base_row.layers.clone(),
            config,
            tags: tag.map(parse).into_iter().collect(),
            command: "build".into(),
        };
        let (images, lease) = (bench.images.clone(), bench.store.lease());
        async move { images.create_from(request, &lease).await.unwrap().id }
    };
    let middle = child("middle", &base, None).await;
    let leaf = child("leaf", &middle, Some("leaf")).await;
    let rows = bench
        .images
        .list(&ListOptions::default(), Vec::new)
        .await
        .unwrap();
    assert!(
        !rows.iter().any(|row| row.id == middle),
        "intermediate images are hidden"
    );
    let mut counted = bench.store.meta().listed_images().unwrap();
    let mut listed: Vec<Digest> = rows.into_iter().map(|row| row.id).collect();
    counted.sort();
    listed.sort();
    assert_eq!(counted, listed, "what is counted is what is listed");
    let all = ListOptions {
        all: true,
        ..ListOptions::default()
    };
    assert_eq!(bench.images.list(&all, Vec::new).await.unwrap().len(), 4);
    let history = remove_one(
        &bench.images,
        base.short(),
        RemoveOptions {
            force: true,
            ..RemoveOptions::default()
        },
        &[],
    )
    .await;
    assert!(
        history
            .unwrap_err()
            .to_string()
            .ends_with("(cannot be forced) - image has dependent child images")
    );
    let removed = remove_one(&bench.images, "leaf", RemoveOptions::default(), &[])
        .await
        .unwrap();
    let expected = [
        "Untagged: leaf:latest".to_owned(),
        format!("Deleted: {leaf}"),
        format!("Deleted: {middle}"),
    ];
    assert_eq!(lines(&removed), expected);
    assert!(bench.store.layers().find(&base_row.layers[0]).unwrap().is_some());
    // Prune: only what has no tag, then all that no container uses.
    bench.images.tag("other", &parse("base")).await.unwrap();
    let pruned = bench
        .images
        .prune(&PruneOptions::default(), &[], None)
        .await
        .unwrap();
    assert_eq!(lines(&pruned.removed)[0], format!("Deleted: {base}"));
    assert!(pruned.space_reclaimed >= 100_000, "{}", pruned.space_reclaimed);
    let options = PruneOptions {
        all: true,
        filters: filters(&[("until", "1h")]),
    };
    assert_eq!(bench.images.prune(&options, &[], None).await.unwrap().removed, []);
    let options = PruneOptions {
        all: true,
        filters: Filters::default(),
    };
    assert_eq!(
        bench
            .images
            .prune(&options, &using(&other, false), None)
            .await
            .unwrap()
            .removed,
        []
    );
    let pruned = bench.images.prune(&options, &[], None).await.unwrap();
    assert!(lines(&pruned.removed).contains(&format!("Deleted: {other}")));
    assert!(bench.store.meta().images().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_the_list() {
    let bench = Bench::new();
    for (name, seed) in [("debian:11", 1), ("debian:12", 2), ("team/app:1", 3)] {
        import(&bench, name, seed).await;
    }
    import(&bench, "debian:12", 4).await;
    let listed = |pairs: &[(&str, &str)]| {
        let options = ListOptions {
            filters: filters(pairs),
            ..ListOptions::default()
        };
        let images = bench.images.clone();
        async move {
            let rows = images.list(&options, Vec::new).await?;
            let mut names: Vec<_> = rows.into_iter().flat_map(|row| row.repo_tags).collect();
            names.sort();
            Ok::<_, ImageError>(names)
        }
    };
    assert_eq!(
        listed(&[]).await.unwrap(),
        ["debian:11", "debian:12", "team/app:1"]
    );
    assert_eq!(
        listed(&[("reference", "debian")]).await.unwrap(),
        ["debian:11", "debian:12"]
    );
    assert_eq!(
        listed(&[("reference", "*:11"), ("reference", "*/*")])
            .await
            .unwrap(),
        ["debian:11", "team/app:1"]
    );
    assert_eq!(listed(&[("label", "seed=3")]).await.unwrap(), ["team/app:1"]);
    assert_eq!(
        listed(&[("before", "debian:12")]).await.unwrap(),
        ["debian:11", "team/app:1"]
    );
    assert_eq!(
        listed(&[("since", "debian:11")]).await.unwrap(),
        ["debian:12", "team/app:1"]
    );
    assert_eq!(listed(&[("until", "1h")]).await.unwrap(), [""; 0]);
    assert_eq!(listed(&[("dangling", "true")]).await.unwrap(), [""; 0]);
    let dangling = ListOptions {
        filters: filters(&[("dangling", "true")]),
        ..ListOptions::default()
    };
    assert_eq!(bench.images.list(&dangling, Vec::new).await.unwrap().len(), 1);
    let all = ["debian:11", "debian:12", "team/app:1"];
    for (pairs, expected) in [
        (&[("keep", "1")][..], &all[..1]),
        (&[("keep", "0")], &all),
        (&[("keep", "2")], &[]),
        // Counted are those that other filters of their kind leave.
        (&[("keep", "1"), ("reference", "debian:11")], &[]),
        (&[("keep", "1"), ("size", "<1")], &[]),
        (&[("size", ">0")], &all),
        (&[("size", ">0"), ("size>", "1TB")], &[]),
        (&[("last-used", "1h")], &[]),
        (&[("last-used", "0s")], &all),
        (&[("unused", "true")], &all),
        (&[("unused", "false")], &[]),
        (&[("platform", "linux/s390x")], &[]),
        (
            &[("platform", "linux/s390x"), ("platform", std::env::consts::ARCH)],
            &all,
        ),
    ] {
        assert_eq!(listed(pairs).await.unwrap(), expected, "{pairs:?}");
    }
    // Whatever a container uses is in use now.
    let used = bench.images.resolve("team/app:1").await.unwrap().id;
    let rest = ListOptions {
        filters: filters(&[("last-used", "0s")]),
        ..ListOptions::default()
    };
    let rows = bench
        .images
        .list(&rest, move || using(&used, false))
        .await
        .unwrap();
    assert!(rows.iter().all(|row| row.repo_tags != ["team/app:1"]) && rows.len() == 3);
    for (key, value, complaint) in [
        ("keep", "-1", "invalid filter 'keep=-1': use the number of images"),
        (
            "platform",
            "a/b/c/d",
            "invalid filter 'platform=a/b/c/d': use OS/",
        ),
        ("size", "1GB", "invalid filter 'size=1GB': use size>1GB"),
        ("last-used", "soon", "invalid filter 'last-used=soon'"),
    ] {
        let error = listed(&[(key, value)]).await.unwrap_err().to_string();
        assert!(error.starts_with(complaint), "{error}");
    }
    assert_eq!(
        listed(&[("colour", "red")]).await.unwrap_err().to_string(),
        "invalid filter 'colour'"
    );
    assert!(
        listed(&[("reference", "[")])
            .await
            .unwrap_err()
            .to_string()
            .contains("syntax error in pattern")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn busybox_without_a_registry() {
    let bench = Bench::new();
    let request = BootstrapRequest {
        source: "busybox".into(),
        reference: None,
        with_host_ca: None,
        mirror: None,
    };
    match bench.images.bootstrap(&request, &Silent).await {
        Ok(id) => {
            let inspect = bench.images.inspect("busybox", None).await.unwrap();
            assert_eq!(
                (inspect.id, inspect.config.config.cmd.unwrap()),
                (id, vec!["sh".to_owned()])
            );
        }
        // A machine without busybox-static is told what to install.
        Err(error) => assert!(
            error.to_string().contains("apt-get install busybox-static"),
            "{error}"
        ),
    }
    let request = BootstrapRequest {
        source: "plan9".into(),
        ..request
    };
    assert!(matches!(
        bench.images.bootstrap(&request, &Silent).await,
        Err(ImageError::BootstrapSource(_))
    ));
}
