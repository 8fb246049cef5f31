//! Layers of every form, beside and above each other, over restarts of the store. Needs root (it mounts).

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fs_err as fs;
use havre_oci::layer::{Entry, Kind, TarWriter};
use havre_oci::{Digest, Digester};
use havre_store::{
    CommitMode, Form, LayerForm, Snapshot, Store, StoreError, StoreOptions, TreeEntry, TreeKind,
};
use support::{FORMS, apply, layer_tar, open_at, put_image};

/// One of everything.
fn rich() -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    let entry = |path: &str, kind| Entry {
        path: path.into(),
        kind,
        mode: 0o640,
        uid: 7,
        gid: 8,
        mtime: 1_600_000_000,
        ..Entry::default()
    };
    let dir = Entry {
        mode: 0o2755,
        xattrs: vec![(b"user.note".to_vec(), b"of a directory".to_vec())],
        ..entry("dir", Kind::Dir)
    };
    let link = Entry {
        target: b"dir/file".to_vec(),
        ..entry("link", Kind::Symlink)
    };
    let hard = Entry {
        target: b"dir/file".to_vec(),
        ..entry("dir/same", Kind::Hardlink)
    };
    let text = b"contents".repeat(10_000);
    let file = Entry {
        size: text.len() as u64,
        ..entry("dir/file", Kind::File)
    };
    for (entry, mut payload) in [
        (dir, &b""[..]),
        (file, text.as_slice()),
        (hard, b""),
        (link, b""),
        (entry("null", Kind::Char { major: 1, minor: 3 }), b""),
        (entry("disk", Kind::Block { major: 8, minor: 300 }), b""),
        (entry("fifo", Kind::Fifo), b""),
        (entry(".wh.gone", Kind::File), b""),
        (entry("fresh", Kind::Dir), b""),
        (entry("fresh/.wh..wh..opq", Kind::File), b""),
        (entry("empty", Kind::File), b""),
    ] {
        writer.entry(&entry, &mut payload).unwrap();
    }
    writer.finish().unwrap()
}

fn target(dir: &Path, name: &str) -> PathBuf {
    let target = dir.join(name);
    fs::create_dir_all(&target).unwrap();
    target
}

fn is_mounted(root: &Path, diff_id: &Digest) -> bool {
    let tree = root.join("layers").join(diff_id.hex()).join("fs");
    havre_sys::mount::is_mount_point(&tree).unwrap()
}

#[test]
fn trees_are_the_same_in_every_form() {
    let mut trees: Vec<Vec<TreeEntry>> = Vec::new();
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let store = open_at(dir.path(), form);
        let lease = store.lease();
        let layer = apply(&store, &rich(), &lease);
        let tree = store.layers().tree(&layer.diff_id).unwrap();
        let mut entries = Vec::new();
        tree.walk::<StoreError>(&mut |entry| {
            assert_eq!(tree.find(&entry.path)?.as_ref(), Some(&entry));
            entries.push(entry);
            Ok(())
        })
        .unwrap();
        // A directory's own list is what the walk had of it.
        for entry in &entries {
            let parent = |path: &[u8]| path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            let inside = entries.iter().filter(|inner| {
                !inner.path.is_empty() && inner.path[..parent(&inner.path)] == entry.path[..]
            });
            let inside: Vec<_> = inside.cloned().collect();
            let listed = tree.list(&entry.path).unwrap();
            match entry.kind {
                TreeKind::Directory { .. } => assert_eq!(listed, Some(inside)),
                _ => assert_eq!(listed, None),
            }
        }
        assert_eq!(tree.list(b"nothing").unwrap(), None);
        // Numbers of inodes only say which names are one file.
        let mut numbers = BTreeMap::new();
        for (position, entry) in entries.iter_mut().enumerate() {
            entry.inode = *numbers.entry(entry.inode).or_insert(position as u64);
            if matches!(entry.kind, TreeKind::Directory { .. }) {
                entry.links = 0;
            }
            if entry.path.is_empty() || entry.kind == TreeKind::Whiteout {
                // The archive says nothing of their times: a directory has the time they were made, an image none.
                (entry.mtime, entry.mtime_nanos) = (0, 0);
            }
        }
        let mut text = Vec::new();
        tree.open_file(b"dir/same")
            .unwrap()
            .unwrap()
            .read_to_end(&mut text)
            .unwrap();
        assert_eq!(text, b"contents".repeat(10_000));
        assert_eq!(tree.open_file(b"empty").unwrap().unwrap().size(), 0);
        for path in ["dir", "link", "null", "gone", "nothing", "dir/file/x"] {
            assert!(tree.open_file(path.as_bytes()).unwrap().is_none(), "{path}");
        }
        assert_eq!(tree.find(b"gone").unwrap().unwrap().kind, TreeKind::Whiteout);
        assert_eq!(
            tree.find(b"fresh").unwrap().unwrap().kind,
            TreeKind::Directory { opaque: true }
        );
        assert!(tree.find(b"link/x").unwrap().is_none());
        assert!(
            !is_mounted(dir.path(), &layer.diff_id),
            "nothing is mounted for it"
        );
        // The layer stays while it is read.
        drop(lease);
        assert!(matches!(
            store.layers().remove(&layer.diff_id),
            Err(StoreError::LayerInUse { .. })
        ));
        trees.push(entries);
    }
    for tree in &trees[1..] {
        assert_eq!(*tree, trees[0]);
    }
}

#[test]
fn forms_may_be_mixed() {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = Vec::new();
    for (n, form) in FORMS.into_iter().cycle().take(7).enumerate() {
        let store = open_at(dir.path(), form);
        assert_eq!(store.layer_form().form, form);
        let lease = store.lease();
        let layer = apply(
            &store,
            &layer_tar(&format!("file-{n}"), format!("{n}").as_bytes()),
            &lease,
        );
        let expected = match form {
            LayerForm::Directories => matches!(layer.form, Form::Directory),
            LayerForm::LoopAligned => matches!(layer.form, Form::Aligned(_)),
            _ => matches!(layer.form, Form::Tar(_)),
        };
        assert!(expected, "{form}: {layer:?}");
        chain.push(layer.diff_id);
        put_image(&store, &n.to_string(), &chain, &lease);
    }
    // Whatever new layers get, all that are there are read.
    for form in [
        LayerForm::Auto,
        LayerForm::Loop,
        LayerForm::FileBuffered,
        LayerForm::Directories,
    ] {
        let store = open_at(dir.path(), form);
        let snapshot = store.snapshots().prepare("one", &chain).unwrap();
        let merged = store.snapshots().mount(&snapshot).unwrap();
        for n in 0..7 {
            assert_eq!(
                fs::read_to_string(merged.join(format!("file-{n}"))).unwrap(),
                n.to_string()
            );
        }
        // What is written above becomes a layer among them.
        fs::remove_file(merged.join("file-3")).unwrap();
        fs::write(merged.join("file-4"), "changed").unwrap();
        let changes = store.snapshots().changes("one").unwrap();
        assert_eq!(changes.len(), 2, "{changes:?}");
        let lease = store.lease();
        let layer = store.snapshots().commit("one", CommitMode::Move, &lease).unwrap();
        let mut digester = Digester::sha256();
        let mut tar = store.layers().tar(&layer.diff_id).unwrap();
        std::io::copy(&mut tar, &mut digester).unwrap();
        assert_eq!(digester.finish(), layer.diff_id);
        let chain = [chain.as_slice(), std::slice::from_ref(&layer.diff_id)].concat();
        let view = store
            .snapshots()
            .view(&chain, &target(dir.path(), "view"))
            .unwrap();
        assert!(!view.path().join("file-3").exists());
        assert_eq!(fs::read_to_string(view.path().join("file-4")).unwrap(), "changed");
    }
}

#[test]
fn an_archive_that_is_there_is_a_piece_of_a_file() {
    let tar = rich();
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let store = open_at(dir.path(), form);
        let layer = apply(&store, &tar, &store.lease());
        let mut archive = store.layers().tar(&layer.diff_id).unwrap();
        assert_eq!(archive.range().is_some(), form == LayerForm::File);
        if let Some(range) = archive.range() {
            assert_eq!(range.len, archive.size());
            let mut bytes = vec![0; range.len as usize];
            std::os::unix::fs::FileExt::read_exact_at(range.file, &mut bytes, range.offset).unwrap();
            assert_eq!(bytes, tar);
        }
        let mut bytes = Vec::new();
        archive.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, tar);
    }
}

#[test]
fn a_layer_is_mounted_while_it_is_needed() {
    for form in [LayerForm::File, LayerForm::Loop, LayerForm::LoopAligned] {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(open_at(dir.path(), form));
        let lease = store.lease();
        let layer = apply(&store, &layer_tar("file", b"text"), &lease).diff_id;
        put_image(&store, "image", std::slice::from_ref(&layer), &lease);
        drop(lease);
        assert!(!is_mounted(dir.path(), &layer), "not before it is needed");
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (store, layer) = (store.clone(), layer.clone());
                scope.spawn(move || {
                    let chain = std::slice::from_ref(&layer);
                    let snapshot = store.snapshots().prepare(&n.to_string(), chain).unwrap();
                    let merged = store.snapshots().mount(&snapshot).unwrap();
                    assert_eq!(fs::read_to_string(merged.join("file")).unwrap(), "text");
                    store.snapshots().remove(&n.to_string()).unwrap();
                });
            }
        });
        assert!(is_mounted(dir.path(), &layer), "once for all, until it goes");
        // Closed in order with nothing running.
        drop(store);
        assert!(!is_mounted(dir.path(), &layer));

        // Closed while something runs, the next process shares the mount with it.
        let store = open_at(dir.path(), form);
        let Snapshot { merged, .. } = {
            let snapshot = store
                .snapshots()
                .prepare("runs", std::slice::from_ref(&layer))
                .unwrap();
            store.snapshots().mount(&snapshot).unwrap();
            snapshot
        };
        drop(store);
        assert!(is_mounted(dir.path(), &layer));
        let store = open_at(dir.path(), form);
        assert_eq!(fs::read_to_string(merged.join("file")).unwrap(), "text");
        store.snapshots().remove("runs").unwrap();

        // Removed while it is mounted: out of sight at once, unmounted and deleted behind.
        let image = store.meta().images().unwrap().remove(0).id;
        let freed = store.remove_image(&image).unwrap();
        assert_eq!(freed.layers, std::slice::from_ref(&layer));
        assert!(!dir.path().join("layers").join(layer.hex()).exists());
        store.wait_for_trash();
        assert_eq!(fs::read_dir(dir.path().join("trash")).unwrap().count(), 0);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(dir.path().to_str().unwrap()), "{mounts}");
    }
}

#[test]
fn a_store_of_directories_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path(), LayerForm::Directories);
    let lease = store.lease();
    let old = apply(&store, &layer_tar("old", b"old"), &lease).diff_id;
    put_image(&store, "old", std::slice::from_ref(&old), &lease);
    drop((lease, store));
    // As an earlier version wrote it: some steps of the database less.
    let database = rusqlite::Connection::open(dir.path().join("meta.db")).unwrap();
    database
        .execute_batch(
            "DROP TABLE ref_platforms; DROP TABLE image_blobs; DROP INDEX images_parent; DROP INDEX images_manifest; DROP INDEX refs_target; DROP INDEX repo_digests_digest;
             DROP TABLE removed_layers; DROP TABLE removed_blobs; DROP TABLE removed; DROP TABLE removals;
             ALTER TABLE layers DROP COLUMN form; ALTER TABLE layers DROP COLUMN file_size;
             ALTER TABLE layers DROP COLUMN metadata_offset; ALTER TABLE layers DROP COLUMN metadata;
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(database);
    let format = dir.path().join("format.json");
    assert!(!fs::read_to_string(&format).unwrap().contains("erofs"));
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.layers().get(&old).unwrap().form, Form::Directory);
    let lease = store.lease();
    let new = apply(&store, &layer_tar("new", b"new"), &lease).diff_id;
    let view = store
        .snapshots()
        .view(&[old, new], &target(dir.path(), "view"))
        .unwrap();
    assert_eq!(fs::read_to_string(view.path().join("old")).unwrap(), "old");
    assert_eq!(fs::read_to_string(view.path().join("new")).unwrap(), "new");
    // A version that doesn't know files must not touch it any more.
    assert!(fs::read_to_string(&format).unwrap().contains("erofs-files"));
}

#[test]
fn what_was_probed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for form in LayerForm::ALL {
        let options = StoreOptions {
            layers: form,
            ..StoreOptions::default()
        };
        let store = Store::open_with(dir.path(), &options).unwrap();
        let probe = store.layer_form();
        if form == LayerForm::Auto {
            assert_ne!(probe.form, LayerForm::Auto);
            assert!(probe.reason.starts_with("probed"), "{probe:?}");
        } else {
            assert_eq!(probe.form, form);
            assert!(probe.reason.contains(form.name()), "{probe:?}");
        }
    }
    // On a file system whose files the kernel can't read itself.
    let tmpfs = tempfile::tempdir().unwrap();
    havre_sys::mount::tmpfs(tmpfs.path(), "size=64m").unwrap();
    let refused = Store::open_with(
        tmpfs.path(),
        &StoreOptions {
            layers: LayerForm::File,
            ..StoreOptions::default()
        },
    );
    let told = refused.map(drop).unwrap_err();
    let store = Store::open(tmpfs.path()).unwrap();
    let probe = store.layer_form().clone();
    drop(store);
    havre_sys::mount::unmount(tmpfs.path(), true).unwrap();
    assert!(
        matches!(&told, StoreError::LayerForm { form: LayerForm::File, reason } if reason.contains("mount")),
        "{told:?}"
    );
    assert_eq!(probe.form, LayerForm::Loop);
    assert!(
        probe.reason.contains("file: ") && probe.reason.contains("file-buffered: "),
        "{probe:?}"
    );
}

/// A disk whose sectors are of 4096 bytes can't be read at a tar's bounds of 512 past the page cache: the kernel mounts the
/// image and then fails to read it, which the probe finds out.
#[test]
fn a_disk_of_large_sectors() {
    struct Disk {
        at: tempfile::TempDir,
        device: String,
    }
    impl Drop for Disk {
        fn drop(&mut self) {
            let _ = havre_sys::mount::unmount(self.at.path(), true);
            let _ = Command::new("losetup").args(["-d", &self.device]).status();
        }
    }
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk");
    fs::File::create(&image).unwrap().set_len(200 << 20).unwrap();
    let device = run(
        "losetup",
        &["--show", "-f", "-b", "4096", image.to_str().unwrap()],
    );
    let disk = Disk {
        at: tempfile::tempdir().unwrap(),
        device,
    };
    run("mkfs.ext4", &["-q", &disk.device]);
    run("mount", &[&disk.device, disk.at.path().to_str().unwrap()]);
    let root = disk.at.path().join("store");
    let store = Store::open(&root).unwrap();
    let probe = store.layer_form().clone();
    assert_eq!(probe.form, LayerForm::FileBuffered, "{probe:?}");
    assert!(probe.reason.contains("file: cannot read"), "{probe:?}");
    let lease = store.lease();
    let layer = apply(&store, &rich(), &lease);
    let view = store
        .snapshots()
        .view(&[layer.diff_id], &target(disk.at.path(), "view"))
        .unwrap();
    assert_eq!(
        fs::read(view.path().join("dir/file")).unwrap(),
        b"contents".repeat(10_000)
    );
    drop((view, lease, store));
    let wanted = StoreOptions {
        layers: LayerForm::File,
        ..StoreOptions::default()
    };
    let refused = Store::open_with(&root, &wanted).map(drop).unwrap_err();
    assert!(
        matches!(&refused, StoreError::LayerForm { form: LayerForm::File, reason } if reason.contains("read")),
        "{refused:?}"
    );
}
