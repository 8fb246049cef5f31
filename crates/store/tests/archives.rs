//! Archives as other programs write them: applied, and rebuilt byte for byte. Needs root, GNU tar and python3; a program that
//! isn't installed is reported and skipped.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::io::Read;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use havre_oci::Digest;
use havre_oci::layer::TarWriter;
use havre_store::{ApplyError, CommitMode, Limits, Store};
use proptest::prelude::*;
use support::open;

/// A tree with a bit of everything.
fn tree(root: &Path) {
    let script = r#"
        set -e
        mkdir -p usr/bin etc/deep/er empty var/$(printf 'd%.0s' $(seq 90))/$(printf 'e%.0s' $(seq 90))
        echo hello > usr/bin/hello; chmod 4755 usr/bin/hello
        ln usr/bin/hello usr/bin/hardlink; ln -s hello usr/bin/soft
        ln -s $(printf 'x/%.0s' $(seq 120)) long-link
        head -c 1000000 /dev/urandom > random; head -c 512 /dev/urandom > block; : > nothing
        mknod null c 1 3; mkfifo fifo; chown 1000:1001 etc/deep; touch -d '2001-02-03 04:05:06.789012345' etc/deep/er
        for dir in var/*/*; do echo x > $dir/file; done; touch -d '1969-12-31 23:59:50' block; chown 3000000:3000001 nothing
        echo u > "$(printf 'u\303\274ml\303\244ut')"; echo b > "$(printf 'bad\377name')"
        setfattr -n user.test -v value random || true
        chmod 1777 empty
    "#;
    run(Command::new("sh").arg("-c").arg(script).current_dir(root));
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn check(store: &Store, name: &str, tar: &[u8]) {
    let diff_id = Digest::sha256_of(tar);
    let lease = store.lease();
    let layer = store
        .layers()
        .apply(tar, Some(&diff_id), &Limits::default(), &mut |_| {}, &lease)
        .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    assert_eq!(layer.tar_size, tar.len() as u64, "{name}");
    let mut rebuilt = Vec::new();
    let mut reader = store.layers().tar(&diff_id).unwrap();
    assert_eq!(reader.size(), tar.len() as u64);
    reader.read_to_end(&mut rebuilt).unwrap();
    assert!(rebuilt == tar, "{name} is not rebuilt byte for byte");
    assert!(layer.entries > 15, "{name}: {}", layer.entries);
}

fn available(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("{program} is not installed: skipped");
    }
    found
}

#[test]
fn archives_of_other_programs_come_back() {
    let (dir, store) = open();
    let root = dir.path().join("tree");
    fs::create_dir(&root).unwrap();
    tree(&root);
    let tar = |args: &[&str]| {
        run(Command::new("tar")
            .args(args)
            .args(["-c", "."])
            .current_dir(&root))
    };
    for (name, args) in [
        ("gnu", &["--format=gnu"][..]),
        (
            "gnu with attributes, blocked",
            &["--format=posix", "--xattrs", "--xattrs-include=*", "-b", "1"],
        ),
        ("pax", &["--format=posix"]),
        (
            "pax without times",
            &[
                "--format=posix",
                "--pax-option=delete=atime,delete=ctime",
                "--numeric-owner",
            ],
        ),
        ("oldgnu", &["--format=oldgnu", "--sort=name"]),
        (
            "pax global header",
            &[
                "--format=posix",
                "--pax-option=globexthdr.name=comment,comment=a comment",
            ],
        ),
    ] {
        check(&store, name, &tar(args));
    }
    let python = r#"
import sys, tarfile
formats = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=formats[sys.argv[1]], errors="surrogateescape") as tar:
    def odd(info):
        if sys.argv[1] == "ustar" and (info.uid > 2000000 or len(info.name) > 200 or len(info.linkname) > 100):
            return None
        if sys.argv[1] == "ustar":
            info.mtime = max(0, info.mtime)
        info.uname, info.gname = "someone", "somegroup"
        return info
    tar.add(".", filter=odd)
"#;
    if available("python3") {
        for format in ["ustar", "gnu", "pax"] {
            let tar = run(Command::new("python3")
                .args(["-c", python, format])
                .current_dir(&root));
            check(&store, &format!("python {format}"), &tar);
        }
    }
    if available("bsdtar") {
        for format in ["pax", "gnutar", "ustar"] {
            let output = Command::new("bsdtar")
                .args(["-c", "--format", format, "."])
                .current_dir(&root)
                .output()
                .unwrap();
            check(&store, &format!("bsdtar {format}"), &output.stdout);
        }
    }
}

#[test]
fn an_applied_tree_is_the_original_tree() {
    let (dir, store) = open();
    let lease = store.lease();
    let root = dir.path().join("tree");
    fs::create_dir(&root).unwrap();
    tree(&root);
    let original = store.layers().commit_dir_copy(&root, &lease).unwrap();
    let args = ["--format=posix", "--xattrs", "--xattrs-include=*", "-c", "."];
    let tar = run(Command::new("tar").args(args).current_dir(&root));
    let layer = support::apply(&store, &tar, &lease);
    assert_eq!(layer.size, original.size);
    // The files as the kernel shows them, copied into a new layer, are the layer made of the original.
    let target = dir.path().join("view");
    fs::create_dir(&target).unwrap();
    let view = store.snapshots().view(&[layer.diff_id], &target).unwrap();
    assert_eq!(
        store.layers().commit_dir_copy(view.path(), &lease).unwrap(),
        original
    );
    drop(view);
    // Moving gives the same layer as copying, and is idempotent.
    assert_eq!(store.layers().commit_dir(&root, &lease).unwrap(), original);
    assert!(!root.exists());
}

/// A build step on top of a step on top of a base: the tar of each, applied elsewhere, gives the same tree.
#[test]
fn layers_travel_to_another_store() {
    let (dir, here) = open();
    let (other_dir, there) = open();
    let lease = here.lease();
    let mut chain = Vec::new();
    for (n, script) in [
        "mkdir -p a/b c; echo 1 > a/b/x; echo 1 > c/x; echo 1 > gone",
        "rm -r c gone; mkdir c; echo 2 > c/y; echo 2 >> a/b/x",
        "rm -r a; echo 3 > a",
    ]
    .into_iter()
    .enumerate()
    {
        let step = here.snapshots().prepare(&format!("step-{n}"), &chain).unwrap();
        let merged = here.snapshots().mount_volatile(&step, None).unwrap();
        run(Command::new("sh").args(["-ec", script]).current_dir(merged));
        chain.push(
            here.snapshots()
                .commit(&step.id, CommitMode::Move, &lease)
                .unwrap()
                .diff_id,
        );
    }
    let there_lease = there.lease();
    for diff_id in &chain {
        let limits = Limits::default();
        let tar = here.layers().tar(diff_id).unwrap();
        there
            .layers()
            .apply(tar, Some(diff_id), &limits, &mut |_| {}, &there_lease)
            .unwrap();
    }
    let listing = |store: &Store, dir: &Path| {
        let target = dir.join("view");
        fs::create_dir(&target).unwrap();
        let view = store.snapshots().view(&chain, &target).unwrap();
        let find = run(Command::new("sh")
            .args([
                "-c",
                "find . -type d -printf '%p %y %m %Ts\n' -o -printf '%p %y %m %s %Ts\n' | sort; cat c/y a",
            ])
            .current_dir(view.path()));
        String::from_utf8(find).unwrap()
    };
    let (left, right) = (listing(&here, dir.path()), listing(&there, other_dir.path()));
    // Directories the step didn't name get their times from the overlay.
    let named = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with(". "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(named(&left), named(&right));
    assert!(left.contains("./c/y f") && left.ends_with("2\n3\n"), "{left}");
    assert!(!left.contains("gone") && !left.contains("c/x"), "{left}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever an archive says: it is refused, or it becomes a layer that gives it back; and nothing outside changes.
    #[test]
    fn hostile_archives_stay_inside(entries in proptest::collection::vec(support::entries::entry(), 1..25)) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("outside"), "untouched").unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let mut writer = TarWriter::new(Vec::new());
        for (entry, payload) in &entries {
            writer.entry(entry, &mut payload.as_slice()).unwrap();
        }
        let tar = writer.finish().unwrap();
        let lease = store.lease();
        match store.layers().apply(tar.as_slice(), None, &Limits::default(), &mut |_| {}, &lease) {
            Ok(layer) => {
                let mut rebuilt = Vec::new();
                store.layers().tar(&layer.diff_id).unwrap().read_to_end(&mut rebuilt).unwrap();
                prop_assert!(rebuilt == tar);
                let target = dir.path().join("view");
                fs::create_dir(&target).unwrap();
                let view = store.snapshots().view(&[layer.diff_id], &target).unwrap();
                let size = run(Command::new("find").args([".", "-type", "f", "-links", "1", "-printf", "%s\n"]).current_dir(view.path()));
                let alone: u64 = String::from_utf8(size).unwrap().lines().map(|line| line.parse::<u64>().unwrap()).sum();
                prop_assert!(layer.size >= alone);
            }
            Err(ApplyError::Entry { .. } | ApplyError::DanglingHardLink { .. } | ApplyError::Invalid { .. }) => {}
            Err(error) => prop_assert!(false, "{error:?}"),
        }
        store.wait_for_trash();
        prop_assert_eq!(fs::read_dir(store.layout().root().join("ingest")).unwrap().count(), 0);
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| name != "view");
        names.sort();
        prop_assert_eq!(names, ["outside", "store"]);
        prop_assert_eq!(fs::read_to_string(dir.path().join("outside")).unwrap(), "untouched");
    }
}
