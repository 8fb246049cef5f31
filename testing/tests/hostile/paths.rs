//! Images whose directories and files are not what they seem: whatever the engine does in a container's tree as root stays
//! in that tree.

use std::path::PathBuf;

use fs_err as fs;
use havre_testing::{Image, Layer, TestEngine};
use serde_json::json;

/// A directory of the host that a hostile image would like to change.
struct Precious(PathBuf);

impl Precious {
    fn new(engine: &TestEngine) -> Self {
        Self(engine.files("precious", &[("ptmx", "kept"), ("hosts", "kept")]))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path of ours")
    }

    fn is_untouched(&self) {
        let mut names: Vec<_> = fs::read_dir(&self.0)
            .expect("directory")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["hosts", "ptmx"]);
        for name in names {
            assert_eq!(fs::read_to_string(self.0.join(name)).expect("file"), "kept");
        }
    }
}

/// CVE-2026-41579 and its kin: the runtime makes links and nodes in /dev by path before it changes its root.
#[test]
fn own_directories_that_are_links_to_the_host() {
    let engine = TestEngine::start();
    let precious = Precious::new(&engine);
    for own in ["proc", "sys", "dev"] {
        for target in [
            precious.path().to_owned(),
            format!("../../../../../..{}", precious.path()),
        ] {
            let image = Image::busybox().with_layer(&Layer::new().symlink(own, &target));
            engine.load(&image, "linked:latest");
            let error = engine.fails(125, "run --rm linked true");
            assert!(error.contains(&format!("/{own}")), "{error}");
            // With what the link names in the image, too.
            let image = image.with_layer(&Layer::new().dir(precious.path().trim_start_matches('/')));
            engine.load(&image, "linked:latest");
            engine.fails(125, "run --rm linked true");
            precious.is_untouched();
        }
    }
    let context = engine.files("context", &[("Dockerfile", "FROM linked\nRUN true\n")]);
    let build = engine.run(["build", context.to_str().expect("path")]);
    assert!(build.code != 0 && build.err().contains("/dev"), "{}", build.err());
    precious.is_untouched();
    assert_eq!(engine.ok("ps -aq"), "");
}

#[test]
fn files_of_the_engine_go_where_links_lead_within_the_container() {
    let engine = TestEngine::start();
    let precious = Precious::new(&engine);
    // Debian's and Ubuntu's own: a link to nothing until a service runs.
    let stub = Layer::new()
        .symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
        .symlink("etc/hosts", &format!("{}/hosts", precious.path()));
    engine.load(&Image::busybox().with_layer(&stub), "stub:latest");
    let output =
        engine.ok("run --rm --hostname me stub cat /etc/hosts /run/systemd/resolve/stub-resolv.conf");
    assert!(output.contains("me") && output.contains("nameserver"), "{output}");
    // All of /etc elsewhere, in a second layer that replaces the directory.
    let away = Layer::new().whiteout("etc").symlink("etc", precious.path());
    engine.load(&Image::busybox().with_layer(&away), "away:latest");
    let output = engine.ok("run --rm --hostname me away cat /etc/hostname");
    assert_eq!(output, "me");
    precious.is_untouched();
}

#[test]
fn the_link_from_var_run_to_run_is_legitimate() {
    let engine = TestEngine::start();
    let image = Image::busybox().with_layer(&Layer::new().dir("run").symlink("var/run", "/run"));
    engine.load(&image, "debianlike:latest");
    let shared = engine.files("shared", &[("file", "shared")]);
    let bind = format!("{}:/var/run/shared", shared.display());
    fs::create_dir(shared.join("deeper")).expect("directory");
    let deeper = "--tmpfs /var/run/shared/deeper";
    let cat = format!("run --rm -v {bind} {deeper} debianlike cat /run/shared/file");
    assert_eq!(engine.ok(cat.as_str()), "shared");
    // Copies too, into and out of a container that does not run and one that does.
    for start in [false, true] {
        let verb = if start { "run -d" } else { "create" };
        engine.ok(format!("{verb} --name box -v {bind} debianlike sleep 1000").as_str());
        let local = engine.files("local", &[("copied", "there and back")]);
        let from = local.join("copied");
        engine.ok(["cp", from.to_str().expect("path"), "box:/var/run/shared/copied"]);
        assert_eq!(
            fs::read_to_string(shared.join("copied")).expect("copied"),
            "there and back"
        );
        let back = local.join("back");
        engine.ok(["cp", "box:/var/run/shared/copied", back.to_str().expect("path")]);
        assert_eq!(fs::read_to_string(back).expect("back"), "there and back");
        fs::remove_file(shared.join("copied")).expect("file");
        engine.ok("rm -f box");
    }
}

/// CVE-2019-16884, CVE-2025-52881: a volume on /proc forges what confinement is set up through.
#[test]
fn an_image_cannot_mount_over_its_own_confinement() {
    let engine = TestEngine::start();
    for (volume, words) in [
        ("/proc", "procfs"),
        ("/proc/self", "inside /proc"),
        ("/dev", "--device"),
    ] {
        let image = Image::busybox().with_config("Volumes", json!({ volume: {} }));
        engine.load(&image, "volumes:latest");
        let error = engine.fails(125, "run --rm volumes true");
        assert!(error.contains(volume) && error.contains(words), "{error}");
    }
    // Through a link of the image.
    let linked = Image::busybox()
        .with_layer(&Layer::new().symlink("innocent", "/proc"))
        .with_config("Volumes", json!({ "/innocent/self": {} }));
    engine.load(&linked, "volumes:latest");
    let error = engine.fails(125, "run --rm volumes true");
    assert!(error.contains("inside /proc"), "{error}");
}

/// CVE-2024-21626: no descriptor of the engine is open in a container, and none is a way to the host.
#[test]
fn no_descriptor_leads_to_the_host() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box busybox sleep 1000");
    let open = engine.ok("exec box ls /proc/1/fd");
    assert_eq!(open.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2"]);
    for number in 3..32 {
        let cwd = format!("/proc/self/fd/{number}");
        let output = engine.run(["run", "--rm", "-w", &cwd, "busybox", "ls"]);
        assert_ne!(output.code, 0, "{}", output.out());
        assert!(output.err().contains("cwd"), "{}", output.err());
        let output = engine.run(["exec", "-w", &cwd, "box", "ls"]);
        assert_ne!(output.code, 0, "{}", output.out());
    }
}
