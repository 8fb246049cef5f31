//! What can be done where images lie: tags, copy, retag, referrers; what a pull would bring, what is outdated, lock.

use fs_err as fs;
use havre_testing::{
    Auth, Compression, DockerRegistry, Image, Layer, Registry, TestEngine, digest_of, two_architectures,
};
use serde_json::{Value, json};

/// The names a table's first column holds.
fn first_column(table: &str) -> Vec<&str> {
    let words = |line: &'_ str| line.split_whitespace().next().map(str::len);
    table
        .lines()
        .skip(1)
        .filter_map(|line| words(line).map(|length| &line[..length]))
        .collect()
}

#[test]
fn tags_are_listed_the_newest_version_first() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    for tag in ["latest", "1.9", "1.10", "1.10-rc1", "v1.2", "1.9-alpine"] {
        registry.publish("team/app", tag, &Image::busybox(), Compression::Gzip);
    }
    registry.publish_index("team/app", "2", &two_architectures());
    let name = registry.name("team/app");
    let table = engine.ok(["image", "tags", &name]);
    assert_eq!(
        first_column(&table),
        ["2", "1.10", "1.10-rc1", "1.9", "1.9-alpine", "v1.2", "latest"],
        "{table}"
    );
    let two = table.lines().nth(1).expect("a row");
    assert!(
        two.contains("linux/amd64") && two.contains("linux/arm64"),
        "{table}"
    );

    // Names alone are one request.
    let before = registry.seen("GET", "/manifests/").len();
    assert_eq!(
        engine.ok(["image", "tags", "-q", "--filter", "1.9*", &name]),
        "1.9\n1.9-alpine"
    );
    assert_eq!(registry.seen("GET", "/manifests/").len(), before);
    let page = engine.ok(["image", "tags", "-q", "-n", "2", "--skip", "1", &name]);
    assert_eq!(page, "1.10\n1.10-rc1");
    let json = engine.ok([
        "image",
        "tags",
        "--format",
        "json",
        "-n",
        "1",
        "--no-trunc",
        &name,
    ]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert!(
        json["Digest"]
            .as_str()
            .is_some_and(|digest| digest.starts_with("sha256:")),
        "{json}"
    );

    for (words, reason) in [
        (vec!["image", "tags", "-n", "-1", &name], "cannot be negative"),
        (vec!["image", "tags", "--filter", "[", &name], "invalid pattern"),
        (vec!["image", "tags", &format!("{name}:1.9")], "names one image"),
    ] {
        let error = engine.cmd(words.as_slice()).run().fails(1);
        assert!(error.contains(reason), "{words:?}: {error}");
    }
    let error = engine.fails(1, ["image", "tags", &registry.name("nobody/here")]);
    assert!(error.contains("nobody/here"), "{error}");
}

#[test]
fn an_image_is_copied_with_all_its_platforms_and_what_refers_to_it() {
    let (engine, from, to) = (TestEngine::start(), Registry::start(), Registry::start());
    let index = from.publish_index("app", "1", &two_architectures());
    // A signature of the index, under the tag of registries that list no referrers.
    from.put_blobs("app", [b"{}".to_vec()]);
    let empty =
        json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2});
    let size = from.manifest("app", "1").expect("the index").len();
    let signature = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example.signature",
        "config": empty,
        "layers": [empty],
        "subject": {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": index, "size": size},
        "annotations": {"by": "me"},
    });
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let bytes = signature.to_string().into_bytes();
    let digest = from.put_manifest("app", &digest_of(&bytes), kind, bytes.clone());
    let listed = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": kind, "digest": digest, "size": bytes.len(), "artifactType": "application/vnd.example.signature", "annotations": {"by": "me"}}],
    });
    let tag = index.replace(':', "-");
    from.put_manifest(
        "app",
        &tag,
        "application/vnd.oci.image.index.v1+json",
        listed.to_string().into(),
    );
    let shown = engine.ok(["image", "referrers", "--no-trunc", &from.name("app:1")]);
    assert!(
        shown.contains(&digest) && shown.contains("vnd.example.signature") && shown.contains("by=me"),
        "{shown}"
    );

    // Both ask who is there.
    to.require(Auth::Basic {
        user: "me".into(),
        password: "secret".into(),
    });
    let copy = |words: &[&str]| {
        let mut all = vec!["copy"];
        all.extend_from_slice(words);
        engine.cmd(all.as_slice()).run()
    };
    let refused = copy(&[&from.name("app:1"), &to.name("there/app:2")]).fails(1);
    assert!(refused.contains("no basic auth credentials"), "{refused}");
    engine.ok(["login", "-u", "me", "-p", "secret", &to.host()]);
    copy(&[&from.name("app:1"), &to.name("there/app:2")]).ok();
    assert_eq!(
        to.manifest("there/app", "2").map(|bytes| digest_of(&bytes)),
        Some(index.clone())
    );
    assert!(
        to.manifest("there/app", &digest).is_some(),
        "the signature came along"
    );
    let noted = to.manifest("there/app", &tag).expect("and is listed");
    let noted: Value = serde_json::from_slice(&noted).expect("JSON");
    assert_eq!(
        noted["manifests"][0]["artifactType"],
        "application/vnd.example.signature"
    );
    // Again: nothing is sent.
    let before = to.seen("POST", "/blobs/uploads/").len();
    assert!(
        copy(&[&from.name("app:1"), &to.name("there/app:2")])
            .ok()
            .contains("already exists")
    );
    assert_eq!(to.seen("POST", "/blobs/uploads/").len(), before);

    let [_, other] = two_architectures();
    let platform = format!("linux/{}", other.architecture);
    copy(&[
        "-q",
        "--no-referrers",
        "--platform",
        &platform,
        &from.name("app:1"),
        &to.name("one"),
    ])
    .ok();
    let one = to.manifest("one", "1").expect("with the tag of the source");
    let one: Value = serde_json::from_slice(&one).expect("JSON");
    assert!(one["layers"].is_array(), "{one}");
    let none = copy(&["--platform", "linux/s390x", &from.name("app:1"), &to.name("one")]).fails(1);
    assert!(none.contains("linux/s390x"), "{none}");

    engine.ok([
        "retag",
        &to.name("there/app:2"),
        "stable",
        &to.name("there/app:3"),
    ]);
    for tag in ["stable", "3"] {
        assert_eq!(
            to.manifest("there/app", tag).map(|bytes| digest_of(&bytes)),
            Some(index.clone())
        );
    }
    let error = engine.fails(1, ["retag", &to.name("there/app:2"), &to.name("elsewhere:1")]);
    assert!(error.contains("use 'copy'"), "{error}");
}

#[test]
fn a_registry_mounts_what_it_has_in_another_repository() {
    let (engine, registry) = (TestEngine::with_busybox(), DockerRegistry::open());
    let name = |rest: &str| format!("{}/{rest}", registry.host());
    engine.ok(["tag", "busybox", &name("one:1")]);
    engine.ok(["push", "-q", &name("one:1")]);
    let said = engine.ok(["copy", &name("one:1"), &name("two:1")]);
    assert!(said.contains("Mounted from one"), "{said}");
    engine.ok(["pull", "-q", &name("two:1")]);
    assert_eq!(
        engine.ok(["run", "--rm", &name("two:1"), "echo", "it runs"]),
        "it runs"
    );
}

#[test]
fn a_pull_can_be_looked_at_first_and_names_that_moved_are_listed() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    registry.publish("app", "1", &Image::busybox(), Compression::Gzip);
    let name = registry.name("app:1");
    let plan = engine.ok(["pull", "--dry-run", &name]);
    assert!(
        plan.contains("to download") && plan.contains("1 of 1 layers to download"),
        "{plan}"
    );
    assert_eq!(
        registry.seen("GET", "/blobs/").len(),
        1,
        "the configuration and no layer"
    );
    assert_eq!(engine.ok("images -aq"), "");
    engine.ok(["pull", "-q", &name]);
    assert!(
        engine
            .ok(["pull", "--dry-run", &name])
            .contains("Image is up to date")
    );
    assert_eq!(engine.ok(["pull", "--dry-run", "-q", &name]), "0B");

    assert_eq!(engine.ok("outdated -q"), "");
    let moved = Image::busybox().with_layer(&Layer::new().file("new", "new"));
    let digest = registry.publish("app", "1", &moved, Compression::Gzip);
    assert_eq!(engine.ok("outdated -q"), name);
    let table = engine.ok("outdated --no-trunc");
    assert!(
        table.contains(&digest) && table.contains("newer there"),
        "{table}"
    );
    let plan = engine.ok(["pull", "--dry-run", &name]);
    assert!(
        plan.contains("already here") && plan.contains("1 of 2 layers"),
        "{plan}"
    );
    engine.ok(["pull", "-q", &name]);
    assert_eq!(engine.ok("outdated -q"), "");
    assert!(engine.ok("outdated -a").contains("up to date"));
    let error = engine.fails(1, "outdated nothing:1");
    assert!(error.contains("nothing:1"), "{error}");
}

#[test]
fn files_are_pinned_to_digests_and_back() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let digest = registry.publish("app", "1", &Image::busybox(), Compression::Gzip);
    registry.publish("app", "latest", &Image::busybox(), Compression::Gzip);
    let name = registry.name("app:1");
    let dockerfile = format!("FROM {name} AS base\nFROM base\nCOPY --from={name} /a /a\nFROM scratch\n");
    let compose = format!("services:\n  web:\n    image: {} # web\n", registry.name("app"));
    let dir = engine.files(
        "project",
        &[("Dockerfile", &dockerfile), ("compose.yaml", &compose)],
    );
    let lock = |words: &str| engine.cmd(format!("lock {words}")).dir(&dir).run();
    let read = |file: &str| fs::read_to_string(dir.join(file)).expect("the file");

    let output = lock("--check");
    assert_eq!(output.code, 1, "{output}");
    assert!(
        output.out().contains("Dockerfile:1:") && output.out().contains("compose.yaml:3:"),
        "{output}"
    );
    lock("").ok();
    assert_eq!(
        read("Dockerfile"),
        format!("FROM {name}@{digest} AS base\nFROM base\nCOPY --from={name}@{digest} /a /a\nFROM scratch\n")
    );
    assert!(read("compose.yaml").contains(&format!("app:latest@{digest} # web")));
    lock("--check").ok();
    // What is pinned stays so, until it is asked for.
    let moved = registry.publish("app", "1", &two_architectures()[1], Compression::Gzip);
    lock("").ok();
    assert!(read("Dockerfile").contains(&digest));
    lock("--update Dockerfile").ok();
    assert!(read("Dockerfile").contains(&moved) && !read("Dockerfile").contains(&digest));
    lock("--unlock").ok();
    assert_eq!(read("Dockerfile"), dockerfile);

    // Nothing is written when one of them is not known.
    let unknown = format!("FROM {name}\nFROM {}\n", registry.name("nobody:1"));
    fs::write(dir.join("Dockerfile"), &unknown).expect("the file");
    lock("").fails(1);
    assert_eq!(read("Dockerfile"), unknown);
    fs::write(dir.join("Dockerfile"), "FROM app/CASE\n").expect("the file");
    let error = lock("Dockerfile").fails(1);
    assert!(error.contains("Dockerfile:1"), "{error}");
    assert!(lock("--check --unlock").fails(1).contains("conflicting options"));
}
