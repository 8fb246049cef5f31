//! Pulling, from registries that behave and registries that don't. Needs root (layers have owners).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use havre_image::{ErrorKind, ImageError, ListOptions, PullOptions, Pulled, Silent};
use havre_oci::{Digest, Platform, Reference};
use support::registry::{FakeRegistry, Fault};
use support::{Bench, Fixture, Told, index};

fn reference(registry: &FakeRegistry, name: &str) -> Reference {
    Reference::parse(&format!("{}/{name}", registry.host())).unwrap()
}

async fn pull(bench: &Bench, reference: &Reference) -> Result<Pulled, ImageError> {
    let options = PullOptions::default();
    Ok(bench.images.pull(reference, &options, &Silent).await?.remove(0))
}

fn nothing_visible(bench: &Bench) {
    assert!(bench.store.meta().images().unwrap().is_empty());
    assert!(bench.store.meta().references().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_all_layer_forms() {
    let (registry, bench) = (FakeRegistry::start().await, Bench::new());
    let fixture = Fixture::new(1, 4, 200_000);
    let digest = fixture.publish(&registry, "app", "v1");
    let (name, told) = (reference(&registry, "app:v1"), Told::default());
    let pulled = bench
        .images
        .pull(&name, &PullOptions::default(), &told)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        pulled,
        Pulled {
            image: fixture.id(),
            digest: digest.clone(),
            reference: name.clone(),
            up_to_date: false
        }
    );
    let lines = told.lines();
    assert_eq!(lines[0], "v1: Pulling from app");
    assert_eq!(told.count("Pulling fs layer"), 4);
    assert_eq!(told.count("Waiting"), 1);
    assert_eq!(told.count("Pull complete"), 4);
    assert_eq!(told.count("Download complete"), 4);
    let host = registry.host();
    let last = [
        format!("Digest: {digest}"),
        format!("Status: Downloaded newer image for {host}/app:v1"),
    ];
    assert_eq!(lines[lines.len() - 2..], last);
    for tar in &fixture.tars {
        assert!(
            bench
                .store
                .layers()
                .find(&Digest::sha256_of(tar))
                .unwrap()
                .is_some()
        );
    }

    let inspect = bench
        .images
        .inspect(&format!("{host}/app:v1"), None)
        .await
        .unwrap();
    assert_eq!(inspect.id, fixture.id());
    assert_eq!(inspect.repo_tags, [format!("{host}/app:v1")]);
    assert_eq!(inspect.repo_digests, [format!("{host}/app@{digest}")]);
    assert_eq!(inspect.size, 4 * 200_000 + 4 * 7);
    let history = bench.images.history(fixture.id().short(), None).await.unwrap();
    assert_eq!(history.len(), 8);
    assert_eq!(
        (history[0].id.as_str(), history[1].id.as_str()),
        (fixture.id().as_str(), "<missing>")
    );
    assert_eq!((history[0].size, history[1].size), (0, 200_007));

    // Again: a HEAD says that nothing changed.
    let told = Told::default();
    let before = registry.seen("GET", "/v2/").len();
    let again = bench
        .images
        .pull(&name, &PullOptions::default(), &told)
        .await
        .unwrap()
        .remove(0);
    assert!(again.up_to_date);
    assert_eq!(registry.seen("GET", "/v2/").len(), before);
    assert_eq!(
        told.lines().last().unwrap(),
        &format!("Status: Image is up to date for {host}/app:v1")
    );
    // By digest: known as well.
    let by_digest = pull(&bench, &name.with_digest(digest.clone())).await.unwrap();
    assert_eq!((by_digest.image, by_digest.up_to_date), (fixture.id(), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_layers_come_once_and_a_moved_tag_is_followed() {
    let (registry, bench) = (FakeRegistry::start().await, Bench::new());
    let first = Fixture::new(2, 3, 50_000);
    first.publish(&registry, "app", "latest");
    pull(&bench, &reference(&registry, "app")).await.unwrap();
    let second = Fixture::new(2, 4, 50_000);
    second.publish(&registry, "app", "latest");
    let told = Told::default();
    let options = PullOptions::default();
    let pulled = bench
        .images
        .pull(&reference(&registry, "app"), &options, &told)
        .await
        .unwrap();
    assert_eq!(pulled[0].image, second.id());
    assert_eq!(told.count("Already exists"), 3);
    assert_eq!(
        registry.seen("GET", "/blobs/").len(),
        3 + 1 + 1 + 1,
        "three layers, one more, two configurations"
    );
    // The first image stays, without its name.
    let rows = bench
        .images
        .list(&ListOptions::default(), Vec::new)
        .await
        .unwrap();
    let unnamed: Vec<_> = rows.iter().filter(|row| row.repo_tags.is_empty()).collect();
    assert_eq!(unnamed.len(), 1);
    assert_eq!(unnamed[0].id, first.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_of_an_index() {
    let (registry, bench) = (FakeRegistry::start().await, Bench::new());
    let (host, other) = (Platform::host(), Platform::parse("linux/s390x").unwrap());
    let (mine, foreign) = (Fixture::of(3, 1, 1000, &host), Fixture::of(4, 1, 1000, &other));
    let digest = index(&registry, "app", "latest", &[(&foreign, &other), (&mine, &host)]);
    let pulled = pull(&bench, &reference(&registry, "app")).await.unwrap();
    assert_eq!((pulled.image, pulled.digest), (mine.id(), digest));
    let options = PullOptions {
        platform: Some(other.clone()),
        ..PullOptions::default()
    };
    let pulled = bench
        .images
        .pull(&reference(&registry, "app"), &options, &Silent)
        .await
        .unwrap();
    assert_eq!(pulled[0].image, foreign.id());
    let options = PullOptions {
        platform: Some(Platform::parse("linux/riscv64").unwrap()),
        ..options
    };
    let error = bench
        .images
        .pull(&reference(&registry, "app"), &options, &Silent)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no matching manifest for linux/riscv64 in the manifest list entries"
    );
    assert_eq!(error.kind(), ErrorKind::NotFound);

    // A lone manifest of another platform is taken, with a warning.
    foreign.publish(&registry, "lone", "latest");
    let told = Told::default();
    let options = PullOptions {
        platform: Some(Platform::parse("linux/riscv64").unwrap()),
        ..options
    };
    bench
        .images
        .pull(&reference(&registry, "lone"), &options, &told)
        .await
        .unwrap();
    assert!(
        told.lines()
            .iter()
            .any(|line| line.starts_with("WARNING: image with reference")),
        "{:?}",
        told.lines()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tags_of_a_repository() {
    let (registry, bench) = (FakeRegistry::start().await, Bench::new());
    for (seed, tag) in [(5, "a"), (6, "b"), (7, "c")] {
        Fixture::new(seed, 1, 1000).publish(&registry, "app", tag);
    }
    let options = PullOptions {
        all_tags: true,
        ..PullOptions::default()
    };
    let pulled = bench
        .images
        .pull(&reference(&registry, "app"), &options, &Silent)
        .await
        .unwrap();
    assert_eq!(pulled.len(), 3);
    let error = bench
        .images
        .pull(&reference(&registry, "app:a"), &options, &Silent)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn breaks_are_survived_and_lies_found_out() {
    let (registry, bench) = (FakeRegistry::start().await, Bench::new());
    let fixture = Fixture::new(8, 2, 300_000);
    fixture.publish(&registry, "app", "latest");
    let name = reference(&registry, "app");
    let layer = fixture.descriptors[0].digest.to_string();
    // Wrong bytes for ever: nothing remains but the good layer.
    registry.fault(&layer, 100, Fault::Wrong);
    let error = pull(&bench, &name).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("filesystem layer verification failed for digest {layer}")
    );
    nothing_visible(&bench);
    registry.state.lock().unwrap().faults.clear();
    // A blob that is announced as too short, a registry that fails, a manifest that isn't there.
    registry.fault(&layer, 100, Fault::Short);
    assert!(
        pull(&bench, &name)
            .await
            .unwrap_err()
            .to_string()
            .contains("the manifest says")
    );
    registry.state.lock().unwrap().faults.clear();
    registry.status("/blobs/", 100, 500);
    assert_eq!(
        pull(&bench, &name).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    registry.state.lock().unwrap().faults.clear();
    assert_eq!(
        pull(&bench, &reference(&registry, "app:no"))
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
    nothing_visible(&bench);
    // Wrong once, broken often, endless: a good image all the same.
    registry.fault(&layer, 1, Fault::Wrong);
    registry.fault(&layer, 3, Fault::Cut(100_000));
    registry.fault(fixture.descriptors[1].digest.as_str(), 1, Fault::Endless);
    assert_eq!(pull(&bench, &name).await.unwrap().image, fixture.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_pull_keeps_what_came() {
    let (registry, bench) = (FakeRegistry::start().await, Bench::new());
    let fixture = Fixture::new(9, 1, 400_000);
    fixture.publish(&registry, "app", "latest");
    let (name, layer) = (
        reference(&registry, "app"),
        fixture.descriptors[0].digest.to_string(),
    );
    registry.fault(&layer, 1, Fault::Stall(250_000));
    let cancelled = tokio::time::timeout(std::time::Duration::from_millis(700), pull(&bench, &name)).await;
    assert!(cancelled.is_err());
    nothing_visible(&bench);
    registry.state.lock().unwrap().faults.clear();
    assert_eq!(pull(&bench, &name).await.unwrap().image, fixture.id());
    let ranges: Vec<_> = registry
        .seen("GET", &layer)
        .into_iter()
        .filter_map(|seen| seen.range)
        .collect();
    assert_eq!(ranges, ["bytes=250000-"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_pulls_of_the_same_image_download_once() {
    let (registry, bench) = (FakeRegistry::start().await, Bench::new());
    let fixture = Fixture::new(10, 3, 300_000);
    fixture.publish(&registry, "app", "latest");
    let name = reference(&registry, "app");
    let (a, b, c) = tokio::join!(pull(&bench, &name), pull(&bench, &name), pull(&bench, &name));
    for pulled in [a, b, c] {
        assert_eq!(pulled.unwrap().image, fixture.id());
    }
    for descriptor in &fixture.descriptors {
        assert_eq!(registry.seen("GET", descriptor.digest.as_str()).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_images() {
    use havre_oci::{Descriptor, ImageConfig, Manifest, media_type};
    let (registry, bench) = (FakeRegistry::start().await, Bench::new());
    let publish = |tag: &str, layer: &[u8], diff_ids: Vec<Digest>| {
        let mut config = ImageConfig::new(&Platform::host());
        config.rootfs.diff_ids = diff_ids;
        config.rootfs.kind = "layers".into();
        let config = config.to_bytes();
        registry.blob("evil", config.clone().into());
        registry.blob("evil", layer.to_vec().into());
        let layers = vec![Descriptor::of(media_type::OCI_LAYER_GZIP, layer)];
        let manifest = Manifest::oci(Descriptor::of(media_type::OCI_CONFIG, &config), layers).to_bytes();
        registry.manifest("evil", tag, media_type::OCI_MANIFEST, manifest);
        reference(&registry, &format!("evil:{tag}"))
    };
    let good = support::tar(&[("a", b"a")]);
    // The configuration promises another layer; one that isn't a tar; one that climbs out; a bomb.
    let name = publish("diff", &support::gzip(&good), vec![Digest::sha256_of(b"other")]);
    let error = pull(&bench, &name).await.unwrap_err().to_string();
    assert!(
        error.starts_with("failed to register layer") && error.contains("diff ID"),
        "{error}"
    );
    let name = publish("count", &support::gzip(&good), vec![]);
    assert!(matches!(
        pull(&bench, &name).await,
        Err(ImageError::LayerCount { .. })
    ));
    let garbage = support::registry::content(5000, 1);
    let name = publish("garbage", &garbage, vec![Digest::sha256_of(&garbage)]);
    assert!(
        pull(&bench, &name)
            .await
            .unwrap_err()
            .to_string()
            .starts_with("failed to register layer")
    );
    let mut escape = support::tar(&[("xx/escape", b"x")]);
    escape[..9].copy_from_slice(b"../escape");
    let sum: u32 = (0..512)
        .map(|i| {
            if (148..156).contains(&i) {
                32
            } else {
                u32::from(escape[i])
            }
        })
        .sum();
    escape[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let name = publish(
        "escape",
        &support::gzip(&escape),
        vec![Digest::sha256_of(&escape)],
    );
    let error = pull(&bench, &name).await.unwrap_err().to_string();
    assert!(error.contains("escape"), "{error}");
    nothing_visible(&bench);
    // An artifact that is no image.
    let config = Descriptor::of("application/vnd.example+json", b"{}");
    registry.manifest(
        "evil",
        "artifact",
        media_type::OCI_MANIFEST,
        Manifest::oci(config, vec![]).to_bytes(),
    );
    let error = pull(&bench, &reference(&registry, "evil:artifact"))
        .await
        .unwrap_err();
    assert!(matches!(error, ImageError::NotAnImage { .. }), "{error}");
    // Nothing is left once the leases are gone.
    bench.store.collect().unwrap();
    assert!(bench.store.content().list().unwrap().is_empty());
    assert!(bench.store.layers().list().unwrap().is_empty());
}
