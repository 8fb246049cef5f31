//! Images end to end: pull, push, tag, list, inspect, history, rmi, archives. Needs root.

mod archives;
mod artifacts;
mod builders;
mod explore;
mod logins;
mod manifests;
mod platforms;
mod registries;
mod remote;
mod selection;
mod tag_history;

use fs_err as fs;
use havre_testing::{
    Action, Auth, Compression, Image, Layer, Registry, TestEngine, digest_of, eventually, two_architectures,
};
use serde_json::{Value, json};

fn repositories(engine: &TestEngine) -> Vec<String> {
    let mut names: Vec<_> = engine
        .ok(["images", "--format", "{{.Repository}}:{{.Tag}}"])
        .lines()
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names
}

// ---- pull --------------------------------------------------------------------------------------------------------

#[test]
fn a_tag_is_pulled_and_said_so() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let digest = registry.publish("team/app", "v1", &Image::busybox(), Compression::Gzip);
    let name = registry.name("team/app:v1");
    let text = engine.ok(["pull", &name]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "v1: Pulling from team/app", "{text}");
    let tail = [
        format!("Digest: {digest}"),
        format!("Status: Downloaded newer image for {name}"),
        name.clone(),
    ];
    assert_eq!(lines[lines.len() - 3..], tail, "{text}");
    assert!(text.contains("Pull complete"), "{text}");
    let again = engine.ok(["pull", &name]);
    assert!(
        again.contains(&format!("Status: Image is up to date for {name}")),
        "{again}"
    );
    assert_eq!(engine.ok(["pull", "-q", &name]), name);
    assert_eq!(engine.ok(["run", "--rm", &name, "echo", "runs"]), "runs");
    assert_eq!(
        engine.inspect(&name)["RepoDigests"],
        json!([format!("{}@{digest}", registry.name("team/app"))])
    );
}

#[test]
fn a_digest_is_pulled() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let digest = registry.publish("app", "v1", &Image::busybox(), Compression::Gzip);
    let name = registry.name(&format!("app@{digest}"));
    engine.ok(["pull", &name]);
    assert_eq!(engine.ok(["run", "--rm", &name, "echo", "runs"]), "runs");
    let line = engine.ok([
        "images",
        "--digests",
        "--format",
        "{{.Repository}} {{.Tag}} {{.Digest}}",
    ]);
    assert_eq!(line, format!("{} <none> {digest}", registry.name("app")));
}

#[test]
fn every_kind_of_manifest_and_layer() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let image = Image::busybox().with_layer(&Layer::new().file("which", "this"));
    registry.publish_docker("docker", "latest", &image);
    registry.publish("gzip", "latest", &image, Compression::Gzip);
    let mut kinds = vec!["docker", "gzip"];
    // dockerd before 23 knows neither.
    if !TestEngine::is_dockerd() {
        registry.publish("zstd", "latest", &image, Compression::Zstd);
        registry.publish("plain", "latest", &image, Compression::None);
        kinds.extend(["zstd", "plain"]);
    }
    let mut ids = Vec::new();
    for kind in kinds {
        let name = registry.name(kind);
        engine.ok(["pull", "-q", &name]);
        assert_eq!(
            engine.ok(["run", "--rm", &name, "cat", "/which"]),
            "this",
            "{kind}"
        );
        ids.push(engine.inspect(&name)["Id"].clone());
    }
    ids.dedup();
    assert_eq!(ids, [image.id()], "one image, however it travelled");
}

#[test]
fn an_index_is_chosen_from() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let images = two_architectures();
    let digest = registry.publish_index("multi", "latest", &images);
    let name = registry.name("multi:latest");
    let text = engine.ok(["pull", &name]);
    assert!(
        text.contains(&format!("Digest: {digest}")),
        "the index's own digest: {text}"
    );
    assert_eq!(engine.inspect(&name)["Id"], images[0].id());
    engine.ok([
        "pull",
        "--platform",
        &format!("linux/{}", images[1].architecture),
        &name,
    ]);
    // The name goes on to stand for the host's, as it has that.
    assert_eq!(engine.inspect(&name)["Id"], images[0].id());
    let platform = format!("--platform=linux/{}", images[1].architecture);
    let id = engine.ok(["image", "inspect", &platform, "--format", "{{.Id}}", &name]);
    assert_eq!(id, images[1].id());
    let missing = engine.fails(1, ["pull", "--platform", "linux/s390x", &name]);
    assert!(
        missing.contains("no matching manifest for linux/s390x in the manifest list entries"),
        "{missing}"
    );
}

#[test]
fn all_tags_are_pulled() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    registry.publish("app", "one", &Image::busybox(), Compression::Gzip);
    registry.publish(
        "app",
        "two",
        &Image::busybox().with_layer(&Layer::new().file("x", "y")),
        Compression::Gzip,
    );
    engine.ok(["pull", "-a", &registry.name("app")]);
    assert_eq!(
        repositories(&engine),
        [registry.name("app:one"), registry.name("app:two")]
    );
}

#[test]
fn a_layer_that_is_here_is_not_fetched_again() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let base = Image::busybox();
    registry.publish("base", "latest", &base, Compression::Gzip);
    registry.publish(
        "more",
        "latest",
        &base.clone().with_layer(&Layer::new().file("x", "y")),
        Compression::Gzip,
    );
    engine.ok(["pull", &registry.name("base")]);
    let shared = digest_of(&Compression::Gzip.compress(&base.layers[0]));
    assert_eq!(registry.seen("GET", &shared).len(), 1);
    let text = engine.ok(["pull", &registry.name("more")]);
    assert!(text.contains("Already exists"), "{text}");
    assert_eq!(registry.seen("GET", &shared).len(), 1);
}

#[test]
fn run_pulls_what_is_missing() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let name = registry.busybox();
    let output = engine.run(["run", "--rm", &name, "echo", "hello"]);
    assert_eq!((output.code, output.out().as_str()), (0, "hello"), "{output}");
    assert!(
        output
            .err()
            .starts_with(&format!("Unable to find image '{name}' locally\n")),
        "{output}"
    );
    assert!(
        output.err().contains("Status: Downloaded newer image for"),
        "{output}"
    );
    let manifests = registry.seen("GET", "/manifests/").len() + registry.seen("HEAD", "/manifests/").len();
    engine.ok(["run", "--rm", &name, "true"]);
    let after = registry.seen("GET", "/manifests/").len() + registry.seen("HEAD", "/manifests/").len();
    assert_eq!(manifests, after, "what is here is not asked for");
    engine.ok(["run", "--rm", "--pull", "always", &name, "true"]);
    let never = engine.fails(
        125,
        ["run", "--rm", "--pull", "never", &registry.name("other"), "true"],
    );
    assert!(never.contains("No such image"), "{never}");
}

#[test]
fn strangers_log_in() {
    for token in [false, true] {
        let (engine, registry) = (TestEngine::start(), Registry::start());
        let name = registry.busybox();
        let (user, password) = ("someone".to_owned(), "s3cret".to_owned());
        registry.require(if token {
            Auth::Token { user, password }
        } else {
            Auth::Basic { user, password }
        });
        let refused = engine.fails(1, ["pull", &name]);
        assert!(
            refused.contains("no basic auth credentials")
                || refused.contains("unauthorized")
                || refused.contains("denied"),
            "{refused}"
        );
        let host = registry.host();
        let wrong = engine
            .cmd(["login", "-u", "someone", "--password-stdin", &host])
            .stdin("wrong")
            .run();
        assert!(wrong.clone().fails(1).contains("nauthorized"), "{wrong}");
        let welcome = engine
            .cmd(["login", "-u", "someone", "--password-stdin", &host])
            .stdin("s3cret\n")
            .ok();
        assert!(welcome.contains("Login Succeeded"), "{welcome}");
        engine.ok(["pull", &name]);
        let file = engine.client_dir().join("config.json");
        let config: Value = serde_json::from_slice(&fs::read(&file).expect("config.json")).expect("JSON");
        assert!(config["auths"][&host].is_object(), "{config}");
        engine.ok(["logout", &host]);
        let config: Value = serde_json::from_slice(&fs::read(&file).expect("config.json")).expect("JSON");
        assert!(config["auths"].get(&host).is_none(), "{config}");
        engine.fails(1, ["pull", &name]);
    }
}

#[test]
fn a_cut_download_is_resumed() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let image = Image::busybox().with_layer(&Layer::noise(0, 4 << 20));
    registry.publish("app", "latest", &image, Compression::Gzip);
    let layer = digest_of(&Compression::Gzip.compress(&image.layers[1]));
    registry.fail("GET", &layer, Some(2), Action::CutAfter(1 << 20));
    engine.ok(["pull", &registry.name("app")]);
    let requests = registry.seen("GET", &layer);
    assert_eq!(requests.len(), 3);
    let ranges: Vec<_> = requests
        .iter()
        .filter_map(|request| request.header("range"))
        .collect();
    assert_eq!(
        ranges.len(),
        2,
        "the rest is asked for, not the whole: {ranges:?}"
    );
    assert_eq!(
        engine.ok(["run", "--rm", &registry.name("app"), "sh", "-c", "wc -c < /noise"]),
        (4 << 20).to_string()
    );
}

#[test]
fn mirrors_and_redirected_endpoints() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (mirror, hub) = (Registry::start(), Registry::start());
    mirror.publish("library/app", "latest", &Image::busybox(), Compression::Gzip);
    hub.publish("library/other", "latest", &Image::busybox(), Compression::Gzip);
    let engine = TestEngine::with_config(&format!(
        "[registry.\"docker.io\"]\nendpoint = \"http://{}\"\nmirrors = [\"http://{}\"]\n",
        hub.host(),
        mirror.host()
    ));
    engine.ok("pull app");
    assert!(hub.seen("GET", "/manifests/").is_empty(), "the mirror has it");
    engine.ok("pull other");
    assert_eq!(repositories(&engine), ["app:latest", "other:latest"]);
    engine.ok("tag app someone/pushed");
    engine.ok("push someone/pushed");
    assert!(
        hub.manifest("someone/pushed", "latest").is_some(),
        "pushes go to the endpoint"
    );
    assert!(
        mirror.manifest("someone/pushed", "latest").is_none(),
        "and never to a mirror"
    );
}

// ---- push --------------------------------------------------------------------------------------------------------

#[test]
fn pushed_removed_and_pulled_back() {
    let (engine, registry) = (TestEngine::with_busybox(), Registry::start());
    let name = registry.name("team/app:v1");
    engine.ok(["tag", "busybox", &name]);
    let text = engine.ok(["push", &name]);
    assert!(
        text.starts_with(&format!(
            "The push refers to repository [{}]",
            registry.name("team/app")
        )),
        "{text}"
    );
    let manifest = registry.manifest("team/app", "v1").expect("pushed");
    let last = text.lines().last().unwrap_or_default();
    assert_eq!(
        last,
        format!("v1: digest: {} size: {}", digest_of(&manifest), manifest.len())
    );
    assert!(text.contains(": Pushed"), "{text}");
    let again = engine.ok(["push", &name]);
    assert!(again.contains(": Layer already exists"), "{again}");
    let other = registry.name("team/other:v1");
    engine.ok(["tag", "busybox", &other]);
    let mounted = engine.ok(["push", &other]);
    assert!(mounted.contains(": Mounted from team/app"), "{mounted}");

    let id = engine.inspect("busybox")["Id"].clone();
    engine.ok(["rmi", "-f", "busybox", &name, &other]);
    assert_eq!(engine.ok("images -q"), "");
    engine.ok(["pull", &name]);
    assert_eq!(engine.inspect(&name)["Id"], id, "the same image comes back");
    assert_eq!(engine.ok(["run", "--rm", &name, "echo", "back"]), "back");
}

#[test]
fn what_was_pulled_is_pushed_unchanged() {
    let (engine, from, to) = (TestEngine::start(), Registry::start(), Registry::start());
    let digest = from.publish("app", "latest", &Image::busybox(), Compression::Gzip);
    engine.ok(["pull", &from.name("app")]);
    engine.ok(["tag", &from.name("app"), &to.name("copy")]);
    let text = engine.ok(["push", &to.name("copy")]);
    // dockerd with its classic store writes a new manifest.
    assert!(TestEngine::is_dockerd() || text.contains(&digest), "{text}");
    assert_eq!(
        engine.ok(["push", "-q", &to.name("copy")]),
        to.name("copy:latest")
    );
}

#[test]
fn a_push_that_cannot_be() {
    let (engine, registry) = (TestEngine::with_busybox(), Registry::start());
    let unknown = engine.fails(1, ["push", &registry.name("nosuch")]);
    assert!(
        unknown.contains(&format!(
            "An image does not exist locally with the tag: {}",
            registry.name("nosuch")
        )),
        "{unknown}"
    );
    registry.fail(
        "POST",
        "/blobs/uploads/",
        None,
        Action::error(403, "DENIED", "requested access to the resource is denied"),
    );
    engine.ok(["tag", "busybox", &registry.name("app")]);
    let denied = engine.fails(1, ["push", &registry.name("app")]);
    assert!(denied.contains("denied"), "{denied}");
}

// ---- names -------------------------------------------------------------------------------------------------------

#[test]
fn tags_come_and_go() {
    let engine = TestEngine::with_busybox();
    engine.ok("tag busybox other:v2");
    engine.ok("tag busybox registry.example:5000/deep/path/name:tag");
    assert_eq!(
        repositories(&engine),
        [
            "busybox:latest",
            "other:v2",
            "registry.example:5000/deep/path/name:tag"
        ]
    );
    let ids = engine.ok("images -q");
    assert_eq!(ids.lines().count(), 3);
    assert_eq!(
        ids.lines().collect::<std::collections::BTreeSet<_>>().len(),
        1,
        "{ids}"
    );
    assert_eq!(engine.ok("rmi other:v2"), "Untagged: other:v2");
    engine.ok("rmi registry.example:5000/deep/path/name:tag");
    let id = engine.inspect("busybox")["Id"].as_str().expect("id").to_owned();
    let last = engine.ok("rmi busybox");
    assert!(
        last.starts_with(&format!(
            "Untagged: busybox:latest\nDeleted: {id}\nDeleted: sha256:"
        )),
        "{last}"
    );
    assert_eq!(engine.ok("images -q"), "");
    let unknown = engine.fails(1, "rmi busybox");
    assert!(unknown.contains("No such image: busybox"), "{unknown}");
    let unknown = engine.fails(1, "tag busybox x");
    assert!(unknown.contains("No such image: busybox"), "{unknown}");
}

#[test]
fn a_tag_moves_and_leaves_a_dangling_image() {
    let engine = TestEngine::with_busybox();
    let old = engine.inspect("busybox")["Id"].as_str().expect("id").to_owned();
    engine.load(
        &Image::busybox().with_layer(&Layer::new().file("x", "y")),
        "busybox:latest",
    );
    assert_eq!(engine.ok("images --no-trunc -q --filter dangling=true"), old);
    assert_eq!(
        engine.ok([
            "images",
            "--filter",
            "dangling=true",
            "--format",
            "{{.Repository}}:{{.Tag}}"
        ]),
        "<none>:<none>"
    );
    let pruned = engine.ok("image prune -f");
    assert!(
        pruned.contains(&format!("deleted: {old}")) && pruned.contains("Total reclaimed space: "),
        "{pruned}"
    );
    assert_eq!(engine.ok("images -q").lines().count(), 1);
}

#[test]
fn an_image_in_use_stays() {
    let engine = TestEngine::with_busybox();
    let container = engine.ok("create --name user busybox");
    let id = engine.inspect("busybox")["Id"].as_str().expect("id").to_owned();
    let refused = engine.fails(1, "rmi busybox");
    let expected = format!(
        "conflict: unable to remove repository reference \"busybox\" (must force) - container {} is using its referenced image {}",
        &container[..12],
        &id[7..19]
    );
    assert!(refused.contains(&expected), "{refused}");
    engine.ok("tag busybox second");
    let refused = engine.fails(1, ["rmi", &id[7..19]]);
    assert!(
        refused.contains("must be forced")
            && refused.contains("image is referenced in multiple repositories"),
        "{refused}"
    );
    assert_eq!(engine.ok("rmi second"), "Untagged: second:latest");
    let forced = engine.ok("rmi -f busybox");
    assert!(
        forced.starts_with(&format!("Untagged: busybox:latest\nDeleted: {id}")),
        "{forced}"
    );
    assert_eq!(engine.ok("images -q"), "");
    engine.ok("start -a user");
    engine.ok("rm user");
}

#[test]
fn ids_are_found_by_their_beginning() {
    let engine = TestEngine::with_busybox();
    let id = engine.inspect("busybox")["Id"].as_str().expect("id").to_owned();
    for name in [&id[..], &id[7..], &id[7..19], &id[7..11]] {
        assert_eq!(engine.inspect(name)["Id"], id, "{name}");
    }
    assert_eq!(engine.ok(["run", "--rm", &id[7..19], "echo", "by id"]), "by id");
    // Enough images that two begin with the same digit.
    for at in 0..17 {
        engine.load(
            &Image::from_layers([Layer::new().file("n", at.to_string())]),
            &format!("n{at}:latest"),
        );
    }
    let ids = engine.ok("images -q --no-trunc");
    let mut firsts: Vec<_> = ids.lines().map(|id| id[7..8].to_owned()).collect();
    firsts.sort_unstable();
    let twice = firsts
        .windows(2)
        .find(|pair| pair[0] == pair[1])
        .expect("seventeen of sixteen")[0]
        .clone();
    let ambiguous = engine.run(["image", "inspect", &twice]);
    assert_eq!(ambiguous.code, 1, "{ambiguous}");
}

#[test]
fn images_are_listed_and_filtered() {
    let (engine, registry) = (TestEngine::with_busybox(), Registry::start());
    engine.load(
        &Image::from_layers([Layer::new().file("x", "y")]).with_config("Labels", json!({"tier": "web"})),
        "web:v1",
    );
    engine.load(
        &Image::from_layers([Layer::new().file("x", "z")]),
        &registry.name("web:v2"),
    );
    let list = |flags: &str| {
        engine.ok(format!(
            "images --format {{{{.Repository}}}}:{{{{.Tag}}}} {flags}"
        ))
    };
    assert_eq!(list("web"), "web:v1");
    assert_eq!(list("web:v2"), "");
    assert_eq!(list("--filter label=tier=web"), "web:v1");
    assert_eq!(list("--filter reference=*b*:latest"), "busybox:latest");
    assert_eq!(
        list(&format!("--filter reference={}:*", registry.name("web"))),
        registry.name("web:v2")
    );
    assert_eq!(
        list("--filter before=busybox").lines().count(),
        list("--filter before=busybox").lines().count()
    );
    let table = engine.ok("images");
    assert!(table.starts_with("REPOSITORY "), "{table}");
    let bad = engine.fails(1, "images --filter nosuch=1");
    assert!(bad.to_lowercase().contains("invalid filter"), "{bad}");
    let count: Value =
        serde_json::from_slice(&engine.api("GET", "/images/json").expect("answer").body).expect("JSON");
    assert_eq!(count.as_array().map(Vec::len), Some(3));
}

#[test]
fn inspect_and_history() {
    let engine = TestEngine::start();
    let image = Image::busybox()
        .with_layer(&Layer::new().file("x", "y"))
        .with_config("Labels", json!({"a": "b"}))
        .with_config("ExposedPorts", json!({"80/tcp": {}}));
    engine.load(&image, "app:v1");
    let all = engine.inspect("app:v1");
    let diff_ids: Vec<_> = image.layers.iter().map(|layer| digest_of(layer)).collect();
    for (pointer, expected) in [
        ("/Id", json!(image.id())),
        ("/RepoTags", json!(["app:v1"])),
        ("/Architecture", json!(image.architecture)),
        ("/Os", json!("linux")),
        ("/Config/Cmd", json!(["/bin/sh"])),
        ("/Config/Labels/a", json!("b")),
        ("/Config/ExposedPorts", json!({"80/tcp": {}})),
        ("/RootFS/Layers", json!(diff_ids)),
        ("/RootFS/Type", json!("layers")),
    ] {
        assert_eq!(all.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert!(
        all["Created"]
            .as_str()
            .is_some_and(|time| time.starts_with("2024-01-01T00:00:00")),
        "{}",
        all["Created"]
    );
    assert_eq!(engine.ok(["inspect", "-f", "{{.Id}}", "app:v1"]), image.id());
    let history = engine.ok(["history", "--format", "{{.CreatedBy}} {{.Size}}", "app:v1"]);
    let lines: Vec<_> = history.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "layer 1 1B"), "{history}");
    assert!(
        lines[1].starts_with("layer 0 ") && lines[1].ends_with("MB"),
        "{history}"
    );
    let ids = engine.ok("history -q --no-trunc app:v1");
    assert_eq!(ids.lines().collect::<Vec<_>>(), [&image.id(), "<missing>"]);
}

#[test]
fn disk_usage_and_prune() {
    let engine = TestEngine::with_busybox();
    engine.ok("run --name used busybox true");
    engine.ok("volume create lonely");
    let usage = engine.ok([
        "system",
        "df",
        "--format",
        "{{.Type}} {{.TotalCount}} {{.Active}}",
    ]);
    assert!(
        usage.starts_with("Images 1 1\nContainers 1 0\nLocal Volumes 1 0"),
        "{usage}"
    );
    let pruned = engine.ok("container prune -f");
    assert!(
        pruned.starts_with("Deleted Containers:\n") && pruned.contains("Total reclaimed space: "),
        "{pruned}"
    );
    let pruned = engine.ok("image prune -a -f");
    assert!(pruned.contains("untagged: busybox:latest"), "{pruned}");
    assert_eq!(engine.ok("images -q") + &engine.ok("ps -aq"), "");
}

/// What `du` says of the store's layers and blobs.
fn on_disk(engine: &TestEngine) -> f64 {
    let mut command = std::process::Command::new("du");
    command.args(["-xs", "--block-size=1"]);
    let output = command
        .arg(engine.root().join("layers"))
        .arg(engine.root().join("content"))
        .output();
    let output = output.expect("du");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        .sum()
}

#[test]
fn disk_usage_counts_kept_compressed_layers_and_gives_them_up() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_config("[storage]\nkeep-compressed = \"always\"\n");
    let registry = Registry::start();
    let image = Image::from_layers([Layer::noise(0, 3 << 20)]);
    registry.publish("app", "v1", &image, Compression::Gzip);
    let name = registry.name("app:v1");
    engine.ok(["pull", &name]);
    engine.ok(["create", "--name", "box", &name, "x"]);
    let usage = || engine.api("GET", "/system/df").expect("answer").json();
    let before = usage();
    let number = |usage: &Value, key: &str| usage[key].as_f64().expect("a number");
    let compressed = number(&before, "CompressedSize");
    assert!(compressed > 1_000_000.0, "{before}");
    let sizes = |usage: &Value| number(usage, "LayersSize");
    let told = sizes(&before) / on_disk(&engine);
    assert!((0.9..1.1).contains(&told), "{told}: {before}");
    // The image is in use: what can be had again is all that comes back.
    assert_eq!(before["ImageUsage"]["Reclaimable"].as_f64(), Some(compressed));
    let table = engine.ok(["system", "df", "--format", "{{.Type}} {{.Reclaimable}}"]);
    assert!(!table.starts_with("Images 0B"), "{table}");
    let verbose = engine.ok("system df -v");
    assert!(
        verbose.contains("Compressed layers kept beside them"),
        "{verbose}"
    );

    let pruned = engine.ok("image prune -a -f");
    assert!(!pruned.contains("reclaimed space: 0B"), "{pruned}");
    let after = usage();
    assert_eq!(number(&after, "CompressedSize"), 0.0);
    assert_eq!(sizes(&after), sizes(&before) - compressed);
    assert_eq!(engine.ok(["images", "-q"]).lines().count(), 1, "the image stays");
    eventually("the space is back", || {
        let told = sizes(&after) / on_disk(&engine);
        (0.9..1.1).contains(&told)
    });
}
