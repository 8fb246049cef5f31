//! One name, images for several platforms: pull, list, look, tag, push, save, load, remove, undo.

use std::collections::BTreeSet;
use std::io::Read as _;

use havre_testing::{Image, Layer, Registry, TestEngine, digest_of};
use serde_json::{Value, json};

/// An image of the processor architectures that has a layer of its own on each.
fn images(architectures: &[&str]) -> Vec<Image> {
    let of = |architecture: &&str| {
        Image::busybox()
            .with_layer(&Layer::new().file("the-platform", architecture))
            .with_architecture(architecture)
    };
    architectures.iter().map(of).collect()
}

fn host() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

/// Another processor's.
fn foreign() -> &'static str {
    match host() {
        "arm64" => "amd64",
        _ => "arm64",
    }
}

/// A registry with an index of three platforms, the host's in the middle, and its digest.
fn published(registry: &Registry) -> (Vec<Image>, String) {
    let images = images(&[foreign(), host(), "s390x"]);
    let digest = registry.publish_index("app", "1", &images);
    (images, digest)
}

fn architecture(engine: &TestEngine, arguments: &str) -> String {
    engine.ok(format!(
        "image inspect {arguments} --format {{{{.Architecture}}}}"
    ))
}

/// Names and architectures of a list's row, with a mark on what isn't here.
fn listed(engine: &TestEngine) -> Vec<(Vec<String>, BTreeSet<String>)> {
    let rows = engine
        .api("GET", "/v1.47/images/json?manifests=1")
        .expect("an answer")
        .json();
    let strings =
        |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap_or_default() };
    let row = |row: &Value| {
        let manifests = row["Manifests"].as_array().expect("manifests").iter();
        let platforms = manifests.map(|one| {
            let mark = if one["Available"] == json!(true) { "" } else { "-" };
            match one["Kind"].as_str() {
                Some("image") => {
                    let architecture = &one["ImageData"]["Platform"]["architecture"];
                    format!("{mark}{}", architecture.as_str().expect("an architecture"))
                }
                kind => format!("{mark}{}", kind.expect("a kind")),
            }
        });
        (strings(&row["RepoTags"]), platforms.collect())
    };
    rows.as_array().expect("a list").iter().map(row).collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_name_stands_for_several_platforms() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let (images, digest) = published(&registry);
    let name = registry.name("app:1");
    let (host, foreign) = (host(), foreign());

    // A foreign platform alone stands for the name, until the host's is there.
    engine.ok(format!("pull -q --platform linux/{foreign} {name}"));
    assert_eq!(architecture(&engine, &name), foreign);
    let pulled = engine.ok(format!("pull {name}"));
    assert!(pulled.contains("Downloaded newer image"), "{pulled}");
    assert_eq!(architecture(&engine, &name), host);
    let again = engine.ok(format!("pull --platform linux/{foreign} {name}"));
    assert!(again.contains("Image is up to date"), "{again}");

    assert_eq!(
        architecture(&engine, &format!("--platform linux/{foreign} {name}")),
        foreign
    );
    let by_digest = format!(
        "--platform linux/{foreign} {}",
        registry.name(&format!("app@{digest}"))
    );
    assert_eq!(architecture(&engine, &by_digest), foreign);
    let ids: Vec<String> = images.iter().map(Image::id).collect();
    let tags = engine.inspect(&ids[0])["RepoTags"].clone();
    assert_eq!(tags, json!([name]), "by its own ID it has the name too");
    let refused = engine
        .run(format!("image inspect --platform linux/s390x {name}"))
        .fails(1);
    assert!(
        refused.contains("was found but its platform") && refused.contains("(linux/s390x)"),
        "{refused}"
    );
    let steps = engine.ok(format!("history -q --no-trunc --platform linux/{foreign} {name}"));
    assert!(steps.starts_with(&ids[0]), "{steps}");

    // One row, with what is missing; and the size of both.
    assert_eq!(
        listed(&engine),
        [(vec![name.clone()], set(&[host, foreign, "-s390x"]))]
    );
    let rows = engine.ok("images -q --no-trunc");
    assert_eq!(rows, ids[1]);
    let counts = engine.ok("system df --format {{.TotalCount}}");
    assert_eq!(counts.lines().next(), Some("1"), "{counts}");
    assert_eq!(engine.ok("images -q --no-trunc --filter dangling=true"), "");
    let other = engine.ok(format!("images -q --no-trunc --filter platform=linux/{foreign}"));
    assert_eq!(other, ids[0]);
    let tree = engine.ok("images --tree");
    assert!(tree.contains("linux/s390x (not here)"), "{tree}");

    // Each runs as it is: the programs are the host's whatever is said of them.
    let which = |arguments: &str| engine.ok(format!("run --rm {arguments} cat /the-platform"));
    assert_eq!(which(&name), host);
    assert_eq!(which(&format!("--platform linux/{foreign} {name}")), foreign);
}

#[test]
fn tagged_pushed_and_pulled_with_all_platforms() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let images = images(&[host(), foreign()]);
    let digest = registry.publish_index("app", "1", &images);
    let name = registry.name("app:1");
    for architecture in [host(), foreign()] {
        engine.ok(format!("pull -q --platform linux/{architecture} {name}"));
    }
    engine.ok(format!("tag {name} {}", registry.name("copy:1")));
    let pushed = engine.ok(format!("push {}", registry.name("copy:1")));
    // Everything of the index is here, so it is the very same.
    assert!(pushed.contains(&format!("1: digest: {digest}")), "{pushed}");
    assert_eq!(registry.manifest("copy", "1"), registry.manifest("app", "1"));

    // One platform alone.
    engine.ok(format!("tag {name} {}", registry.name("one:1")));
    engine.ok(format!(
        "push -q --platform linux/{} {}",
        foreign(),
        registry.name("one:1")
    ));
    let manifest: Value =
        serde_json::from_slice(&registry.manifest("one", "1").expect("pushed")).expect("JSON");
    assert_eq!(manifest["config"]["digest"], json!(images[1].id()));

    // Of three platforms two are here: the name stands for those.
    let (_, digest) = published(&registry);
    for architecture in [host(), foreign()] {
        engine.ok(format!("pull -q --platform linux/{architecture} {name}"));
    }
    engine.ok(format!("tag {name} {}", registry.name("part:1")));
    let pushed = engine.ok(format!("push {}", registry.name("part:1")));
    assert!(
        pushed.contains("Not everything that came with the image is here"),
        "{pushed}"
    );
    let index: Value =
        serde_json::from_slice(&registry.manifest("part", "1").expect("pushed")).expect("JSON");
    let platforms = index["manifests"].as_array().expect("manifests").iter();
    let platforms: BTreeSet<String> = platforms
        .map(|one| one["platform"]["architecture"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(platforms, set(&[host(), foreign()]));
    // Where the registry has the third, the index is pushed as it came.
    let pushed = engine.ok(format!("push {name}"));
    assert!(pushed.contains(&digest), "{pushed}");

    let fresh = TestEngine::start();
    let part = registry.name("part:1");
    fresh.ok(format!("pull -q --platform linux/{} {part}", foreign()));
    assert_eq!(architecture(&fresh, &part), foreign());
}

#[test]
fn archives_hold_all_platforms_or_one() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    published(&registry);
    let name = registry.name("app:1");
    for architecture in [host(), foreign()] {
        engine.ok(format!("pull -q --platform linux/{architecture} {name}"));
    }
    engine.ok(format!("tag {name} app:1"));
    let archive = engine.cmd("save app:1").run();
    assert_eq!(archive.code, 0, "{}", archive.err());
    let again = engine.cmd("save app:1").run();
    assert!(archive.stdout == again.stdout, "the same images, the same bytes");

    let fresh = TestEngine::start();
    let loaded = fresh.cmd("load").stdin(archive.stdout.clone()).ok();
    assert_eq!(loaded, "Loaded image: app:1");
    assert_eq!(
        listed(&fresh),
        [(vec!["app:1".to_owned()], set(&[host(), foreign()]))]
    );
    assert_eq!(architecture(&fresh, "app:1"), host());
    assert_eq!(
        fresh.ok(format!(
            "run --rm --platform linux/{} app:1 cat /the-platform",
            foreign()
        )),
        foreign()
    );

    // One of the archive, and one saved.
    fresh.ok("rmi app:1");
    assert_eq!(fresh.ok("images -aq"), "");
    let only = fresh.cmd(format!("load --platform linux/{}", foreign()));
    only.stdin(archive.stdout.clone()).ok();
    assert_eq!(architecture(&fresh, "app:1"), foreign());
    let missing = fresh
        .cmd("load --platform linux/riscv64")
        .stdin(archive.stdout)
        .run();
    let said = missing.fails(1);
    assert!(said.contains("linux/riscv64"), "{said}");
    let one = engine
        .cmd(format!("save --platform linux/{} app:1", foreign()))
        .run();
    let mut layers = 0;
    for entry in tar::Archive::new(&one.stdout[..]).entries().expect("tar") {
        let mut bytes = Vec::new();
        entry.expect("entry").read_to_end(&mut bytes).expect("contents");
        layers += usize::from(bytes.windows(12).any(|window| window == b"the-platform"));
    }
    assert_eq!(layers, 1, "one platform's own layer");
}

#[test]
fn platforms_are_removed_and_come_back() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let (images, _) = published(&registry);
    let name = registry.name("app:1");
    let pull = || {
        for architecture in [host(), foreign()] {
            engine.ok(format!("pull -q --platform linux/{architecture} {name}"));
        }
    };
    pull();
    let both = [(vec![name.clone()], set(&[host(), foreign(), "-s390x"]))];

    // The one the name stands for goes, and the name stands for the other.
    engine.ok(format!("rmi --keep --platform linux/{} {name}", host()));
    assert_eq!(architecture(&engine, &name), foreign());
    engine.ok("undo");
    assert_eq!(listed(&engine), both);
    assert_eq!(architecture(&engine, &name), host());
    // The other.
    let removed = engine.ok(format!("rmi --keep --platform linux/{} {name}", foreign()));
    assert!(
        removed.contains(&format!("Deleted: {}", images[0].id())),
        "{removed}"
    );
    assert_eq!(
        listed(&engine),
        [(
            vec![name.clone()],
            set(&[host(), "-s390x", &format!("-{}", foreign())])
        )]
    );
    engine.ok("undo");
    assert_eq!(listed(&engine), both);

    // A container keeps its platform; all of the name goes together.
    engine.ok(format!(
        "create --name user --platform linux/{} {name}",
        foreign()
    ));
    let refused = engine.run(format!("rmi {name}")).fails(1);
    assert!(refused.contains("is using its referenced image"), "{refused}");
    let refused = engine
        .run(format!("rmi --platform linux/{} {name}", foreign()))
        .fails(1);
    assert!(refused.contains("stopped container"), "{refused}");
    assert_eq!(engine.ok("image prune -af"), "Total reclaimed space: 0B");
    assert_eq!(listed(&engine), both);
    engine.ok("rm user");
    let plan = engine.ok(format!("rmi --dry-run --format json {name}"));
    for image in &images[..2] {
        assert!(plan.contains(&image.id()), "{plan}");
    }
    engine.ok(format!("rmi --keep {name}"));
    assert_eq!(engine.ok("images -aq"), "");
    engine.ok("undo");
    assert_eq!(listed(&engine), both);
    assert_eq!(architecture(&engine, &name), host());

    // By its ID, and by a prune.
    engine.ok(format!("rmi {}", images[1].id()));
    assert_eq!(engine.ok("images -aq"), "");
    engine.ok("undo --forget --force");
    pull();
    engine.ok("image prune -af");
    assert_eq!(engine.ok("images -aq"), "");
    let checked = engine.ok("system check");
    assert!(!checked.contains("damaged"), "{checked}");
}

#[test]
fn built_for_several_platforms() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    registry.publish_index("base", "1", &images(&[host(), foreign()]));
    let dir = tempfile::tempdir().expect("a directory");
    let dockerfile = format!(
        "FROM {}\nARG TARGETARCH\nRUN echo built for $TARGETARCH > /built\nCMD [\"cat\", \"/built\", \"/the-platform\"]\n",
        registry.name("base:1")
    );
    fs_err::write(dir.path().join("Dockerfile"), dockerfile).expect("Dockerfile");
    let path = dir.path().display();
    let (name, second) = (registry.name("app:1"), registry.name("other:2"));
    let both = format!("--platform linux/{},linux/{}", host(), foreign());
    engine.ok(format!("buildx build {both} -t {name} -t {second} --push {path}"));
    for (architecture, name) in [(host(), &name), (foreign(), &name), (foreign(), &second)] {
        let said = engine.ok(format!("run --rm --platform linux/{architecture} {name}"));
        assert_eq!(said, format!("built for {architecture}\n{architecture}"));
    }
    let index: Value = serde_json::from_slice(&registry.manifest("app", "1").expect("pushed")).expect("JSON");
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(2));

    // Once more from the cache: the same images, and nothing is pushed a second time.
    let before = engine.inspect(&second)["Id"].clone();
    engine.ok(format!("build {both} -t app:3 {path}"));
    assert_eq!(engine.inspect("app:3")["Id"], before);

    for (arguments, reason) in [
        (format!("{both} {path}"), "need a name"),
        (
            format!("{both} -t app:4 -o type=local,dest=out {path}"),
            "one platform",
        ),
        (format!("{both} -t app:4 -"), "standard input"),
    ] {
        let said = engine.run(format!("buildx build {arguments}")).fails(1);
        assert!(said.contains(reason), "{said}");
    }
    // A base that is there for one platform only.
    registry.publish(
        "lone",
        "1",
        &images(&[host()])[0],
        havre_testing::Compression::Gzip,
    );
    fs_err::write(
        dir.path().join("Dockerfile"),
        format!("FROM {}\n", registry.name("lone:1")),
    )
    .expect("Dockerfile");
    let said = engine.run(format!("build {both} -t app:5 {path}")).fails(1);
    assert!(
        said.contains("both for linux/") || said.contains("platform"),
        "{said}"
    );
    assert!(!engine.ok("images --format {{.Tag}}").contains('5'));
}

#[test]
fn attestations_are_kept_and_pushed_with_their_image() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let image = &images(&[host()])[0];
    registry.publish_index("plain", "1", std::slice::from_ref(image));
    let index: Value =
        serde_json::from_slice(&registry.manifest("plain", "1").expect("an index")).expect("JSON");
    let subject = index["manifests"][0].clone();
    let manifest = registry
        .manifest("plain", subject["digest"].as_str().expect("a digest"))
        .expect("a manifest");
    let parsed: Value = serde_json::from_slice(&manifest).expect("JSON");
    let blobs = parsed["layers"]
        .as_array()
        .expect("layers")
        .iter()
        .chain([&parsed["config"]]);
    let blobs: Vec<Vec<u8>> = blobs
        .map(|blob| {
            registry
                .blob(blob["digest"].as_str().expect("a digest"))
                .expect("a blob")
        })
        .collect();
    registry.put_blobs("app", blobs);
    registry.put_manifest(
        "app",
        subject["digest"].as_str().expect("a digest"),
        "application/vnd.oci.image.manifest.v1+json",
        manifest,
    );

    // As BuildKit writes them: a manifest of a platform that isn't one, with a statement for a layer.
    let (statement, config) = (
        br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#.to_vec(),
        b"{}".to_vec(),
    );
    let blob = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": digest_of(bytes), "size": bytes.len()});
    let attestation = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", &config),
        "layers": [blob("application/vnd.in-toto+json", &statement)],
    }))
    .expect("JSON");
    let digest = digest_of(&attestation);
    registry.put_blobs("app", [statement.clone(), config]);
    registry.put_manifest(
        "app",
        &digest,
        "application/vnd.oci.image.manifest.v1+json",
        attestation.clone(),
    );
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [subject, {
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": attestation.len(),
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": index["manifests"][0]["digest"],
            },
        }],
    });
    let index = serde_json::to_vec(&index).expect("JSON");
    registry.put_manifest(
        "app",
        "1",
        "application/vnd.oci.image.index.v1+json",
        index.clone(),
    );

    let name = registry.name("app:1");
    engine.ok(format!("pull -q {name}"));
    assert_eq!(
        listed(&engine),
        [(vec![name.clone()], set(&[host(), "attestation"]))]
    );
    assert!(!engine.ok("images --tree").contains("unknown"));
    // Kept: a collection leaves them, the index is pushed as it came, and the statement with it.
    engine.ok("image prune -f");
    engine.ok(format!("tag {name} {}", registry.name("other:1")));
    let pushed = engine.ok(format!("push {}", registry.name("other:1")));
    assert!(pushed.contains(&digest_of(&index)), "{pushed}");
    assert_eq!(registry.manifest("other", "1"), Some(index));
    assert_eq!(registry.manifest("other", &digest), Some(attestation));
    // They go with their image and come back with it.
    engine.ok("rmi --keep -f $(images)".replace("$(images)", &image.id()));
    engine.ok("undo");
    assert_eq!(
        listed(&engine)
            .into_iter()
            .map(|(_, platforms)| platforms)
            .collect::<Vec<_>>(),
        [set(&[host(), "attestation"])]
    );
    engine.ok(format!("rmi -f {}", image.id()));
    let checked = engine.ok("system check");
    assert!(
        !checked.contains("damaged") && !checked.contains("missing"),
        "{checked}"
    );
    assert!(registry.blob(&digest_of(&statement)).is_some());
}
