//! Images from tool to tool: skopeo, podman, buildah and umoci of Debian, and its docker-registry. What one writes, the others
//! read, with the same files and the same configuration. Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use havre_testing::{Compression, DockerRegistry, Image, Layer, Registry, TestEngine};
use serde_json::Value;

/// Runs a program that must be installed and succeed; what it printed.
#[track_caller]
fn tool(program: &str, words: &[&str]) -> String {
    let output = Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{program} must be installed: {error}"));
    assert!(
        output.status.success(),
        "{program} {words:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// podman or buildah with a storage of its own.
struct Storage {
    program: &'static str,
    root: PathBuf,
}

impl Storage {
    fn new(program: &'static str, engine: &TestEngine) -> Self {
        let root = engine.dir().join(program);
        Self { program, root }
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> String {
        let (root, run) = (self.root.join("root"), self.root.join("run"));
        let (root, run) = (root.to_string_lossy(), run.to_string_lossy());
        let mut all = vec!["--root", &root, "--runroot", &run, "--storage-driver", "vfs"];
        all.extend_from_slice(words);
        tool(self.program, &all)
    }
}

/// Several layers with what archives are wrong about: links, removals, owners, modes, long names.
fn image() -> Image {
    let long = format!("data/{}", "n".repeat(180));
    let second = Layer::new()
        .dir("data/")
        .file_of("data/owned", "owned\n", 1234)
        .file_with_mode("data/setuid", "s\n", 0o4755)
        .file("data/removed", "gone\n")
        .hardlink("data/hard", "data/owned")
        .symlink("data/soft", "/data/owned")
        .file(&long, "long\n");
    let third = Layer::new().whiteout("data/removed").file("data/new", "new\n");
    Image::busybox()
        .with_layer(&second)
        .with_layer(&third)
        .with_config("Env", serde_json::json!(["PATH=/bin", "KEY=value"]))
        .with_config("Labels", serde_json::json!({"a": "b"}))
}

/// What a container sees of `/data`: modes, owners, sizes, names, targets of links.
fn seen(engine: &TestEngine, name: &str) -> String {
    let look =
        "cd /data; ls -ln | sed 's/ [A-Z][a-z][a-z] .*[0-9] / /'; cat owned hard soft new n*; echo $KEY";
    engine.ok(["run", "--rm", name, "sh", "-c", look])
}

#[test]
fn skopeo_copies_to_and_from_the_engine_archives_and_layouts() {
    let engine = TestEngine::start();
    engine.load(&image(), "app:1");
    let expected = seen(&engine, "app:1");
    let (dir, host) = (engine.files("skopeo", &[]), engine.host());
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let copy = |words: &[&str]| {
        let mut all = vec!["--insecure-policy", "copy", "-q"];
        all.extend_from_slice(words);
        tool("skopeo", &all)
    };
    let shown = tool(
        "skopeo",
        &["inspect", "--daemon-host", &host, "docker-daemon:app:1"],
    );
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["Labels"]["a"], "b");
    assert_eq!(shown["Layers"].as_array().map(Vec::len), Some(3));

    // Out of the engine as a layout, and back into it.
    let layout = format!("oci:{}:1", at("layout"));
    copy(&["--src-daemon-host", &host, "docker-daemon:app:1", &layout]);
    copy(&["--dest-daemon-host", &host, &layout, "docker-daemon:layout:1"]);
    assert_eq!(seen(&engine, "layout:1"), expected);
    // What is saved is both an archive of Docker's and one of OCI's.
    engine.ok(["save", "-o", &at("saved.tar"), "app:1"]);
    for kind in ["docker-archive", "oci-archive"] {
        let (from, to) = (
            format!("{kind}:{}", at("saved.tar")),
            format!("docker-daemon:{kind}:1"),
        );
        copy(&["--dest-daemon-host", &host, &from, &to]);
        assert_eq!(seen(&engine, &format!("{kind}:1")), expected);
    }
    // What skopeo writes is loaded.
    let (docker, oci) = (at("docker.tar"), at("oci.tar"));
    copy(&[&layout, &format!("docker-archive:{docker}:theirs:1")]);
    copy(&[&layout, &format!("oci-archive:{oci}:theirs:2")]);
    for (archive, name) in [(docker, "theirs:1"), (oci, "theirs:2")] {
        let loaded = engine.ok(["load", "-i", &archive]);
        assert_eq!(loaded, format!("Loaded image: {name}"));
        assert_eq!(seen(&engine, name), expected);
    }
    // Between archives of Docker's kind nothing is rewritten: it is the same image.
    let id = |name: &str| engine.ok(["inspect", "-f", "{{.Id}}", name]);
    assert_eq!(id("docker-archive:1"), id("app:1"));
}

#[test]
fn podman_and_buildah_exchange_images_with_us() {
    let engine = TestEngine::start();
    engine.load(&image(), "localhost/app:1");
    let expected = seen(&engine, "localhost/app:1");
    let registry = DockerRegistry::open();
    let there = format!("{}/app:1", registry.host());
    engine.ok(["tag", "localhost/app:1", &there]);
    engine.ok(["push", "-q", &there]);
    let saved = engine.dir().join("saved.tar").to_string_lossy().into_owned();
    engine.ok(["save", "-o", &saved, "localhost/app:1"]);
    let id = engine.ok(["inspect", "-f", "{{.Id}}", "localhost/app:1"]);
    let id = id.trim_start_matches("sha256:");

    let podman = Storage::new("podman", &engine);
    podman.run(&["load", "-q", "-i", &saved]);
    assert_eq!(
        podman
            .run(&["inspect", "-f", "{{.Id}}", "localhost/app:1"])
            .trim(),
        id
    );
    podman.run(&["pull", "-q", "--tls-verify=false", &there]);
    assert_eq!(
        podman.run(&["inspect", "-f", "{{.Id}}", &there]).trim(),
        id,
        "one image by both ways"
    );
    for format in ["docker-archive", "oci-archive"] {
        let theirs = engine
            .dir()
            .join(format!("{format}.tar"))
            .to_string_lossy()
            .into_owned();
        podman.run(&["save", "-q", "--format", format, "-o", &theirs, "localhost/app:1"]);
        engine.ok(["rmi", "localhost/app:1"]);
        let loaded = engine.ok(["load", "-i", &theirs]);
        assert_eq!(loaded, "Loaded image: localhost/app:1");
        assert_eq!(seen(&engine, "localhost/app:1"), expected);
    }

    let buildah = Storage::new("buildah", &engine);
    let container = buildah.run(&["from", "--pull-always", "--tls-verify=false", &there]);
    let container = container.lines().last().expect("a container").to_owned();
    buildah.run(&[
        "config",
        "--label",
        "made=buildah",
        "--cmd",
        "cat /data/new",
        &container,
    ]);
    let target = format!("{}/built:1", registry.host());
    buildah.run(&[
        "commit",
        "-q",
        "--tls-verify=false",
        &container,
        &format!("docker://{target}"),
    ]);
    engine.ok(["pull", "-q", &target]);
    assert_eq!(engine.ok(["run", "--rm", &target]), "new");
    assert_eq!(
        engine.ok(["inspect", "-f", "{{.Config.Labels.made}}", &target]),
        "buildah"
    );
    assert_eq!(seen(&engine, &target), expected);
}

/// Every file below a directory: type and mode, owner, contents or target.
fn tree(root: &Path) -> String {
    let look = "find . -printf '%y %m %U:%G %P -> %l\\n' | sort; find . -type f -print0 | sort -z | xargs -0 sha256sum";
    tool("sh", &["-c", &format!("cd '{}' && {look}", root.display())])
}

#[test]
fn umoci_unpacks_our_layout_to_the_files_a_container_has() {
    let engine = TestEngine::start();
    engine.load(&image(), "app:1");
    let dir = engine.files("umoci", &[]);
    let saved = dir.join("saved.tar");
    engine.ok(["save", "-o", &saved.to_string_lossy(), "app:1"]);
    let layout = dir.join("layout");
    fs::create_dir(&layout).expect("directory");
    tool(
        "tar",
        &["-xf", &saved.to_string_lossy(), "-C", &layout.to_string_lossy()],
    );
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).expect("index.json")).expect("JSON");
    let tag = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
        .as_str()
        .expect("a name")
        .to_owned();
    let bundle = dir.join("bundle");
    let from = format!("{}:{tag}", layout.display());
    tool("umoci", &["unpack", "--image", &from, &bundle.to_string_lossy()]);

    engine.ok("create --name box app:1");
    let exported = dir.join("exported.tar");
    engine.ok(["export", "-o", &exported.to_string_lossy(), "box"]);
    let ours = dir.join("ours");
    fs::create_dir(&ours).expect("directory");
    tool(
        "tar",
        &[
            "-xpf",
            &exported.to_string_lossy(),
            "--numeric-owner",
            "-C",
            &ours.to_string_lossy(),
        ],
    );
    let data = |root: &Path| tree(&root.join("data"));
    assert_eq!(data(&ours), data(&bundle.join("rootfs")));
}

#[test]
fn an_image_of_several_platforms_goes_through_every_tool() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let index = registry.publish_index("app", "1", &havre_testing::two_architectures());
    registry.publish("one", "1", &image(), Compression::Zstd);
    let from = format!("docker://{}", registry.name("app:1"));
    let layout = engine.dir().join("all");
    let words = [
        "--insecure-policy",
        "copy",
        "-q",
        "--all",
        "--src-tls-verify=false",
        &from,
    ];
    let mut words = words.to_vec();
    let to = format!("oci:{}:1", layout.display());
    words.push(&to);
    tool("skopeo", &words);
    // What we copied from registry to registry is what skopeo finds there.
    engine.ok(["copy", &registry.name("app:1"), &registry.name("copied:1")]);
    let raw = tool(
        "skopeo",
        &[
            "inspect",
            "--raw",
            "--tls-verify=false",
            &format!("docker://{}", registry.name("copied:1")),
        ],
    );
    assert_eq!(havre_testing::digest_of(raw.as_bytes()), index);
}
