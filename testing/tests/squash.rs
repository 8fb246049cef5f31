//! Layers made one: the same files, without what was in vain. Needs root.

use std::collections::BTreeMap;
use std::io::Read;

use fs_err as fs;
use havre_testing::{Image, Layer, TestEngine, eventually};
use serde_json::Value;

/// Layers that do to each other what layers can do.
fn layered() -> Image {
    Image::busybox()
        .with_layer(
            &Layer::new()
                .dir_with_mode("srv", 0o1770)
                .file("srv/first", "one")
                .hardlink("srv/second", "srv/first")
                .hardlink("srv/third", "srv/first")
                .dir("gone")
                .file("gone/x", "x".repeat(100_000))
                .dir("hidden")
                .file("hidden/old", "old")
                .dir("again")
                .file("again/old", "old")
                .dir("replaced")
                .file("replaced/by", "a file")
                .file("becomes", "a directory")
                .file_of("owned", "mine", 1000)
                .character_device("null", 1, 3)
                .symlink("link", "srv/first"),
        )
        .with_layer(
            &Layer::new()
                // The name that has the contents goes; those of the others stay.
                .whiteout("srv/first")
                .whiteout("gone")
                .whiteout("again")
                .whiteout("bin/vi")
                .whiteout("nothing")
                .dir("hidden")
                .file("hidden/.wh..wh..opq", "")
                .file("hidden/new", "new")
                .whiteout("becomes"),
        )
        .with_layer(
            &Layer::new()
                .dir("again")
                .file("again/new", "new")
                .whiteout("replaced")
                .file("replaced", "now")
                .dir("becomes")
                .file("becomes/full", "yes")
                .file_with_mode("owned", "changed", 0o4755)
                .file("bin/extra", "more"),
        )
}

/// What a container of the image sees, by the kernel: each name with all that is known of it.
fn tree(engine: &TestEngine, image: &str) -> BTreeMap<String, String> {
    let id = engine.ok(["create", "--network", "none", image, "true"]);
    let output = engine.cmd(["export", &id]).run();
    assert_eq!(output.code, 0);
    engine.ok(["rm", &id]);
    let mut names = BTreeMap::new();
    let mut archive = tar::Archive::new(output.stdout.as_slice());
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let header = entry.header();
        let mut about = format!(
            "{:?} {:o} {:?}:{:?} {:?} {:?}:{:?} -> {:?}",
            header.entry_type(),
            header.mode().expect("mode"),
            header.uid().expect("uid"),
            header.gid().expect("gid"),
            header.mtime().expect("mtime"),
            header.device_major().unwrap_or(None),
            header.device_minor().unwrap_or(None),
            entry
                .link_name_bytes()
                .map(|name| String::from_utf8_lossy(&name).into_owned())
        );
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut contents = String::new();
        let _ = entry.read_to_string(&mut contents);
        about.push_str(&contents);
        // What the engine makes for each container, when it makes it.
        let made = [
            "",
            "./",
            "etc/",
            "dev/",
            "proc/",
            "sys/",
            "etc/hostname",
            "etc/hosts",
            "etc/resolv.conf",
            ".dockerenv",
        ];
        if !made.contains(&path.as_str()) && !path.starts_with("dev/") {
            names.insert(path, about);
        }
    }
    names
}

fn layers(engine: &TestEngine, image: &str) -> Vec<Value> {
    engine.inspect(image)["RootFS"]["Layers"]
        .as_array()
        .expect("layers")
        .clone()
}

#[test]
fn the_files_stay_and_what_was_in_vain_goes() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    engine.load(&layered(), "app");
    let before = tree(&engine, "app");
    assert!(
        before["srv/second"].contains("one") && !before.contains_key("again/old"),
        "{before:?}"
    );
    let said = engine.ok("image squash app -t small:1");
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("4 layers -> 1, ") && lines[0].ends_with("100kB saved"),
        "{said}"
    );
    assert_eq!(engine.inspect("small:1")["Id"], lines[1]);
    assert_eq!(tree(&engine, "small:1"), before);
    assert_eq!(layers(&engine, "app").len(), 4, "the image stays");
    // The same layers give the same layer.
    engine.ok("image squash -q app -t small:2");
    assert_eq!(layers(&engine, "small:1"), layers(&engine, "small:2"));
    // Settings and history stay, the steps have no layers, and one has.
    assert_eq!(
        engine.inspect("small:1")["Config"],
        engine.inspect("app")["Config"]
    );
    let history = |name: &str| {
        engine.ok([
            "history",
            "--no-trunc",
            "--format",
            "{{.Size}} {{.Comment}}",
            name,
        ])
    };
    assert!(
        history("small:1")
            .lines()
            .next()
            .expect("a step")
            .contains("create new from sha256:"),
        "{}",
        history("small:1")
    );
    assert_eq!(
        history("small:1")
            .lines()
            .filter(|line| !line.starts_with("0B"))
            .count(),
        1
    );
    // What it saves is what the explorer says is hidden.
    let json = |name: &str| -> Value {
        serde_json::from_str(&engine.ok(["explore", "--json", "-", name])).expect("JSON")
    };
    assert_eq!(json("small:1")["image"]["inefficientBytes"], 0);
    for (words, told) in [
        ("image squash nosuch", "No such image: nosuch:latest"),
        (
            "image squash --from 4 app",
            "app has layers 0 to 3: there is no layer 4 to begin with",
        ),
        (
            "image squash --from small:1 app",
            "app does not begin with the layers of small:1",
        ),
        (
            "image squash -t x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef app",
            "digest",
        ),
        ("image squash -t UP app", "must be lowercase"),
    ] {
        let error = engine.fails(1, words);
        assert!(error.contains(told), "{words}: {error}");
    }
}

#[test]
fn what_is_below_stays() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    engine.load(&layered(), "app");
    engine.load(&Image::busybox(), "base");
    let (before, base) = (tree(&engine, "app"), layers(&engine, "base"));
    engine.ok("image squash app --from base -t above:1");
    engine.ok("image squash app --from 1 -t above:2");
    assert_eq!(layers(&engine, "above:1"), layers(&engine, "above:2"));
    assert_eq!(layers(&engine, "above:1")[..1], base);
    assert_eq!(tree(&engine, "above:1"), before);
    // Nothing is removed that isn't there.
    let names = engine.ok("image files -R -q --layer 1 above:1");
    assert!(
        names.contains("/bin/vi") && !names.contains("/nothing") && !names.contains("/gone"),
        "{names}"
    );
    // Two of three: what the second of them makes anew doesn't show what the first has.
    engine.ok("image squash app --from 2 -t upper");
    assert_eq!(layers(&engine, "upper").len(), 3);
    assert_eq!(tree(&engine, "upper"), before);
}

#[test]
fn a_build_is_one_layer_above_its_base() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    engine.load(&Image::busybox(), "base");
    let home = tempfile::tempdir().expect("directory");
    fs::write(
        home.path().join("Dockerfile"),
        "FROM base\nRUN echo one > /one && echo two > /two\nRUN rm /one && echo 2 >> /two\nENV A=b\nCMD [\"cat\", \"/two\"]\n",
    )
    .expect("written");
    let path = home.path().to_str().expect("UTF-8");
    let id = engine.ok(["build", "-q", "--squash", "-t", "app", path]);
    assert_eq!(engine.inspect("app")["Id"], id.trim());
    let made = layers(&engine, "app");
    assert_eq!((made.len(), &made[..1]), (2, &layers(&engine, "base")[..]));
    assert_eq!(engine.ok("run --rm app"), "two\n2");
    assert_eq!(
        engine.ok(["run", "--rm", "app", "sh", "-c", "test -e /one || echo $A"]),
        "b"
    );
    assert!(engine.ok("history app").contains("merge sha256:"));
    // Nothing added is nothing to be made one.
    fs::write(home.path().join("Dockerfile"), "FROM base\nENV A=c\n").expect("written");
    engine.ok(["build", "-q", "--squash", "-t", "plain", path]);
    assert_eq!(layers(&engine, "plain"), layers(&engine, "base"));
    eventually("all containers to be gone", || engine.ok("ps -aq").is_empty());
}
