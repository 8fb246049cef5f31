//! A disk that fills up: a typed error that names the path, nothing half-published, and the space comes back. Needs root (a
//! small tmpfs is mounted, from which files are mounted through loop devices).

#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_oci::Digest;
use havre_store::{ApplyError, LayerForm, Limits, Store, StoreError};
use support::{layer_tar, open_at};

/// tmpfs has no way for the kernel to read a file itself.
const FORMS: [LayerForm; 3] = [LayerForm::Loop, LayerForm::LoopAligned, LayerForm::Directories];

struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        havre_sys::mount::tmpfs(dir.path(), &format!("size={size},mode=700")).unwrap();
        Self(dir)
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn free(&self) -> u64 {
        rustix::fs::statvfs(self.path()).unwrap().f_bfree * 4096
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = havre_sys::mount::unmount(self.path(), true);
    }
}

fn files(dir: PathBuf) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[test]
fn a_layer_that_doesnt_fit() {
    for form in FORMS {
        check_a_layer_that_doesnt_fit(form);
    }
}

fn check_a_layer_that_doesnt_fit(form: LayerForm) {
    let disk = SmallDisk::mount("8m");
    let store = open_at(disk.path(), form);
    let free = disk.free();
    let tar = layer_tar("big/file", &vec![1; 20 << 20]);
    let error = store
        .layers()
        .apply(
            tar.as_slice(),
            None,
            &Limits::default(),
            &mut |_| {},
            &store.lease(),
        )
        .unwrap_err();
    let ApplyError::Store(StoreError::NoSpace { path, .. }) = &error else {
        panic!("{error:?}")
    };
    let written = match form {
        LayerForm::Directories => "big/file",
        _ => "layer.erofs",
    };
    assert!(path.ends_with(written), "{path:?}");
    assert!(
        error.to_string().starts_with("no space left on device: "),
        "{error}"
    );
    store.wait_for_trash();
    assert_eq!(disk.free(), free);
    assert_eq!(store.layers().list().unwrap(), []);
    assert_eq!(
        (
            files(disk.path().join("layers")),
            files(disk.path().join("ingest"))
        ),
        (0, 0)
    );
    // What fits still works.
    support::apply(&store, &layer_tar("small", b"x"), &store.lease());
}

#[test]
fn many_files_that_dont_fit() {
    let disk = SmallDisk::mount("8m,nr_inodes=300");
    let store = open_at(disk.path(), LayerForm::Directories);
    let tar = many_files(1000);
    let error = store
        .layers()
        .apply(
            tar.as_slice(),
            None,
            &Limits::default(),
            &mut |_| {},
            &store.lease(),
        )
        .unwrap_err();
    assert!(
        matches!(&error, ApplyError::Store(StoreError::NoSpace { path, .. }) if path.to_str().unwrap().contains("/dir/")),
        "{error:?}"
    );
    store.wait_for_trash();
    assert_eq!(
        (
            files(disk.path().join("layers")),
            files(disk.path().join("ingest"))
        ),
        (0, 0)
    );
}

fn many_files(count: usize) -> Vec<u8> {
    let mut tar = Vec::new();
    for n in 0..count {
        let mut one = layer_tar(&format!("dir/{n}"), b"");
        one.truncate(one.len() - 1024);
        tar.extend(one);
    }
    tar
}

#[test]
fn metadata_that_dont_fit() {
    let disk = SmallDisk::mount("8m,nr_inodes=300");
    let store = open_at(disk.path(), LayerForm::Loop);
    // A file is one file, whatever is in it.
    support::apply(&store, &many_files(1000), &store.lease());
    store.collect().unwrap();
    store.wait_for_trash();
    let free = disk.free();
    // The archive just fits.
    let tar = many_files(usize::try_from(free / 512).unwrap() - 20);
    let limits = Limits::default();
    let error = store
        .layers()
        .apply(tar.as_slice(), None, &limits, &mut |_| {}, &store.lease())
        .unwrap_err();
    let ApplyError::Store(StoreError::NoSpace { path, .. }) = &error else {
        panic!("{error:?}")
    };
    assert!(path.ends_with("layer.erofs"), "{path:?}");
    store.wait_for_trash();
    assert_eq!(disk.free(), free);
    assert_eq!(store.layers().list().unwrap(), []);
}

#[test]
fn a_blob_that_doesnt_fit() {
    let disk = SmallDisk::mount("8m");
    let store = Store::open(disk.path()).unwrap();
    let lease = store.lease();
    let free = disk.free();
    let digest = Digest::sha256_of(b"anything");
    // Announced: refused before a byte is fetched.
    let error = store
        .content()
        .ingest(&digest, Some(100 << 20), &lease)
        .unwrap_err();
    assert!(matches!(&error, StoreError::NoSpace { .. }), "{error:?}");
    // Not announced: when it happens.
    let mut ingest = store.content().ingest(&digest, None, &lease).unwrap();
    let mut tail = ingest.tail().unwrap();
    let error = (0..100)
        .find_map(|_| ingest.write_all(&[1; 1 << 20]).err())
        .unwrap();
    assert!(
        matches!(&error, StoreError::NoSpace { path, .. } if path.starts_with(disk.path().join("ingest"))),
        "{error:?}"
    );
    drop(ingest);
    assert!(std::io::copy(&mut tail, &mut std::io::sink()).is_err());
    drop(tail);
    assert_eq!(disk.free(), free);
    let error = store.content().put(&vec![1; 20 << 20], &lease).unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
    assert_eq!(disk.free(), free);
    assert_eq!(store.content().list().unwrap(), []);
}

#[test]
fn a_commit_that_doesnt_fit_keeps_the_snapshot() {
    for form in FORMS {
        check_a_commit_that_doesnt_fit(form);
    }
}

fn check_a_commit_that_doesnt_fit(form: LayerForm) {
    let disk = SmallDisk::mount("8m");
    let store = open_at(disk.path(), form);
    let snapshot = store.snapshots().prepare("one", &[]).unwrap();
    let merged = store.snapshots().mount(&snapshot).unwrap();
    fs::write(merged.join("file"), vec![1; 5 << 20]).unwrap();
    let error = store
        .snapshots()
        .commit("one", havre_store::CommitMode::Copy, &store.lease())
        .unwrap_err();
    assert!(matches!(&error, StoreError::NoSpace { .. }), "{error:?}");
    store.wait_for_trash();
    assert_eq!(
        (
            files(disk.path().join("layers")),
            files(disk.path().join("ingest"))
        ),
        (0, 0)
    );
    assert_eq!(fs::metadata(merged.join("file")).unwrap().len(), 5 << 20);
    // Moving needs no room for the files.
    let layer = store
        .snapshots()
        .commit("one", havre_store::CommitMode::Move, &store.lease())
        .unwrap();
    assert_eq!(layer.size, 5 << 20);
}

/// Even to delete, the database writes: there must be room for that, and for opening the store again.
#[test]
fn a_disk_others_filled_can_be_cleaned_up() {
    let disk = SmallDisk::mount("64m");
    let ballast = |name: &str| {
        let mut file = fs::File::create(disk.path().join(name)).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    };
    let store = Store::open(disk.path()).unwrap();
    let layer = support::apply(&store, &layer_tar("file", &vec![1; 8 << 20]), &store.lease());
    let body = "x".repeat(1000);
    for id in 0..200 {
        store
            .meta()
            .put_document("thing", &id.to_string(), None, &body)
            .unwrap();
    }
    drop(store);
    // Without a journal that has room of its own from before.
    ballast("ballast");
    let store = Store::open(disk.path()).unwrap();
    for id in 0..200 {
        assert!(store.meta().delete_document("thing", &id.to_string()).unwrap());
    }
    let freed = store.collect().unwrap();
    assert_eq!(freed.layers, [layer.diff_id]);
    store.wait_for_trash();
    assert!(disk.free() >= 8 << 20);
    // What was laid aside is laid aside again as soon as there is room.
    fs::remove_file(disk.path().join("ballast")).unwrap();
    assert!(!disk.path().join("reserve").exists());
    store.collect().unwrap();
    assert!(disk.path().join("reserve").exists());
}
