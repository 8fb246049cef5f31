//! What happens to images after they came: push, save, load, import, tag, list, remove, prune. Needs root.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use futures_util::StreamExt as _;
use havre_image::{
    BootstrapRequest, CreateImage, ErrorKind, Filters, ImageError, ImageService, ImageUse, ImportOptions,
    KeepCompressed, ListOptions, PruneOptions, PullOptions, PushOptions, RemoveOptions, Removed, Silent,
};
use havre_oci::{Digest, ImageConfig, Platform, Reference};
use support::registry::FakeRegistry;
use support::{Bench, Fixture, Told, gzip, tar};

fn parse(name: &str) -> Reference {
    Reference::parse(name).unwrap()
}

async fn import(bench: &Bench, name: &str, seed: u64) -> Digest {
    let data = support::registry::content(100_000, seed);
    let options = ImportOptions {
        reference: Some(parse(name)),
        changes: vec!["CMD [\"sh\"]".into(), format!("LABEL seed={seed}")],
        ..ImportOptions::default()
    };
    let input = Cursor::new(tar(&[("data", &data), ("bin/sh", b"#!")]));
    bench.images.import(input, options, &Silent).await.unwrap()
}

async fn save(bench: &Bench, names: &[&str]) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut stream = Box::pin(bench.images.save(&names).await.unwrap().into_stream());
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}

async fn load(bench: &Bench, archive: Vec<u8>) -> Result<Vec<String>, ImageError> {
    let loaded = bench.images.load(Cursor::new(archive), &Silent).await?;
    Ok(loaded.iter().map(havre_image::Loaded::line).collect())
}

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
    let inspect = bench.images.inspect(&name).await.unwrap();
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
async fn saved_images_load_elsewhere() {
    // An archive has the original manifest only if the compressed layers were kept.
    let (registry, bench) = (
        FakeRegistry::start().await,
        Bench::keeping(KeepCompressed::Always),
    );
    let fixture = Fixture::new(40, 3, 60_000);
    let digest = fixture.publish(&registry, "app", "v1");
    let name = format!("{}/app:v1", registry.host());
    bench
        .images
        .pull(&parse(&name), &PullOptions::default(), &Silent)
        .await
        .unwrap();
    let plain = import(&bench, "plain:1", 41).await;
    bench.images.tag("plain:1", &parse("plain:2")).await.unwrap();

    let archive = save(&bench, &[&name, "plain"]).await;
    assert_eq!(
        archive,
        save(&bench, &[&name, "plain"]).await,
        "the same images give the same bytes"
    );
    let mut names = Vec::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        names.push(entry.unwrap().path().unwrap().display().to_string());
    }
    assert_eq!(names[..3], ["oci-layout", "index.json", "manifest.json"]);
    assert!(names.contains(&format!("blobs/sha256/{}", fixture.id().hex())));

    for packed in [
        archive.clone(),
        gzip(&archive),
        zstd::encode_all(archive.as_slice(), 1).unwrap(),
    ] {
        let fresh = Bench::keeping(KeepCompressed::Always);
        let loaded = load(&fresh, packed).await.unwrap();
        assert_eq!(
            loaded,
            [
                format!("Loaded image: {name}"),
                "Loaded image: plain:1".into(),
                "Loaded image: plain:2".into()
            ]
        );
        assert_eq!(fresh.images.resolve("plain:2").await.unwrap().id, plain);
        // The loaded image still has its manifest.
        let kept = fresh
            .images
            .inspect(&name)
            .await
            .unwrap()
            .manifest
            .map(|kept| kept.digest);
        assert_eq!(kept.as_ref(), Some(&digest));
        let target = format!("{}/loaded:1", registry.host());
        fresh.images.tag(&name, &parse(&target)).await.unwrap();
        let pushed = fresh
            .images
            .push(&parse(&target), &PushOptions::default(), &Silent)
            .await
            .unwrap();
        assert_eq!(pushed[0].digest, digest);
    }
    // By ID there is no name; what a name stood for before is told.
    let archive = save(&bench, &[plain.short()]).await;
    let fresh = Bench::new();
    assert_eq!(
        load(&fresh, archive).await.unwrap(),
        [format!("Loaded image ID: {plain}")]
    );
    let before = import(&fresh, "plain:1", 99).await;
    let told = Told::default();
    let archive = save(&bench, &["plain:1"]).await;
    fresh.images.load(Cursor::new(archive), &told).await.unwrap();
    let renamed =
        format!("The image plain:1 already exists, renaming the old one with ID {before} to empty string");
    assert!(told.lines().contains(&renamed), "{:?}", told.lines());
    let error = bench.images.save(&["nosuch".to_owned()]).await.err().unwrap();
    assert_eq!(error.to_string(), "No such image: nosuch:latest");
}

/// As Docker before 25 wrote them: a directory per layer, one of them a link.
fn old_archive(fixture: &Fixture, tag: &str) -> Vec<u8> {
    let config = format!("{}.json", fixture.id().hex());
    let names: Vec<String> = (0..fixture.tars.len())
        .map(|index| format!("{index:064x}/layer.tar"))
        .collect();
    let manifest = serde_json::json!([{ "Config": config, "RepoTags": [tag], "Layers": names }]).to_string();
    let mut files: Vec<(&str, &[u8])> = vec![(&config, &fixture.config)];
    for (name, tar) in names.iter().zip(&fixture.tars) {
        files.push((name, tar));
    }
    files.push(("repositories", b"{}"));
    files.push(("manifest.json", manifest.as_bytes()));
    tar(&files)
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_of_other_tools() {
    let fixture = Fixture::new(50, 2, 30_000);
    let bench = Bench::new();
    let loaded = load(&bench, old_archive(&fixture, "old:1")).await.unwrap();
    assert_eq!(loaded, ["Loaded image: old:1"]);
    assert_eq!(bench.images.resolve("old:1").await.unwrap().id, fixture.id());

    // podman and skopeo: layers named by their digests beside the configuration.
    let bench = Bench::new();
    let config = format!("{}.json", fixture.id().hex());
    let layers: Vec<_> = fixture
        .tars
        .iter()
        .map(|tar| format!("{}.tar", Digest::sha256_of(tar).hex()))
        .collect();
    let manifest =
        serde_json::json!([{ "Config": config, "RepoTags": ["localhost/app:1"], "Layers": layers }])
            .to_string();
    let mut files: Vec<(&str, &[u8])> =
        vec![("manifest.json", manifest.as_bytes()), (&config, &fixture.config)];
    files.extend(
        layers
            .iter()
            .zip(&fixture.tars)
            .map(|(name, tar)| (name.as_str(), tar.as_slice())),
    );
    assert_eq!(
        load(&bench, tar(&files)).await.unwrap(),
        ["Loaded image: localhost/app:1"]
    );

    // An OCI layout, as buildah and skopeo write it, without manifest.json.
    let bench = Bench::new();
    let mut descriptor = fixture.descriptor(&Platform::host());
    descriptor.annotations.insert(
        "org.opencontainers.image.ref.name".into(),
        "docker.io/library/oci:1".into(),
    );
    let index = havre_oci::Index::oci(vec![descriptor]).to_bytes();
    let named = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::sha256_of(bytes).hex());
    let mut owned = vec![
        ("oci-layout".to_owned(), b"{}".as_slice()),
        ("index.json".to_owned(), &index),
    ];
    owned.extend([&fixture.manifest, &fixture.config].map(|bytes| (named(bytes), bytes.as_slice())));
    owned.extend(fixture.blobs.iter().map(|blob| (named(blob), blob.as_slice())));
    let files: Vec<_> = owned
        .iter()
        .map(|(name, bytes)| (name.as_str(), *bytes))
        .collect();
    assert_eq!(load(&bench, tar(&files)).await.unwrap(), ["Loaded image: oci:1"]);
    assert_eq!(
        bench
            .images
            .inspect("oci:1")
            .await
            .unwrap()
            .manifest
            .unwrap()
            .digest,
        Digest::sha256_of(&fixture.manifest)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_that_are_refused() {
    let bench = Bench::new();
    let fixture = Fixture::new(60, 2, 3000);
    let archive = old_archive(&fixture, "x:1");
    let refused = |files: Vec<(String, Vec<u8>)>| {
        let bench = &bench;
        async move {
            let files: Vec<_> = files
                .iter()
                .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
                .collect();
            let error = load(bench, tar(&files)).await.unwrap_err();
            assert!(bench.store.meta().images().unwrap().is_empty());
            error.to_string()
        }
    };
    type Change<'a> = &'a dyn Fn(&str, Vec<u8>) -> Option<Vec<u8>>;
    let rebuilt = |change: Change<'_>| -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.extend(change(&name, bytes).map(|bytes| (name, bytes)));
        }
        files
    };
    let second = format!("{:064x}/layer.tar", 1);
    let error = refused(rebuilt(&|name, bytes| (name != second).then_some(bytes))).await;
    assert_eq!(error, format!("invalid archive: {second:?} is missing"));
    let error = refused(rebuilt(&|name, bytes| {
        Some(if name == second {
            tar(&[("other", b"x")])
        } else {
            bytes
        })
    }))
    .await;
    assert!(
        error.contains("has diff ID") && error.contains("the configuration says"),
        "{error}"
    );
    let error = refused(rebuilt(&|name, bytes| (name != "manifest.json").then_some(bytes))).await;
    assert!(error.contains("neither manifest.json nor index.json"), "{error}");
    let evil = |name: &str, bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes).replace(&second, "../../../etc/passwd");
        Some(if name == "manifest.json" {
            text.into_bytes()
        } else {
            bytes
        })
    };
    let error = refused(rebuilt(&evil)).await;
    assert!(error.contains("leads out of the archive"), "{error}");
    let bad_tag = |name: &str, bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes).replace("x:1", "X:1");
        Some(if name == "manifest.json" {
            text.into_bytes()
        } else {
            bytes
        })
    };
    let error = refused(rebuilt(&bad_tag)).await;
    assert!(error.contains("must be lowercase"), "{error}");
    // Broken off, not a tar, a broken compression.
    for broken in [
        archive[..2000].to_vec(),
        b"no tar at all".repeat(100),
        gzip(&archive)[..500].to_vec(),
    ] {
        assert!(load(&bench, broken).await.is_err());
    }
    bench.store.collect().unwrap();
    assert!(
        bench.store.content().list().unwrap().is_empty() && bench.store.layers().list().unwrap().is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn import_applies_changes_and_refuses_bad_ones_first() {
    let bench = Bench::new();
    let data = tar(&[("hello", b"hello\n")]);
    let options = ImportOptions {
        reference: Some(parse("imported:1")),
        changes: vec!["ENV A=b".into(), "WORKDIR /w".into()],
        message: "by hand".into(),
        platform: Some(Platform::parse("linux/arm64").unwrap()),
        ..ImportOptions::default()
    };
    let told = Told::default();
    let id = bench
        .images
        .import(Cursor::new(gzip(&data)), options.clone(), &told)
        .await
        .unwrap();
    assert_eq!(told.lines(), [id.to_string()]);
    let inspect = bench.images.inspect("imported:1").await.unwrap();
    assert_eq!(
        (inspect.comment.as_str(), inspect.config.config.env[0].as_str()),
        ("by hand", "A=b")
    );
    assert_eq!(inspect.config.architecture, "arm64");
    assert_eq!(inspect.layers, [Digest::sha256_of(&data)]);
    let options = ImportOptions {
        changes: vec!["RUN x".into()],
        ..options
    };
    let error = bench
        .images
        .import(Cursor::new(data), options, &Silent)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Invalid, "RUN is not a valid change command")
    );
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
            remove_one(&images, &name, RemoveOptions { force, no_prune }, &uses).await
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
    let rows = bench.images.list(&ListOptions::default()).await.unwrap();
    assert!(
        !rows.iter().any(|row| row.id == middle),
        "intermediate images are hidden"
    );
    let all = ListOptions {
        all: true,
        ..ListOptions::default()
    };
    assert_eq!(bench.images.list(&all).await.unwrap().len(), 4);
    let history = remove_one(
        &bench.images,
        base.short(),
        RemoveOptions {
            force: true,
            no_prune: false,
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
            let rows = images.list(&options).await?;
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
    assert_eq!(bench.images.list(&dangling).await.unwrap().len(), 1);
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
            let inspect = bench.images.inspect("busybox").await.unwrap();
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
