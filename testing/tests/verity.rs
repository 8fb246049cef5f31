//! `verify = "read"`: bytes of layers that change on the disk are I/O errors in containers, never other contents. Needs root.
//!
//! Where the kernel has fs-verity (`make vm-test SUITES=verity`), on a file system of the test's own, whose bytes are changed
//! behind its back. Elsewhere: that an engine asked for it doesn't start, and says why.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use havre_testing::{Compression, Image, Layer, Registry, TestEngine, havre_binary, noise};

const VERIFIED: &str = "[storage]\nverify = \"read\"\n";

fn has_fs_verity() -> bool {
    Path::new("/sys/fs/ext4/features/verity").exists()
}

/// An ext4 with the feature, in a file.
struct Disk {
    dir: tempfile::TempDir,
    image: PathBuf,
}

impl Disk {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("havre-test-verity-")
            .tempdir_in("/var/tmp")
            .expect("a directory");
        let image = dir.path().join("disk");
        let file = fs::File::create(&image).expect("a file");
        file.set_len(96 << 20).expect("a sparse file");
        let disk = Self { dir, image };
        run(
            "mke2fs",
            &["-q", "-t", "ext4", "-b", "4096", "-O", "verity"],
            &[&disk.image],
        );
        fs::create_dir(disk.mounted()).expect("a directory");
        run("mount", &["-o", "loop"], &[&disk.image, &disk.mounted()]);
        disk
    }

    fn mounted(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    /// Changes a bit of every place of the disk that holds these bytes, past the file system; how many there are.
    fn damage(&self, bytes: &[u8]) -> usize {
        rustix::fs::sync();
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.image)
            .expect("the disk");
        let size = file.metadata().expect("the disk").len();
        let mut found = 0;
        let mut piece = vec![0; (4 << 20) + bytes.len()];
        for start in (0..size).step_by(4 << 20) {
            let length = file.file().read_at(&mut piece, start).expect("a piece");
            let mut at = 0;
            while let Some(place) = find(&piece[at..length], bytes) {
                at += place;
                if at >= 4 << 20 {
                    break;
                }
                let changed = [bytes[0] ^ 0x20];
                file.file()
                    .write_all_at(&changed, start + at as u64)
                    .expect("a byte");
                found += 1;
                at += bytes.len();
            }
        }
        rustix::fs::sync();
        // What was read before would still be what it was.
        fs::write("/proc/sys/vm/drop_caches", "3").expect("caches are dropped");
        found
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let first = bytes[from..].iter().position(|byte| *byte == wanted[0])?;
        from += first;
        if bytes[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.mounted()).status();
    }
}

fn run(program: &str, options: &[&str], paths: &[&Path]) {
    let status = Command::new(program).args(options).args(paths).status();
    assert!(status.expect("it starts").success(), "{program} failed");
}

/// Bytes that are nowhere else.
fn contents(seed: u8) -> Vec<u8> {
    noise(seed.into(), 1 << 20)
}

/// In the words of either C library.
fn is_io_error(text: &str) -> bool {
    text.contains("Input/output error") || text.contains("I/O error")
}

#[test]
fn where_it_lacks_the_engine_does_not_start_and_says_why() {
    let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let start = |config: &str| {
        fs::write(dir.path().join("config.toml"), config).expect("config");
        let mut command = Command::new("timeout");
        command
            .args(["--preserve-status", "5"])
            .arg(havre_binary())
            .arg("daemon");
        for (flag, name) in [
            ("--root", "root"),
            ("--state", "run"),
            ("--socket", "s"),
            ("--config", "config.toml"),
        ] {
            command.arg(flag).arg(dir.path().join(name));
        }
        let output = command.output().expect("the daemon");
        assert_ne!(output.status.code(), Some(0), "{output:?}");
        [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat()
    };
    let said = start(&format!("{VERIFIED}layers = \"directories\"\n"));
    assert!(
        said.contains("verify = \"read\"") && said.contains("only layers that are files"),
        "{said}"
    );
    if !has_fs_verity() {
        let said = start(VERIFIED);
        assert!(
            said.contains("verify = \"read\"") && said.contains("fs-verity"),
            "{said}"
        );
    }
}

#[test]
fn damage_on_the_disk_is_an_error_for_who_reads_it() {
    if !has_fs_verity() {
        return;
    }
    let disk = Disk::new();
    let registry = Registry::start();
    let engine = TestEngine::at(&disk.mounted().join("root"));
    let image = |seed: u8| {
        let layer = Layer::new()
            .file("contents", contents(seed))
            .file(&format!("a-very-unusual-name-{seed}"), "short");
        Image::busybox().with_layer(&layer)
    };
    for seed in 0..4 {
        registry.publish("app", &format!("v{seed}"), &image(seed), Compression::Gzip);
    }
    let name = |seed: u8| registry.name(&format!("app:v{seed}"));
    let hash = |seed: u8| engine.run(["run", "--rm", &name(seed), "sha256sum", "/contents"]);
    // In the middle of the file, at a place of its own.
    let middle = |seed: u8| contents(seed)[700_000..700_032].to_vec();
    let info = || engine.ok(["info", "--format", "{{json .DriverStatus}}"]);

    // Without: other contents, and nobody says a word.
    assert!(info().contains(r#"["Layer Verification","off"]"#), "{}", info());
    for seed in [0, 1] {
        engine.ok(["pull", "-q", &name(seed)]);
    }
    let expected = [hash(0).ok(), hash(1).ok()];
    assert!(disk.damage(&middle(0)) > 0);
    let silent = hash(0);
    assert_eq!(silent.code, 0, "{silent}");
    assert_ne!(silent.out(), expected[0], "the disk was not damaged");
    engine.ok("system check --repair -f");
    assert_eq!(hash(0).ok(), expected[0]);

    // With it: layers of before are protected when they are mounted first.
    engine.stop_daemon();
    engine.configure(VERIFIED);
    engine.start_daemon();
    assert!(info().contains("at every read (fs-verity)"), "{}", info());
    assert_eq!(hash(1).ok(), expected[1]);
    engine.ok(["pull", "-q", &name(2)]);
    let new = hash(2).ok();
    engine.ok(["run", "-d", "--name", "web", &name(2), "sleep", "1000"]);
    for (seed, expected) in [(1, &expected[1]), (2, &new)] {
        assert!(disk.damage(&middle(seed)) > 0);
        let output = hash(seed);
        assert_ne!(output.code, 0, "other contents without an error: {output}");
        assert!(is_io_error(&output.err()), "{output}");
        assert!(!output.out().contains("/contents"), "{output}");
        let said = engine.run("system check");
        assert_eq!(said.code, 1, "{said}");
        assert!(said.out().contains("cannot be read"), "{said}");
        let repaired = engine.ok("system check --repair -f");
        assert!(repaired.contains("Everything is repaired."), "{repaired}");
        assert_eq!(hash(seed).ok(), *expected);
    }
    engine.ok("rm -f web");

    // Names are read from there, too.
    engine.ok(["pull", "-q", &name(3)]);
    assert!(
        engine
            .ok(["run", "--rm", &name(3), "ls", "/"])
            .contains("a-very-unusual-name-3")
    );
    assert!(disk.damage(b"a-very-unusual-name-3") > 0);
    let listed = engine.run(["run", "--rm", &name(3), "ls", "/"]);
    assert!(listed.code != 0 || is_io_error(&listed.err()), "{listed}");
    assert!(!listed.out().contains("-very-unusual-name-3"), "{listed}");
    engine.ok("system check --repair -f");
    assert!(
        engine
            .ok(["run", "--rm", &name(3), "ls", "/"])
            .contains("a-very-unusual-name-3")
    );

    // What builds make is protected as well; directories are refused.
    let context = engine.files(
        "context",
        &[("Dockerfile", &format!("FROM {}\nRUN echo made >/made\n", name(3)))],
    );
    engine.ok(["build", "-q", "-t", "built", &context.to_string_lossy()]);
    assert_eq!(engine.ok("run --rm built cat /made"), "made");
    let refused = engine.fails(1, "system migrate --to directories");
    assert!(refused.contains("verify"), "{refused}");
    assert_eq!(engine.ok("system check -q"), "");

    // A layer that became a directory while nobody verified isn't mounted before it is a file again.
    engine.stop_daemon();
    engine.configure("[storage]\nlayers = \"directories\"\n");
    engine.start_daemon();
    engine.ok("system migrate");
    assert_eq!(engine.ok("run --rm built cat /made"), "made");
    engine.stop_daemon();
    engine.configure(VERIFIED);
    engine.start_daemon();
    let refused = engine.run("run --rm built cat /made");
    assert_ne!(refused.code, 0, "{refused}");
    assert!(refused.err().contains("system migrate"), "{refused}");
    let warned = engine.run("info");
    assert!(warned.err().contains("layers are directories"), "{warned}");
    engine.ok("system migrate");
    assert_eq!(engine.ok("run --rm built cat /made"), "made");
    for name in ["built", &name(0), &name(1), &name(2), &name(3)] {
        engine.ok(["rmi", name]);
    }
}
