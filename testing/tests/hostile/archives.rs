//! Archives for `load` that are none, or name what they must not.

use havre_testing::{Image, Layer, TestEngine};

use crate::litter;

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
