//! cp in both directions.

use fs_err as fs;
use havre_testing::{Layer, TestEngine, eventually};

#[test]
fn files_are_copied_out_and_in() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "mkdir /data /data/sub; echo inside > /data/sub/file; exec sleep 100",
    ]);
    eventually("the file is there", || {
        engine.run("exec box cat /data/sub/file").code == 0
    });
    let here = engine.files("copy", &[("local/a", "one"), ("local/b/c", "two")]);
    let path = |name: &str| here.join(name).to_string_lossy().into_owned();
    engine.ok(["cp", "box:/data/sub/file", &path("fetched")]);
    assert_eq!(
        fs::read_to_string(here.join("fetched")).expect("file"),
        "inside\n"
    );
    engine.ok(["cp", "box:/data", &path("tree")]);
    assert_eq!(
        fs::read_to_string(here.join("tree/sub/file")).expect("file"),
        "inside\n"
    );
    engine.ok(["cp", &path("local"), "box:/data"]);
    assert_eq!(engine.ok("exec box cat /data/local/a /data/local/b/c"), "onetwo");
    engine.ok(["cp", &format!("{}/.", path("local")), "box:/data/sub"]);
    assert_eq!(engine.ok("exec box cat /data/sub/a"), "one");
    let archive = engine.cmd("cp box:/data/sub/file -").run();
    let mut entries = tar::Archive::new(&archive.stdout[..]);
    let names: Vec<_> = entries
        .entries()
        .expect("tar")
        .map(|entry| entry.expect("entry").path().expect("path").display().to_string())
        .collect();
    assert_eq!(names, ["file"]);
    engine
        .cmd("cp - box:/data")
        .stdin(Layer::new().file("streamed", "three").tar())
        .ok();
    assert_eq!(engine.ok("exec box cat /data/streamed"), "three");
    let missing = engine.fails(1, ["cp", "box:/nosuch", &path("x")]);
    assert!(
        missing.contains("Could not find the file /nosuch in container box"),
        "{missing}"
    );
    engine.ok("stop -t 0 box");
    engine.ok(["cp", &path("local/a"), "box:/data/stopped"]);
    engine.ok("start box");
    assert_eq!(
        engine.ok("exec box cat /data/stopped"),
        "one",
        "a stopped container takes files too"
    );
}

#[test]
fn names_that_mean_deletions_in_layers_are_files_in_an_archive() {
    let engine = TestEngine::with_busybox();
    engine.ok("create --name box -v /data busybox true");
    let archive = Layer::new()
        .file("kept", "there")
        .file(".wh.kept", "one")
        .file("dir/.wh..wh..opq", "two")
        .file(".wh.dir/file", "three");
    engine.cmd("cp - box:/data").stdin(archive.tar()).ok();
    let out = engine.dir().join("out");
    engine.ok(format!("cp box:/data {}", out.display()));
    for (path, contents) in [
        ("kept", "there"),
        (".wh.kept", "one"),
        ("dir/.wh..wh..opq", "two"),
        (".wh.dir/file", "three"),
    ] {
        assert_eq!(
            fs::read_to_string(out.join(path)).expect(path),
            contents,
            "{path}"
        );
    }
}

#[test]
fn a_copy_follows_no_link_out_of_the_container() {
    let engine = TestEngine::with_busybox();
    let outside = engine.files("outside", &[("secret", "secret")]);
    let target = outside.to_string_lossy().into_owned();
    engine.ok([
        "run",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        &format!("ln -s {target} /link; ln -s /etc /legit; ln -s ../../../../../../../.. /up"),
    ]);
    let here = engine
        .files("in", &[("planted", "x")])
        .join("planted")
        .to_string_lossy()
        .into_owned();
    engine.run(["cp", &here, "box:/link/"]);
    assert!(
        !outside.join("planted").exists(),
        "written through a link to the host"
    );
    let out = engine.dir().join("stolen");
    engine.run(["cp", "box:/link/secret", &out.to_string_lossy()]);
    assert!(!out.exists(), "read through a link to the host");
    engine.ok(["cp", &here, "box:/legit/planted"]);
    engine.ok([
        "cp",
        "box:/etc/planted",
        &engine.dir().join("back").to_string_lossy(),
    ]);
    engine.ok([
        "cp",
        "box:/up/etc/passwd",
        &engine.dir().join("passwd").to_string_lossy(),
    ]);
    let passwd = fs::read_to_string(engine.dir().join("passwd")).expect("file");
    assert!(passwd.contains("user:x:1000"), "the container's, not the host's");
}
