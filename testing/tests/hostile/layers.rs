//! Layers that climb, link out, lie about sizes, or explode.

use std::path::Path;
use std::time::{Duration, Instant};

use fs_err as fs;
use havre_testing::{Compression, Entry, Image, Layer, Registry, TestEngine, digest_of, http};
use serde_json::json;

use crate::litter;

/// Loads and pulls an image whose second layer is this one. Returns the errors; `None`: it was taken.
fn offered(engine: &TestEngine, registry: &Registry, layer: &Layer) -> [Option<String>; 2] {
    let image = Image::busybox().with_layer(layer);
    let archive = image.docker_archive(&["bad:latest"]);
    let loaded = http::over_unix(
        engine.socket(),
        "POST",
        "/images/load",
        "application/x-tar",
        &archive,
    )
    .expect("answer");
    let load_failed = loaded.status != 200 || loaded.text().contains("errorDetail");
    registry.publish("bad", "latest", &image, Compression::Gzip);
    let pulled = engine.run(["pull", &registry.name("bad")]);
    [
        load_failed.then(|| loaded.text()),
        (pulled.code != 0).then(|| pulled.err()),
    ]
}

fn refused_layer(layer: &Layer, expected: &[&str]) {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let before = litter(&engine);
    for error in offered(&engine, &registry, layer) {
        // dockerd unpacks in a chroot: what climbs ends inside.
        let Some(error) = error else {
            assert!(TestEngine::is_dockerd(), "it was taken");
            continue;
        };
        assert!(
            expected.iter().any(|words| error.to_lowercase().contains(words)),
            "{error}"
        );
    }
    assert!(TestEngine::is_dockerd() || engine.ok("images -q").is_empty());
    // A pull keeps verified layers for the next try; nothing of the refused one is there.
    let after: Vec<_> = litter(&engine)
        .into_iter()
        .filter(|path| !before.contains(path))
        .collect();
    assert!(
        !after
            .iter()
            .any(|path| path.contains("escaped") || path.contains("planted")),
        "{after:?}"
    );
    engine.load(&Image::busybox(), "busybox:latest");
    assert_eq!(engine.ok("run --rm busybox echo fine"), "fine");
}

#[test]
fn a_path_that_climbs() {
    let target = format!("havre-escaped-{}", std::process::id());
    let climbing = Layer::new().file(&format!("../../../../../../../../tmp/{target}"), "x");
    refused_layer(&climbing, &["invalid", "outside", "..", "escape", "breakout"]);
    refused_layer(
        &Layer::new().file("a/../../../../../../../../tmp/escaped", "x"),
        &["invalid", "outside", "..", "breakout"],
    );
    assert!(!Path::new("/tmp").join(target).exists());
}

#[test]
fn an_absolute_path_stays_inside() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let name = format!("/tmp/havre-absolute-{}", std::process::id());
    let outcome = offered(&engine, &registry, &Layer::new().file(&name, "inside"));
    assert!(!Path::new(&name).exists(), "written to the host");
    // Docker takes such an entry as relative to the root; refusing it is as good.
    if outcome.iter().all(Option::is_none) {
        assert_eq!(engine.ok(["run", "--rm", "bad", "cat", &name]), "inside");
    }
}

#[test]
fn a_symbolic_link_leads_nowhere_outside() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let outside = engine.files("outside", &[("kept", "kept")]);
    let target = outside.to_string_lossy().into_owned();
    for layer in [
        Layer::new().symlink("link", &target).file("link/planted", "x"),
        Layer::new()
            .symlink("link", "../../../../../../../../..")
            .file(&format!("link{target}/planted"), "x"),
        Layer::new()
            .symlink("link", &target)
            .dir("link")
            .file("link/planted", "x"),
        Layer::new().symlink("link", &target).whiteout("link/kept"),
        Layer::new()
            .symlink("a", "b")
            .symlink("b", "a")
            .file("a/planted", "x"),
    ] {
        offered(&engine, &registry, &layer);
        assert!(!outside.join("planted").exists(), "written through a link");
        assert_eq!(
            fs::read_to_string(outside.join("kept")).expect("file"),
            "kept",
            "removed through a link"
        );
    }
    // And over two layers: the link in the first, the file in the second.
    let image = Image::busybox()
        .with_layer(&Layer::new().symlink("link", &target))
        .with_layer(&Layer::new().file("link/planted", "x"));
    registry.publish("two", "latest", &image, Compression::Gzip);
    engine.run(["pull", &registry.name("two")]);
    engine.run(["run", "--rm", &registry.name("two"), "true"]);
    assert!(
        !outside.join("planted").exists(),
        "written through a lower layer's link"
    );
}

#[test]
fn a_hard_link_to_outside() {
    refused_layer(
        &Layer::new().hardlink("stolen", "../../../../../../../../etc/shadow"),
        &["invalid", "outside", "..", "link", "breakout"],
    );
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let outcome = offered(
        &engine,
        &registry,
        &Layer::new().hardlink("stolen", "/etc/shadow"),
    );
    if outcome.iter().all(Option::is_none) {
        let text = engine.run("run --rm bad cat /stolen");
        assert!(!text.out().contains("root:"), "the host's shadow file: {text}");
    }
    let through = Layer::new()
        .symlink("etc2", "/etc")
        .hardlink("stolen", "etc2/shadow");
    offered(&engine, &registry, &through);
    let text = engine.run("run --rm bad cat /stolen");
    assert!(!text.out().contains("root:"), "{text}");
}

#[test]
fn device_nodes_are_kept_but_confined() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let outcome = offered(
        &engine,
        &registry,
        &Layer::new().raw(
            &Entry {
                mode: 0o666,
                device: (8, 0),
                ..Entry::new("disk", b'4')
            },
            &[],
        ),
    );
    if outcome.iter().all(Option::is_none) {
        let read = engine.run("run --rm bad head -c 1 /disk");
        assert_ne!(read.code, 0, "a disk was read");
        assert!(read.err().contains("Operation not permitted"), "{read}");
    }
}

#[test]
fn a_name_twice() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let outcome = offered(
        &engine,
        &registry,
        &Layer::new().file("x", "first").file("x", "second"),
    );
    match outcome {
        [None, None] => assert_eq!(engine.ok("run --rm bad cat /x"), "second", "the last one wins"),
        [Some(load), Some(pull)] => assert!(
            load.contains("duplicate") && pull.contains("duplicate"),
            "{load} {pull}"
        ),
        mixed => panic!("load and pull disagree: {mixed:?}"),
    }
}

#[test]
fn a_bomb() {
    if TestEngine::is_dockerd() {
        return; // It unpacks it.
    }
    let (engine, registry) = (TestEngine::start(), Registry::start());
    // 4 GiB of zeros in a few MiB of gzip, and gzip in gzip does not help either.
    let image = Image::busybox();
    let member = Compression::Gzip.compress(&vec![0; 64 << 20]);
    let mut bomb = Compression::Gzip.compress(&image.layers[0]);
    for _ in 0..64 {
        bomb.extend(&member);
    }
    let size = bomb.len();
    let config = image.config_json();
    let digest = digest_of(&bomb);
    registry.put_blobs("bomb", [config.clone(), bomb]);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(&config), "size": config.len()},
        "layers": [{"mediaType": Compression::Gzip.layer_type(), "digest": digest, "size": size}],
    });
    registry.put_manifest(
        "bomb",
        "latest",
        "application/vnd.oci.image.manifest.v1+json",
        manifest.to_string().into_bytes(),
    );
    let clock = Instant::now();
    let error = engine.fails(1, ["pull", &registry.name("bomb")]);
    assert!(clock.elapsed() < Duration::from_secs(45), "{error}");
    assert!(!error.is_empty());
    assert_eq!(engine.ok("images -q"), "");
}

#[test]
fn sizes_that_lie() {
    for size in [1 << 40, u64::MAX >> 1] {
        let lying = Layer::new().raw(
            &Entry {
                size,
                ..Entry::new("big", b'0')
            },
            b"little",
        );
        refused_layer(
            &lying,
            &[
                "eof",
                "unexpected end",
                "truncated",
                "size",
                "too large",
                "more than",
                "invalid",
            ],
        );
    }
    refused_layer(
        &Layer::new().garbage(&[0x55; 4096]),
        &["invalid", "header", "checksum", "archive"],
    );
}

#[test]
fn a_layer_that_is_not_its_diff_id() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let image = Image::busybox();
    let other = Compression::Gzip.compress(&Layer::new().file("other", "x").tar());
    let config = image.config_json();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(&config), "size": config.len()},
        "layers": [{"mediaType": Compression::Gzip.layer_type(), "digest": digest_of(&other), "size": other.len()}],
    });
    registry.put_blobs("lie", [config, other]);
    registry.put_manifest(
        "lie",
        "latest",
        "application/vnd.oci.image.manifest.v1+json",
        manifest.to_string().into_bytes(),
    );
    let error = engine.fails(1, ["pull", &registry.name("lie")]);
    assert!(
        ["diff", "verification failed", "digest", "match"]
            .iter()
            .any(|words| error.contains(words)),
        "{error}"
    );
    assert_eq!(engine.ok("images -q"), "");
}
