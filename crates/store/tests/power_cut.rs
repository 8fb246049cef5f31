//! What a power cut may leave of files that were never synced, and renames that came in another order than they were made:
//! after the machine's restart, whatever isn't as it was written is gone before anything can be mounted. Needs root (it
//! mounts).

#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::FileExt;
use std::path::Path;

use fs_err as fs;
use havre_oci::Digest;
use havre_store::{LayerForm, Store, StoreError};
use support::{FORMS, apply, layer_tar, open_at, put_image};

const TEXT: &[u8] = &[b'x'; 10_000];

/// Makes the store believe that the machine was restarted.
fn restart(root: &Path) {
    let stamp = fs::read_to_string(root.join("synced")).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let other = "00000000-0000-0000-0000-000000000000";
    fs::write(root.join("synced"), stamp.replace(boot.trim(), other)).unwrap();
}

/// Overwrites `length` bytes of a file with zeros, from the end if `offset` is negative.
fn tear(path: &Path, offset: i64, length: usize) {
    let file = fs::File::options().write(true).open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let offset = u64::try_from(offset).unwrap_or_else(|_| size - offset.unsigned_abs());
    file.file().write_all_at(&vec![0; length], offset).unwrap();
}

fn cut(path: &Path, by: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len().saturating_sub(by))
        .unwrap();
}

/// Ways in which a layer's directory comes to grief.
type Damage = fn(&Path);

fn damages(form: LayerForm) -> Vec<Damage> {
    let mut damages: Vec<Damage> = vec![|layer| fs::remove_dir_all(layer).unwrap()];
    match form {
        LayerForm::Directories => {
            damages.push(|layer| fs::write(layer.join("fs/bad"), "").unwrap());
            damages.push(|layer| cut(&layer.join("fs/bad"), 1));
            damages.push(|layer| fs::remove_file(layer.join("fs/bad")).unwrap());
        }
        _ => {
            damages.push(|layer| fs::remove_file(layer.join("layer.erofs")).unwrap());
            damages.push(|layer| cut(&layer.join("layer.erofs"), u64::MAX));
            damages.push(|layer| cut(&layer.join("layer.erofs"), 1));
            damages.push(|layer| cut(&layer.join("layer.erofs"), 4096));
            // The superblock; what comes before it, which is zero, may not be damaged by zeros.
            damages.push(|layer| tear(&layer.join("layer.erofs"), 1024, 512));
            // In a file, and in its metadata.
            damages.push(|layer| tear(&layer.join("layer.erofs"), 8192, 16));
            damages.push(match form {
                LayerForm::LoopAligned => |layer| tear(&layer.join("layer.erofs"), -4096, 256),
                _ => |layer| tear(&layer.join("layer.erofs"), -512, 512),
            });
            // The right size and nothing in it.
            damages.push(|layer| {
                let path = layer.join("layer.erofs");
                let size = fs::metadata(&path).unwrap().len() as usize;
                tear(&path, 0, size);
            });
        }
    }
    if form != LayerForm::File {
        damages.push(|layer| cut(&layer.join("recipe.zst"), 1));
        damages.push(|layer| tear(&layer.join("recipe.zst"), 8, 8));
        damages.push(|layer| fs::remove_file(layer.join("recipe.zst")).unwrap());
    }
    damages
}

fn layer_dir(root: &Path, diff_id: &Digest) -> std::path::PathBuf {
    root.join("layers").join(diff_id.hex())
}

#[test]
fn only_what_is_whole_stays() {
    for form in FORMS {
        for (n, damage) in damages(form).into_iter().enumerate() {
            check(form, n, damage);
        }
    }
}

fn check(form: LayerForm, n: usize, damage: Damage) {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path(), form);
    let lease = store.lease();
    let good = apply(&store, &layer_tar("good", TEXT), &lease).diff_id;
    let bad = apply(&store, &layer_tar("bad", TEXT), &lease).diff_id;
    let kept = put_image(&store, "good", std::slice::from_ref(&good), &lease);
    let lost = put_image(&store, "lost", &[good.clone(), bad.clone()], &lease);
    store
        .meta()
        .set_reference("docker.io/library/lost:1", (&lost.id, &[]), None, "tag")
        .unwrap();
    drop((lease, store));
    damage(&layer_dir(dir.path(), &bad));
    // The stamp of the last sync is older than both.
    let _ = fs::remove_file(dir.path().join("synced"));
    let store = open_at(dir.path(), LayerForm::Auto);
    let images: Vec<_> = store
        .meta()
        .images()
        .unwrap()
        .into_iter()
        .map(|image| image.id)
        .collect();
    assert_eq!(images, [kept.id], "{form}, damage {n}");
    assert_eq!(store.meta().references().unwrap(), []);
    assert_eq!(store.layers().list().unwrap().len(), 1);
    assert!(store.layers().find(&good).unwrap().is_some());
    let target = dir.path().join("view");
    fs::create_dir(&target).unwrap();
    let view = store.snapshots().view(&[good], &target).unwrap();
    assert_eq!(fs::read(view.path().join("good")).unwrap(), TEXT);
}

/// Two renames of which each got the other's directory.
#[test]
fn renames_that_were_confused() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let store = open_at(dir.path(), form);
        let lease = store.lease();
        let one = apply(&store, &layer_tar("one", TEXT), &lease).diff_id;
        let two = apply(&store, &layer_tar("two", TEXT), &lease).diff_id;
        put_image(&store, "both", &[one.clone(), two.clone()], &lease);
        drop((lease, store));
        let [one, two] = [one, two].map(|diff_id| layer_dir(dir.path(), &diff_id));
        let aside = dir.path().join("aside");
        fs::rename(&one, &aside).unwrap();
        fs::rename(&two, &one).unwrap();
        fs::rename(&aside, &two).unwrap();
        let _ = fs::remove_file(dir.path().join("synced"));
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.layers().list().unwrap(), [], "{form}");
        assert_eq!(store.meta().images().unwrap(), []);
    }
}

/// Damage that no restart explains is reported when the layer is needed.
#[test]
fn a_file_of_another_size_is_never_mounted() {
    for form in [LayerForm::File, LayerForm::LoopAligned] {
        let dir = tempfile::tempdir().unwrap();
        let store = open_at(dir.path(), form);
        let lease = store.lease();
        let layer = apply(&store, &layer_tar("file", TEXT), &lease).diff_id;
        let path = layer_dir(dir.path(), &layer).join("layer.erofs");
        for by in [1, u64::MAX] {
            cut(&path, by);
            let snapshot = store
                .snapshots()
                .prepare("one", std::slice::from_ref(&layer))
                .unwrap();
            let error = store.snapshots().mount(&snapshot).unwrap_err();
            assert!(
                matches!(&error, StoreError::Corrupt { path: named, .. } if *named == path),
                "{error:?}"
            );
            assert!(store.layers().tar(&layer).is_err());
            store.snapshots().remove("one").unwrap();
        }
    }
}

#[test]
fn content_is_verified_once_after_a_restart() {
    let (dir, store) = support::open();
    let blob = store.content().put(b"torn", &store.lease()).unwrap();
    drop(store);
    let path = dir
        .path()
        .join("content/sha256")
        .join(&blob.hex()[..2])
        .join(blob.hex());
    fs::write(path, "").unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(store.content().contains(&blob), "same boot: nothing is in doubt");
    drop(store);
    restart(dir.path());
    let store = Store::open(dir.path()).unwrap();
    assert!(!store.content().contains(&blob));
}
