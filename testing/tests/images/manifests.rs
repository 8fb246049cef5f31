//! manifest create, annotate, inspect, push, rm: beside the official client, with which the lists are shared.

use havre_testing::{Compression, Image, Layer, Program, Registry, TestEngine, digest_of, two_architectures};
use serde_json::{Value, json};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_list_is_made_and_pushed_as_the_official_client_does() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let [own, other] = two_architectures();
    registry.publish_docker("app", "own", &own);
    registry.publish_docker("app", "other", &other);
    let mut pushed = Vec::new();
    for (program, tag) in [(Program::Docker, "theirs"), (Program::Havre, "ours")] {
        let run = |words: &str| {
            let words = words.replace("LIST", &registry.name(&format!("app:{tag}")));
            let words = words.replace("APP", &registry.name("app"));
            engine.cmd_of(program, words.as_str()).run()
        };
        let created = run("manifest create --insecure LIST APP:own APP:other");
        assert_eq!(
            created.ok(),
            format!("Created manifest list {}", registry.name(&format!("app:{tag}")))
        );
        let again = run("manifest create --insecure LIST APP:own").fails(1);
        assert!(
            again.contains("refusing to amend an existing manifest list with no --amend flag"),
            "{again}"
        );
        run("manifest create --insecure --amend LIST APP:own").ok();
        run("manifest annotate LIST APP:other --variant v8 --os-version 1 --os-features a,b").ok();
        let wrong = run("manifest annotate LIST APP:other --arch arm65").fails(1);
        assert!(
            wrong.contains("manifest entry for image has unsupported os/arch combination"),
            "{wrong}"
        );
        let index = parsed(&run("manifest inspect LIST").ok());
        let one = run("manifest inspect LIST APP:other").ok();
        let verbose = parsed(&run("manifest inspect -v LIST").ok());
        let said = run("manifest push --insecure LIST").ok();
        let mut lines: Vec<_> = said.lines().map(str::to_owned).collect();
        let stored = registry.manifest("app", tag).expect("pushed");
        // The same list, not the same bytes: Docker's are indented.
        assert_eq!(lines.pop(), Some(digest_of(&stored)), "{said}");
        assert_eq!(parsed(&String::from_utf8_lossy(&stored)), index);
        pushed.push((index, one, verbose, lines));
        run("manifest rm LIST").ok();
        let gone = run("manifest rm LIST").fails(1);
        assert!(gone.to_lowercase().contains("no such manifest"), "{gone}");
    }
    let [theirs, ours] = pushed.as_slice() else {
        unreachable!("two clients")
    };
    assert_eq!(ours, theirs);
    assert_eq!(ours.0["manifests"][0]["platform"]["variant"], "v8");

    // What is there is shown by both; this program leaves nothing out, so it is compared by meaning.
    let [theirs, ours] = [Program::Docker, Program::Havre].map(|program| {
        let list = engine.cmd_of(
            program,
            ["manifest", "inspect", "--insecure", &registry.name("app:ours")],
        );
        let one = engine.cmd_of(
            program,
            ["manifest", "inspect", "--insecure", &registry.name("app:own")],
        );
        (parsed(&list.ok()), one.ok())
    });
    assert_eq!(ours, theirs);
    // Pulled by the platform.
    engine.ok([
        "pull",
        "--platform",
        &format!("linux/{}", other.architecture),
        &registry.name("app:ours"),
    ]);
    assert_eq!(
        engine.inspect(&registry.name("app:ours"))["Architecture"],
        other.architecture
    );
}

#[test]
fn lists_of_one_client_are_the_others() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    for (at, image) in two_architectures().iter().enumerate() {
        registry.publish("app", &format!("v{at}"), image, Compression::Gzip);
    }
    let [list, one, two] = ["all:1", "app:v0", "app:v1"].map(|name| registry.name(name));
    engine
        .cmd_of(Program::Docker, ["manifest", "create", "--insecure", &list, &one])
        .ok();
    engine.ok(["manifest", "create", "--amend", &list, &two]);
    let [theirs, ours] = [Program::Docker, Program::Havre]
        .map(|program| parsed(&engine.cmd_of(program, ["manifest", "inspect", &list]).ok()));
    assert_eq!(ours, theirs);
    assert_eq!(ours["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(ours["manifests"].as_array().map(Vec::len), Some(2));
    // Another repository than the manifests': what they name is mounted, not sent.
    let pushed = engine.ok(["manifest", "push", "--purge", &list]);
    assert_eq!(pushed.matches("Pushed ref ").count(), 2, "{pushed}");
    assert!(registry.seen("PUT", "/blobs/").is_empty());
    engine.ok(["pull", &list]);
    assert_eq!(
        engine.inspect(&list)["RepoTags"],
        json!([list]),
        "the platform of this machine"
    );
    let gone = engine.fails(1, ["manifest", "push", &list]);
    assert_eq!(gone, format!("no such manifest: {list}"));
}

#[test]
fn what_cannot_be_a_list() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    registry.publish("app", "v1", &Image::busybox(), Compression::Gzip);
    registry.publish_index("many", "v1", &two_architectures());
    let [list, app, many] = ["list:1", "app:v1", "many:v1"].map(|name| registry.name(name));
    let index = engine.fails(1, ["manifest", "create", &list, &many]);
    assert_eq!(index, format!("{many} is a manifest list"));
    let missing = engine.fails(1, ["manifest", "create", &list, &app, &registry.name("nosuch:1")]);
    assert_eq!(
        missing,
        format!("no such manifest: {}", registry.name("nosuch:1"))
    );
    let nothing = engine.fails(1, ["manifest", "inspect", &list]);
    assert_eq!(
        nothing,
        format!("no such manifest: {list}"),
        "nothing is noted of a list that failed"
    );
    // Charts and the like run nowhere: their entry needs a platform.
    let layer = Layer::new().file("x", "y").tar();
    registry.put_blobs("chart", [b"{}".to_vec(), layer.clone()]);
    let chart = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.example.config+json", "digest": digest_of(b"{}"), "size": 2},
        "layers": [{"mediaType": "application/octet-stream", "digest": digest_of(&layer), "size": layer.len()}],
    });
    let kind = "application/vnd.oci.image.manifest.v1+json";
    registry.put_manifest("chart", "v1", kind, chart.to_string().into_bytes());
    let chart = registry.name("chart:v1");
    engine.ok(["manifest", "create", &list, &chart]);
    let refused = engine.fails(1, ["manifest", "push", &list]);
    assert!(
        refused.contains("must have an OS and Architecture to be pushed to a registry"),
        "{refused}"
    );
    engine.ok([
        "manifest", "annotate", &list, &chart, "--os", "linux", "--arch", "amd64",
    ]);
    // A damaged note is told, not pushed.
    let name = format!("manifests/{}", list.replace(':', "-").replace('/', "_"));
    let path = engine.client_dir().join(name);
    let file = fs_err::read_dir(&path)
        .expect("list")
        .next()
        .expect("one")
        .expect("entry")
        .path();
    let mut noted = parsed(&fs_err::read_to_string(&file).expect("note"));
    noted["Raw"] = json!("e30=");
    fs_err::write(&file, noted.to_string()).expect("note");
    let damaged = engine.fails(1, ["manifest", "inspect", &list, &chart]);
    assert_eq!(damaged, format!("the local manifest of {chart} is damaged"));
    // Two registries: where Docker refuses, what one lacks comes from the other.
    let other = Registry::start();
    other.publish("app", "v1", &Image::busybox(), Compression::Gzip);
    let list = registry.name("list:2");
    engine.ok(["manifest", "create", &list, &other.name("app:v1")]);
    engine.ok(["manifest", "push", &list]);
    engine.ok(["pull", "-q", &list]);
    assert_eq!(engine.ok(["run", "--rm", &list, "echo", "it runs"]), "it runs");
}
