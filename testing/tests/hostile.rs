//! Bad input, one test each: it is refused in Docker's words where Docker has words, nothing is lost, no litter is left.
//! Needs root.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fs_err as fs;
use havre_testing::{Action, Compression, Entry, Image, Layer, Registry, TestEngine, digest_of, http};
use serde_json::json;

/// What a store holds, by path: contents of partial downloads and of images.
fn litter(engine: &TestEngine) -> Vec<String> {
    if TestEngine::is_dockerd() {
        return Vec::new();
    }
    let root = engine.root();
    let mut found = Vec::new();
    for part in ["layers", "content", "containers", "volumes"] {
        collect(&root.join(part), &root, &mut found);
    }
    found
}

fn collect(dir: &Path, root: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.is_symlink() {
            collect(&path, root, found);
        } else {
            found.push(path.strip_prefix(root).unwrap_or(&path).display().to_string());
        }
    }
}

/// Pulls something bad: it fails in these words, soon, and leaves nothing; the daemon goes on.
fn pull_refused(engine: &TestEngine, name: &str, expected: &[&str]) -> String {
    let before = litter(engine);
    let clock = Instant::now();
    let error = engine.fails(1, ["pull", name]);
    assert!(clock.elapsed() < Duration::from_secs(50), "{error}");
    assert!(
        expected
            .iter()
            .any(|words| error.to_lowercase().contains(&words.to_lowercase())),
        "{error}"
    );
    assert_eq!(engine.ok("images -q"), "", "nothing is listed");
    assert_eq!(litter(engine), before, "nothing is left");
    error
}

/// An engine, and a registry with `app:latest` of two layers; the digest of the second is told.
fn app() -> (TestEngine, Registry, String, String) {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let image = Image::busybox().with_layer(&Layer::new().file("x", "content".repeat(50_000)));
    registry.publish("app", "latest", &image, Compression::Gzip);
    let layer = digest_of(&Compression::Gzip.compress(&image.layers[1]));
    let name = registry.name("app:latest");
    (engine, registry, name, layer)
}

fn comes_after_all(engine: &TestEngine, registry: &Registry, name: &str) {
    registry.behave();
    engine.ok(["pull", name]);
    assert_eq!(engine.ok(["run", "--rm", name, "echo", "whole"]), "whole");
}

// ---- names -------------------------------------------------------------------------------------------------------

#[test]
fn an_unknown_image() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let name = registry.name("nosuch:tag");
    let error = pull_refused(&engine, &name, &["manifest unknown", "not found"]);
    assert!(TestEngine::is_dockerd() || error.contains("nosuch"), "{error}");
    let error = engine.fails(125, ["run", "--rm", &name, "true"]);
    assert!(
        error.contains(&format!("Unable to find image '{name}' locally")),
        "{error}"
    );
}

#[test]
fn a_bad_reference() {
    let engine = TestEngine::start();
    for (name, expected) in [
        (
            "Upper",
            "invalid reference format: repository name (library/Upper) must be lowercase",
        ),
        ("a:b:c", "invalid reference format"),
        ("name:", "invalid reference format"),
        ("name@sha256:abc", "invalid reference format"),
        ("-name", "invalid reference format"),
        ("a//b", "invalid reference format"),
    ] {
        let error = engine.run(["pull", "--", name]);
        assert_eq!(error.code, 1, "{error}");
        assert!(error.err().contains(expected), "{name}: {error}");
    }
    let long = "a".repeat(300);
    let error = engine.fails(1, ["pull", &long]);
    assert!(
        error.contains("repository name must not be more than 255 characters")
            || error.contains("invalid reference format"),
        "{error}"
    );
    let hex = "0".repeat(64);
    let error = engine.fails(1, ["pull", &hex]);
    assert!(
        error.contains("cannot specify 64-byte hexadecimal strings"),
        "{error}"
    );
}

#[test]
fn a_name_in_use() {
    let engine = TestEngine::with_busybox();
    engine.ok("create --name taken busybox");
    let error = engine.fails(125, "run --name taken busybox true");
    assert!(
        error.contains("Conflict. The container name \"/taken\" is already in use by container"),
        "{error}"
    );
    assert_eq!(engine.ok("ps -aq").lines().count(), 1);
}

#[test]
fn a_port_in_use() {
    let engine = TestEngine::with_busybox();
    let program = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = program.local_addr().expect("address").port();
    let error = engine.fails(125, format!("run --rm -p 127.0.0.1:{port}:80 busybox true"));
    assert!(
        error.contains("address already in use") && error.contains(&port.to_string()),
        "{error}"
    );
}

#[test]
fn a_command_not_found() {
    let engine = TestEngine::with_busybox();
    let error = engine.fails(127, "run --rm busybox nosuch");
    assert!(
        error.contains("exec: \"nosuch\": executable file not found in $PATH"),
        "{error}"
    );
    assert_eq!(engine.ok("ps -aq"), "", "--rm is kept");
}

// ---- registries --------------------------------------------------------------------------------------------------

#[test]
fn a_registry_that_is_down() {
    let engine = TestEngine::start();
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("address")
        .port();
    pull_refused(&engine, &format!("127.0.0.1:{port}/app"), &["connection refused"]);
    let error = pull_refused(
        &engine,
        "registry.invalid/app",
        &["no such host", "lookup", "resolve", "dns"],
    );
    assert!(error.contains("registry.invalid"), "{error}");
}

#[test]
fn a_registry_that_denies() {
    let (engine, registry, name, _) = app();
    registry.fail(
        "GET",
        "/manifests/",
        None,
        Action::error(401, "UNAUTHORIZED", "authentication required"),
    );
    registry.fail(
        "HEAD",
        "/manifests/",
        None,
        Action::error(401, "UNAUTHORIZED", "authentication required"),
    );
    pull_refused(&engine, &name, &["unauthorized", "denied"]);
    registry.behave();
    for method in ["GET", "HEAD"] {
        registry.fail(
            method,
            "/manifests/",
            None,
            Action::error(403, "DENIED", "requested access to the resource is denied"),
        );
    }
    pull_refused(&engine, &name, &["denied"]);
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_registry_without_the_blob() {
    let (engine, registry, name, layer) = app();
    registry.fail(
        "GET",
        &layer,
        None,
        Action::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
    );
    let error = engine.fails(1, ["pull", &name]);
    assert!(
        ["blob unknown", "unknown blob", "not found"]
            .iter()
            .any(|words| error.contains(words)),
        "{error}"
    );
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_registry_that_is_busy() {
    let (engine, registry, name, layer) = app();
    let wait = vec![("Retry-After".to_owned(), "1".to_owned())];
    registry.fail("GET", &layer, Some(1), Action::Status(429, wait, "{}".to_owned()));
    if TestEngine::is_dockerd() {
        return;
    }
    let clock = Instant::now();
    engine.ok(["pull", &name]);
    assert!(
        clock.elapsed() >= Duration::from_secs(1),
        "it waited as it was told"
    );
    engine.ok(["rmi", &name]);
    registry.fail(
        "GET",
        "/manifests/",
        None,
        Action::error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit"),
    );
    registry.fail(
        "HEAD",
        "/manifests/",
        None,
        Action::error(429, "TOOMANYREQUESTS", ""),
    );
    pull_refused(
        &engine,
        &name,
        &["toomanyrequests", "rate limit", "too many requests"],
    );
}

#[test]
fn a_registry_that_stumbles_and_one_that_fell() {
    let (engine, registry, name, layer) = app();
    registry.fail("GET", &layer, Some(2), Action::error(500, "UNKNOWN", "stumbled"));
    engine.ok(["pull", &name]);
    engine.ok(["rmi", &name]);
    for method in ["GET", "HEAD"] {
        registry.fail(
            method,
            "/manifests/",
            None,
            Action::error(500, "UNKNOWN", "it fell"),
        );
    }
    pull_refused(&engine, &name, &["500", "it fell", "unknown"]);
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_download_that_is_always_cut() {
    if TestEngine::is_dockerd() {
        return; // It tries for more than a minute.
    }
    let (engine, registry, name, layer) = app();
    registry.fail("GET", &layer, None, Action::CutAfter(0));
    let error = engine.fails(1, ["pull", &name]);
    assert!(
        error.contains("EOF") || error.contains("connection") || error.contains("closed"),
        "{error}"
    );
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_blob_of_another_digest() {
    let (engine, registry, name, layer) = app();
    registry.fail("GET", &layer, None, Action::Corrupt);
    let error = engine.fails(1, ["pull", &name]);
    assert!(
        error.contains("filesystem layer verification failed for digest") || error.contains("digest"),
        "{error}"
    );
    assert_eq!(engine.ok("images -q"), "");
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_configuration_of_another_digest() {
    let (engine, registry, name, _) = app();
    let manifest = registry.manifest("app", "latest").expect("manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let config = manifest["config"]["digest"].as_str().expect("digest").to_owned();
    registry.fail(
        "GET",
        &config,
        None,
        Action::Replace(Image::from_layers([]).config_json()),
    );
    let error = engine.fails(1, ["pull", &name]);
    assert!(
        ["digest", "size", "verification", "the manifest says"]
            .iter()
            .any(|words| error.contains(words)),
        "{error}"
    );
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_manifest_of_another_digest() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let digest = registry.publish("app", "latest", &Image::busybox(), Compression::Gzip);
    let (other, _) = Image::from_layers([]).oci_manifest(Compression::Gzip);
    for method in ["GET", "HEAD"] {
        registry.fail(method, "/manifests/", None, Action::Replace(other.clone()));
    }
    pull_refused(
        &engine,
        &registry.name(&format!("app@{digest}")),
        &["digest", "verification failed"],
    );
}

#[test]
fn a_truncated_blob() {
    let (engine, registry, name, layer) = app();
    registry.fail("GET", &layer, None, Action::Truncate(100));
    let error = engine.fails(1, ["pull", &name]);
    assert!(
        [
            "digest",
            "size",
            "short",
            "EOF",
            "verification",
            "the manifest says"
        ]
        .iter()
        .any(|word| error.contains(word)),
        "{error}"
    );
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn an_endless_blob() {
    let (engine, registry, name, layer) = app();
    registry.fail("GET", &layer, None, Action::Endless);
    if TestEngine::is_dockerd() {
        return; // It reads on until the disk is full.
    }
    // Refused, or read as far as the manifest says, verified and closed: both end.
    let clock = Instant::now();
    engine.run(["pull", &name]);
    assert!(clock.elapsed() < Duration::from_secs(30));
    let received = format!("/proc/{}/io", engine.daemon_pid());
    let received = fs::read_to_string(received).expect("io");
    let bytes: u64 = received
        .lines()
        .find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
        .expect("a count");
    assert!(bytes < 200 << 20, "it read on: {bytes}");
    engine.run(["rmi", &name]);
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_stalled_download() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, registry, name, layer) = app();
    registry.fail("GET", &layer, Some(1), Action::Stall);
    // A pull that stalls can be given up: the client goes, and the daemon is as before.
    let running = engine.cmd(["pull", &name]).spawn();
    std::thread::sleep(Duration::from_millis(500));
    running.signal(rustix::process::Signal::INT);
    let output = running.finish();
    assert_ne!(output.code, 0, "{output}");
    comes_after_all(&engine, &registry, &name);
}

#[test]
fn a_huge_manifest() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let huge = format!("{{\"schemaVersion\":2,\"x\":\"{}\"}}", "x".repeat(100 << 20));
    registry.put_manifest(
        "app",
        "latest",
        "application/vnd.oci.image.manifest.v1+json",
        huge.into_bytes(),
    );
    if TestEngine::is_dockerd() {
        return;
    }
    pull_refused(
        &engine,
        &registry.name("app"),
        &["too large", "larger than", "limit", "exceeds", "more than"],
    );
    let status = fs::read_to_string(format!("/proc/{}/status", engine.daemon_pid())).expect("status");
    let peak: u64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .expect("a peak");
    assert!(peak < 200 << 10, "the daemon swallowed it: {peak} KiB");
}

#[test]
fn manifests_that_are_none() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let digest = format!("sha256:{}", "a".repeat(64));
    let descriptor =
        json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": 2});
    let many: Vec<_> = (0..2_000).map(|_| descriptor.clone()).collect();
    for (at, bytes) in [
        "no json".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        json!({"schemaVersion": 2, "mediaType": kind, "config": {"mediaType": "x", "digest": "sha256:../../etc", "size": 2}, "layers": []}).to_string(),
        json!({"schemaVersion": 2, "mediaType": kind, "config": {"mediaType": "x", "digest": digest, "size": -1}, "layers": []}).to_string(),
        json!({"schemaVersion": 2, "mediaType": kind, "config": descriptor, "layers": many}).to_string(),
        "[".repeat(100_000),
    ]
    .into_iter()
    .enumerate()
    {
        let tag = format!("bad{at}");
        registry.put_manifest("app", &tag, kind, bytes.into_bytes());
        pull_refused(&engine, &registry.name(&format!("app:{tag}")), &[""]);
    }
}

// ---- layers ------------------------------------------------------------------------------------------------------

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

#[test]
fn a_configuration_full_of_traps() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let image = Image::busybox()
        .with_config(
            "Labels",
            json!({"$(touch /tmp/x)": "; rm -rf /", "\u{1b}[2J": "\n"}),
        )
        .with_config("WorkingDir", json!("../../../../tmp"))
        .with_config("Volumes", json!({"../../../../etc": {}, "/": {}}))
        .with_config("User", json!("../../etc/passwd"));
    registry.publish("traps", "latest", &image, Compression::Gzip);
    let name = registry.name("traps");
    engine.run(["pull", &name]);
    for line in [
        format!("run --rm {name} pwd"),
        format!("run --rm -u root -w /tmp {name} true"),
        format!("inspect {name}"),
        "images".to_owned(),
    ] {
        let output = engine.run(&line);
        assert!(output.code <= 127, "{output}");
        assert!(
            !output.out().contains('\u{1b}'),
            "a terminal's escape from a stranger: {output}"
        );
    }
    engine.run("ps");
}

// ---- archives ----------------------------------------------------------------------------------------------------

#[test]
fn archives_that_are_none() {
    let engine = TestEngine::start();
    let before = litter(&engine);
    let climbing = Layer::new()
        .file(
            "manifest.json",
            r#"[{"Config":"../../../../etc/passwd","RepoTags":["x:y"],"Layers":["../../etc/shadow"]}]"#,
        )
        .tar();
    let missing = Layer::new()
        .file(
            "manifest.json",
            r#"[{"Config":"nosuch.json","RepoTags":["x:y"],"Layers":["nosuch/layer.tar"]}]"#,
        )
        .tar();
    let link = Layer::new()
        .symlink("config.json", "/etc/passwd")
        .file(
            "manifest.json",
            r#"[{"Config":"config.json","RepoTags":["x:y"],"Layers":[]}]"#,
        )
        .tar();
    let cut = Image::busybox().docker_archive(&["x:y"])[..100_000].to_vec();
    for archive in [
        b"no archive at all".to_vec(),
        Vec::new(),
        Layer::new().tar(),
        climbing,
        missing,
        link,
        cut,
    ] {
        let output = engine.cmd("load").stdin(archive).run();
        assert_ne!(output.code, 0, "{output}");
        assert!(
            !output.err().contains("root:x:0"),
            "a host file in a message: {output}"
        );
        assert_eq!(engine.ok("images -q"), "");
    }
    assert_eq!(litter(&engine), before);
}

#[test]
fn a_tag_in_an_archive_is_validated() {
    let engine = TestEngine::start();
    let archive = Image::busybox().docker_archive(&["../../Evil Name"]);
    let output = engine.cmd("load").stdin(archive).run();
    assert_ne!(output.code, 0, "{output}");
    assert!(output.err().contains("invalid"), "{output}");
}

// ---- full disk ---------------------------------------------------------------------------------------------------

/// An engine whose root is a file system of this size, which ends with it.
struct Small {
    engine: Option<TestEngine>,
    dir: tempfile::TempDir,
}

impl Small {
    fn start(megabytes: u64) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("havre-small-")
            .tempdir_in("/var/tmp")
            .expect("directory");
        let image = dir.path().join("disk");
        let mount = dir.path().join("root");
        fs::File::create(&image)
            .and_then(|file| file.set_len(megabytes << 20))
            .expect("disk");
        fs::create_dir(&mount).expect("directory");
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().expect(program);
            assert!(
                output.status.success(),
                "{program}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        run("mkfs.ext4", &["-q", "-F", &image.to_string_lossy()]);
        run(
            "mount",
            &["-o", "loop", &image.to_string_lossy(), &mount.to_string_lossy()],
        );
        let engine = Some(TestEngine::at(&mount.join("havre")));
        Self { engine, dir }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(self.engine.take());
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path().join("root"))
            .status();
    }
}

#[test]
fn a_full_disk() {
    if TestEngine::is_dockerd() {
        return;
    }
    let small = Small::start(40);
    let engine = small.engine.as_ref().expect("engine");
    engine.load(&Image::busybox(), "busybox:latest");
    let registry = Registry::start();
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..48 << 20)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    let big = Image::busybox().with_layer(&Layer::new().file("big", noise));
    registry.publish("big", "latest", &big, Compression::None);
    let error = engine.fails(1, ["pull", &registry.name("big")]);
    assert!(
        error.contains("no space left on device") || error.contains("No space left on device"),
        "{error}"
    );
    assert_eq!(
        engine.ok("images -q").lines().count(),
        1,
        "the older image is still there"
    );
    let output = engine
        .cmd("load")
        .stdin(big.docker_archive(&["big:latest"]))
        .run();
    assert_ne!(output.code, 0, "{output}");
    assert!(
        output.err().to_lowercase().contains("no space left on device"),
        "{output}"
    );
    let filled = engine.run([
        "run",
        "--name",
        "filler",
        "busybox",
        "dd",
        "if=/dev/zero",
        "of=/fill",
        "bs=1M",
        "count=100",
    ]);
    assert_eq!(filled.code, 1, "{filled}");
    engine.ok("rm filler");
    assert_eq!(engine.ok("run --rm busybox echo room again"), "room again");
    engine.kill_daemon();
    engine.start_daemon();
    assert_eq!(engine.ok("run --rm busybox echo alive"), "alive");
}
