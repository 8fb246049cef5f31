//! What becomes of the compressed forms of layers, and where a push takes them from. Needs root.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::{Cursor, Read as _};

use futures_util::StreamExt as _;
use havre_image::{
    ImageError, ImportOptions, KeepCompressed, Options, Packing, PullOptions, PushOptions, Pushed,
    SaveOptions, Silent,
};
use havre_oci::{Compression, Digest, Document, Reference};
use support::registry::{FakeRegistry, Fault, content};
use support::{Bench, Fixture, Told, tar};

fn parse(name: &str) -> Reference {
    Reference::parse(name).unwrap()
}

async fn pull(bench: &Bench, name: &str) -> Digest {
    let (name, options) = (parse(name), PullOptions::default());
    let pulled = bench.images.pull(&name, &options, &Silent).await;
    pulled.unwrap()[0].image.clone()
}

async fn push(bench: &Bench, name: &str, told: &Told) -> Result<Pushed, ImageError> {
    let (name, options) = (parse(name), PushOptions::default());
    Ok(bench.images.push(&name, &options, told).await?.remove(0))
}

/// Tags and pushes.
async fn push_as(bench: &Bench, from: &str, to: &str, told: &Told) -> Result<Pushed, ImageError> {
    bench.images.tag(from, &parse(to)).await.unwrap();
    push(bench, to, told).await
}

async fn save(bench: &Bench, name: &str) -> Vec<u8> {
    let mut stream = Box::pin(
        bench
            .images
            .save(&[name.to_owned()], &SaveOptions::default())
            .await
            .unwrap()
            .into_stream(),
    );
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}

/// The blobs of the fixture that are in the store.
fn kept(bench: &Bench, fixture: &Fixture) -> usize {
    let blobs = fixture.descriptors.iter();
    blobs
        .filter(|blob| bench.store.content().contains(&blob.digest))
        .count()
}

/// An image of one layer of some megabytes, made here.
async fn made(bench: &Bench, name: &str, seed: u64) -> Digest {
    let data = content(6_000_000, seed);
    let options = ImportOptions {
        reference: Some(parse(name)),
        ..ImportOptions::default()
    };
    let input = Cursor::new(tar(&[("data", &data), ("text", &b"some text\n".repeat(100_000))]));
    bench.images.import(input, options, &Silent).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn never_quota_always() {
    let registry = FakeRegistry::start().await;
    let fixtures: Vec<Fixture> = (0..3).map(|n| Fixture::new(100 + n, 3, 100_000)).collect();
    let names: Vec<String> = (0..3).map(|n| format!("{}/app{n}:v1", registry.host())).collect();
    for (n, fixture) in fixtures.iter().enumerate() {
        fixture.publish(&registry, &format!("app{n}"), "v1");
    }
    let never = Bench::new();
    pull(&never, &names[0]).await;
    assert_eq!(kept(&never, &fixtures[0]), 0);
    assert_eq!(
        never.ingests(),
        Vec::<String>::new(),
        "the partial downloads are gone"
    );

    let always = Bench::keeping(KeepCompressed::Always);
    for (name, fixture) in names.iter().zip(&fixtures) {
        pull(&always, name).await;
        assert_eq!(kept(&always, fixture), 3);
    }
    always.store.collect().unwrap();
    assert_eq!(kept(&always, &fixtures[0]), 3);
    assert!(
        always.store.compressed_size().unwrap() > 800_000,
        "kept blobs are counted"
    );

    // Room for two images: the one that was not used for longest goes, though it came second.
    let size: u64 = fixtures[0].descriptors.iter().map(|blob| blob.size).sum();
    let quota = Bench::keeping(KeepCompressed::Quota(size * 2 + size / 2));
    let pause = || tokio::time::sleep(std::time::Duration::from_millis(20));
    for name in &names[..2] {
        pull(&quota, name).await;
        pause().await;
    }
    let other = FakeRegistry::start().await;
    push_as(
        &quota,
        &names[0],
        &format!("{}/x:1", other.host()),
        &Told::default(),
    )
    .await
    .unwrap();
    pause().await;
    pull(&quota, &names[2]).await;
    let left: Vec<usize> = fixtures.iter().map(|fixture| kept(&quota, fixture)).collect();
    assert_eq!((left[0], left[2]), (3, 3), "{left:?}");
    assert!(left[1] < 3, "{left:?}");
    let bytes: u64 = quota
        .store
        .compressed()
        .unwrap()
        .iter()
        .map(|blob| blob.size)
        .sum();
    assert!(bytes <= size * 2 + size / 2);
    // Nothing but compressed layers is dropped.
    for name in &names {
        save(&quota, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_without_compressed_layers() {
    let (registry, bench) = (FakeRegistry::start().await, Bench::new());
    let fixture = Fixture::new(120, 3, 100_000);
    fixture.publish(&registry, "app", "v1");
    let name = format!("{}/app:v1", registry.host());
    let id = pull(&bench, &name).await;
    let archive = save(&bench, &name).await;
    assert_eq!(archive, save(&bench, &name).await);
    let mut files = std::collections::BTreeMap::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(entry.path().unwrap().display().to_string(), bytes);
    }
    // Whatever the layout names is in it, under its digest; the layers are the exact archives.
    let path = |digest: &Digest| format!("blobs/{}/{}", digest.algorithm(), digest.hex());
    let Ok(Document::Index(index)) = Document::parse(&files["index.json"], None) else {
        panic!("no index")
    };
    let manifest = &files[&path(&index.manifests[0].digest)];
    assert_eq!(Digest::sha256_of(manifest), index.manifests[0].digest);
    let Ok(Document::Manifest(manifest)) = Document::parse(manifest, None) else {
        panic!("no manifest")
    };
    assert_eq!(manifest.config.digest, id);
    for (layer, tar) in manifest.layers.iter().zip(&fixture.tars) {
        assert_eq!(files[&path(&layer.digest)], *tar);
        assert_eq!(layer.size, tar.len() as u64);
    }
    let fresh = Bench::new();
    let loaded = fresh
        .images
        .load(Cursor::new(archive), Vec::new(), &Silent)
        .await
        .unwrap();
    assert_eq!(loaded[0].image, id);
    // A push of what was loaded so compresses: nobody wants bare archives in a registry.
    let other = FakeRegistry::start().await;
    let target = format!("{}/app:v1", other.host());
    push_as(&fresh, &name, &target, &Told::default()).await.unwrap();
    let state = other.state.lock().unwrap();
    for tar in &fixture.tars {
        let diff_id = Digest::sha256_of(tar);
        assert!(!state.blobs.keys().any(|(_, digest)| *digest == diff_id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_lends_or_forwards_what_was_dropped() {
    let (registry, other, bench) = (
        FakeRegistry::start().await,
        FakeRegistry::start().await,
        Bench::new(),
    );
    let fixture = Fixture::new(130, 2, 100_000);
    let digest = fixture.publish(&registry, "app", "v1");
    let name = format!("{}/app:v1", registry.host());
    pull(&bench, &name).await;
    // The same registry: mounted.
    let told = Told::default();
    let pushed = push_as(&bench, &name, &format!("{}/copy:v1", registry.host()), &told)
        .await
        .unwrap();
    assert_eq!(pushed.digest, digest);
    assert_eq!(told.count("Mounted from app"), 2, "{:?}", told.lines());
    // Another registry: the bytes pass through, with a break on the way.
    registry.fault("/app/blobs/", 1, Fault::Cut(30_000));
    let told = Told::default();
    let pushed = push_as(&bench, &name, &format!("{}/app:v1", other.host()), &told)
        .await
        .unwrap();
    assert_eq!(pushed.digest, digest);
    assert_eq!(told.count("Pushed"), 2, "{:?}", told.lines());
    assert_eq!(kept(&bench, &fixture), 0);
    let fresh = Bench::new();
    assert_eq!(
        pull(&fresh, &format!("{}/app:v1", other.host())).await,
        fixture.id()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_origin_the_digest_changes_and_that_is_said() {
    for fault in [
        Fault::Status(404, Vec::new(), String::new()),
        Fault::Status(401, Vec::new(), String::new()),
        Fault::Wrong,
    ] {
        let (registry, other, bench) = (
            FakeRegistry::start().await,
            FakeRegistry::start().await,
            Bench::new(),
        );
        let fixture = Fixture::new(140, 2, 100_000);
        let digest = fixture.publish(&registry, "app", "v1");
        let name = format!("{}/app:v1", registry.host());
        pull(&bench, &name).await;
        registry.fault("/app/blobs/", 1000, fault.clone());
        let target = format!("{}/app:v1", other.host());
        let told = Told::default();
        let pushed = push_as(&bench, &name, &target, &told).await.unwrap();
        assert_ne!(pushed.digest, digest, "{fault:?}");
        let lines = told.lines();
        for (blob, tar) in fixture.descriptors.iter().zip(&fixture.tars) {
            let diff_id = Digest::sha256_of(tar);
            let said = format!(
                "Layer {} goes in another compressed form: its digest changes from {} to sha256:",
                diff_id.short(),
                blob.digest
            );
            assert!(lines.iter().any(|line| line.starts_with(&said)), "{lines:?}");
        }
        // The image is the same, and the next push knows the layers before it reads a byte.
        assert_eq!(pull(&Bench::new(), &target).await, fixture.id());
        let told = Told::default();
        let again = push(&bench, &target, &told).await.unwrap();
        assert_eq!(again.digest, pushed.digest);
        assert_eq!(told.count("Layer already exists"), 2, "{:?}", told.lines());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_made_here_go_while_they_are_compressed() {
    let (registry, bench) = (FakeRegistry::start().await, Bench::new());
    made(&bench, "made", 1).await;
    let target = format!("{}/made:1", registry.host());
    let told = Told::default();
    let first = push_as(&bench, "made", &target, &told).await.unwrap();
    assert_eq!(told.count("Pushed"), 1);
    let patches = registry.seen("PATCH", "/uploads/");
    assert_eq!(patches.len(), 1);
    assert_eq!(patches[0].length, None, "its length is unknown when it begins");
    assert!(bench.store.compressed().unwrap().is_empty());
    // The next registry has nothing: the same bytes are made again, the manifest stays.
    let other = FakeRegistry::start().await;
    let told = Told::default();
    let second = push_as(&bench, "made", &format!("{}/made:1", other.host()), &told)
        .await
        .unwrap();
    assert_eq!(first.digest, second.digest);
    assert!(
        registry.seen("GET", "/blobs/sha256").is_empty(),
        "nothing is fetched back"
    );
    assert_eq!(
        pull(&Bench::new(), &target).await,
        bench.images.resolve("made").await.unwrap().id
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_begun_again_and_registries_may_refuse_them() {
    let bench = Bench::keeping(KeepCompressed::Always);
    made(&bench, "made", 2).await;
    let (flaky, strict) = (FakeRegistry::start().await, FakeRegistry::start().await);
    // The second request to an upload: the bytes.
    flaky.fault("/blobs/uploads/1", 1, Fault::Cut(100_000));
    let first = push_as(
        &bench,
        "made",
        &format!("{}/made:1", flaky.host()),
        &Told::default(),
    )
    .await
    .unwrap();
    let blobs = bench.store.compressed().unwrap();
    assert_eq!(blobs.len(), 1, "kept: {blobs:?}");
    // Nothing kept, and a registry that wants to know the length.
    let bench = Bench::new();
    made(&bench, "made", 2).await;
    strict.fault(
        "/blobs/uploads/1",
        1,
        Fault::Status(411, Vec::new(), String::new()),
    );
    let second = push_as(
        &bench,
        "made",
        &format!("{}/made:1", strict.host()),
        &Told::default(),
    )
    .await
    .unwrap();
    assert_eq!(strict.seen("PATCH", "/uploads/").len(), 2);
    assert!(bench.store.compressed().unwrap().is_empty());
    let layer = |registry: &FakeRegistry| {
        let state = registry.state.lock().unwrap();
        let blobs = state.blobs.values();
        blobs.map(|blob| blob.len()).max().unwrap()
    };
    assert_eq!(layer(&flaky), layer(&strict));
    assert_ne!(
        first.digest, second.digest,
        "the configurations have different times"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn zstd_when_asked() {
    let packing = Packing::of(Compression::Zstd);
    let bench = Bench::with(Options {
        packing,
        ..Options::default()
    });
    let registry = FakeRegistry::start().await;
    let id = made(&bench, "made", 3).await;
    let target = format!("{}/made:1", registry.host());
    push_as(&bench, "made", &target, &Told::default()).await.unwrap();
    {
        let state = registry.state.lock().unwrap();
        let (_, manifest) = state.manifests.values().next().unwrap();
        let text = String::from_utf8_lossy(manifest);
        assert!(text.contains("diff.tar.zstd"), "{text}");
    }
    assert_eq!(pull(&Bench::new(), &target).await, id);
}
