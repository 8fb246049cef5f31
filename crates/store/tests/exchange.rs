//! Layers that get other files: conversion, checks, repair, and crashes in between. Needs root (it mounts).

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fs_err as fs;
use havre_oci::Digest;
use havre_store::{
    ApplyError, Checked, Converted, Damage, Form, Layer, LayerForm, Store, StoreError, StoreOptions, Verify,
};
use support::{FORMS, apply, layer_tar, open_at, put_image};

fn layer_dir(root: &Path, layer: &Digest) -> std::path::PathBuf {
    root.join("layers").join(layer.hex())
}

/// A store with one image of one layer, closed.
fn prepared(root: &Path, form: LayerForm) -> (Vec<u8>, Layer) {
    let tar = layer_tar("etc/file", &[b'x'; 20_000]);
    let store = open_at(root, form);
    let lease = store.lease();
    let layer = apply(&store, &tar, &lease);
    put_image(&store, "one", std::slice::from_ref(&layer.diff_id), &lease);
    (tar, layer)
}

fn archive(store: &Store, layer: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    store
        .layers()
        .tar(layer)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn reads(store: &Store, root: &Path, layer: &Digest) -> String {
    let target = root.join("view");
    fs::create_dir_all(&target).unwrap();
    let view = store
        .snapshots()
        .view(std::slice::from_ref(layer), &target)
        .unwrap();
    fs::read_to_string(view.path().join("etc/file")).unwrap()
}

#[test]
fn every_form_becomes_every_other_with_the_same_archive_and_files() {
    for from in FORMS {
        for to in FORMS {
            let dir = tempfile::tempdir().unwrap();
            let (tar, layer) = prepared(dir.path(), from);
            let store = open_at(dir.path(), to);
            let lease = store.lease();
            let converted = store.layers().convert(&layer.diff_id, &mut |_| {}).unwrap();
            let expected = if from == to {
                Converted::Already
            } else {
                Converted::Done
            };
            assert_eq!(converted, expected, "{from} to {to}");
            assert_eq!(archive(&store, &layer.diff_id), tar);
            assert_eq!(reads(&store, dir.path(), &layer.diff_id).len(), 20_000);
            assert_eq!(store.layers().check(&layer.diff_id, &mut |_| {}).unwrap(), None);
            let again = store.layers().convert(&layer.diff_id, &mut |_| {}).unwrap();
            assert_eq!(again, Converted::Already);
            drop((lease, store));
            let store = open_at(dir.path(), to);
            assert_eq!(reads(&store, dir.path(), &layer.diff_id).len(), 20_000);
        }
    }
}

#[test]
fn a_directory_under_something_mounted_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (_, layer) = prepared(dir.path(), LayerForm::Directories);
    let store = open_at(dir.path(), LayerForm::File);
    let snapshot = store
        .snapshots()
        .prepare("box", std::slice::from_ref(&layer.diff_id))
        .unwrap();
    let merged = store.snapshots().mount(&snapshot).unwrap();
    let convert = || store.layers().convert(&layer.diff_id, &mut |_| {}).unwrap();
    assert_eq!(convert(), Converted::InUse);
    assert_eq!(fs::read(merged.join("etc/file")).unwrap().len(), 20_000);
    store.snapshots().unmount("box").unwrap();
    assert_eq!(convert(), Converted::Done);
    store.snapshots().mount(&snapshot).unwrap();
    assert_eq!(fs::read(merged.join("etc/file")).unwrap().len(), 20_000);
    store.snapshots().unmount("box").unwrap();
}

#[test]
fn a_directory_that_is_being_read_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (tar, layer) = prepared(dir.path(), LayerForm::Directories);
    let store = open_at(dir.path(), LayerForm::File);
    let convert = || store.layers().convert(&layer.diff_id, &mut |_| {}).unwrap();
    let mut reader = store.layers().tar(&layer.diff_id).unwrap();
    let mut start = [0; 100];
    reader.read_exact(&mut start).unwrap();
    let tree = store.layers().tree(&layer.diff_id).unwrap();
    assert_eq!(convert(), Converted::InUse);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!([&start[..], &rest].concat(), tar);
    drop(reader);
    assert_eq!(convert(), Converted::InUse);
    assert!(tree.open_file(b"etc/file").unwrap().is_some());
    drop(tree);
    assert_eq!(convert(), Converted::Done);
    assert_eq!(archive(&store, &layer.diff_id), tar);
}

#[test]
fn damage_is_found_and_repaired_even_under_a_running_container() {
    type Change = fn(&fs::File);
    type Expected = fn(&Damage) -> bool;
    let changes: [(Change, Expected); 3] = [
        (
            |file| file.file().write_all_at(b"y", 4096 + 512 + 100).unwrap(),
            |damage| matches!(damage, Damage::Contents(_)),
        ),
        (
            |file| {
                let end = file.metadata().unwrap().len();
                file.file().write_all_at(&[0xff; 8], end - 200).unwrap();
            },
            |damage| *damage == Damage::Metadata,
        ),
        (
            |file| file.set_len(5000).unwrap(),
            |damage| matches!(damage, Damage::Unreadable(_)),
        ),
    ];
    for (change, is_expected) in changes {
        let dir = tempfile::tempdir().unwrap();
        let (tar, layer) = prepared(dir.path(), LayerForm::File);
        let store = open_at(dir.path(), LayerForm::File);
        let lease = store.lease();
        let snapshot = store
            .snapshots()
            .prepare("box", std::slice::from_ref(&layer.diff_id))
            .unwrap();
        let merged = store.snapshots().mount(&snapshot).unwrap();
        let path = layer_dir(dir.path(), &layer.diff_id).join("layer.erofs");
        change(&fs::File::options().write(true).open(path).unwrap());
        let damage = store.layers().check(&layer.diff_id, &mut |_| {}).unwrap();
        assert!(damage.as_ref().is_some_and(is_expected), "{damage:?}");

        let other = layer_tar("etc/file", b"other");
        let refused = store
            .layers()
            .replace(&*other, &layer.diff_id, &mut |_| {}, &lease);
        assert!(refused.is_err(), "another archive is no repair");
        store
            .layers()
            .replace(&*tar, &layer.diff_id, &mut |_| {}, &lease)
            .unwrap();
        assert_eq!(store.layers().check(&layer.diff_id, &mut |_| {}).unwrap(), None);
        store.snapshots().unmount("box").unwrap();
        store.snapshots().mount(&snapshot).unwrap();
        assert_eq!(fs::read(merged.join("etc/file")).unwrap(), [b'x'; 20_000]);
        store.snapshots().unmount("box").unwrap();
    }
}

/// What a kill leaves between the exchange of the directories and the row.
#[test]
fn an_exchange_that_was_cut_off_is_completed_or_the_layer_is_lost_never_wrong() {
    for torn in [false, true] {
        let [old, new] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let (tar, layer) = prepared(old.path(), LayerForm::Directories);
        prepared(new.path(), LayerForm::File);
        let form = open_at(new.path(), LayerForm::File)
            .layers()
            .get(&layer.diff_id)
            .unwrap()
            .form;
        let Form::Tar(file) = form else { panic!("{form:?}") };
        let (from, to) = (
            layer_dir(new.path(), &layer.diff_id),
            layer_dir(old.path(), &layer.diff_id),
        );
        let _ = havre_sys::mount::unmount(&from.join("fs"), true);
        fs::remove_dir_all(&to).unwrap();
        fs::rename(&from, &to).unwrap();
        let note = format!(
            r#"{{"form":"tar","size":{},"metadata-offset":{},"metadata":"{}"}}"#,
            file.size, file.metadata_offset, file.metadata
        );
        fs::write(to.join("form.json"), note).unwrap();
        if torn {
            let image = fs::File::options()
                .write(true)
                .open(to.join("layer.erofs"))
                .unwrap();
            image.file().write_all_at(b"y", 4096 + 512 + 100).unwrap();
        }
        let store = open_at(old.path(), LayerForm::File);
        if torn {
            let error = store.layers().get(&layer.diff_id).unwrap_err();
            assert!(matches!(error, StoreError::LayerNotFound { .. }), "{error:?}");
            assert!(store.meta().images().unwrap().is_empty());
        } else {
            assert_eq!(archive(&store, &layer.diff_id), tar);
            assert_eq!(reads(&store, old.path(), &layer.diff_id).len(), 20_000);
        }
    }
}

fn examine(store: &Store, layer: &Digest) -> Checked {
    store
        .layers()
        .examine(layer, &mut |_| ControlFlow::Continue(()))
        .unwrap()
}

#[test]
fn what_is_missing_is_named_and_comes_back() {
    for form in FORMS {
        for whole_directory in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (tar, layer) = prepared(dir.path(), form);
            let store = open_at(dir.path(), form);
            let lease = store.lease();
            let path = layer_dir(dir.path(), &layer.diff_id);
            let (file, name) = match form {
                LayerForm::Directories => (path.join("fs/etc/file"), "fs/etc/file"),
                _ => (path.join("layer.erofs"), "layer.erofs is missing"),
            };
            if whole_directory {
                fs::remove_dir_all(&path).unwrap();
            } else {
                fs::remove_file(file).unwrap();
            }
            let Checked::Damaged(damage) = examine(&store, &layer.diff_id) else {
                panic!("{form}: not found");
            };
            let named = whole_directory || damage.to_string().contains(name);
            assert!(named, "{form}: {damage}");
            assert_eq!(store.layers().find_sound(&layer.diff_id).unwrap(), None);
            // Whoever brings the layer again, knowing its digest or not, replaces it.
            let expected = Some(&layer.diff_id).filter(|_| whole_directory);
            store
                .layers()
                .apply(
                    &*tar,
                    expected,
                    &havre_store::Limits::default(),
                    &mut |_| {},
                    &lease,
                )
                .unwrap();
            assert_eq!(examine(&store, &layer.diff_id), Checked::Intact, "{form}");
            assert!(store.layers().find_sound(&layer.diff_id).unwrap().is_some());
            assert_eq!(archive(&store, &layer.diff_id), tar);
            assert_eq!(reads(&store, dir.path(), &layer.diff_id).len(), 20_000);
        }
    }
}

#[test]
fn a_damaged_layer_that_was_removed_comes_back_sound() {
    let dir = tempfile::tempdir().unwrap();
    let (tar, layer) = prepared(dir.path(), LayerForm::Directories);
    let store = open_at(dir.path(), LayerForm::Directories);
    fs::write(
        layer_dir(dir.path(), &layer.diff_id).join("fs/etc/file"),
        [b'y'; 20_000],
    )
    .unwrap();
    assert!(matches!(examine(&store, &layer.diff_id), Checked::Damaged(_)));
    let image = store.meta().images().unwrap().remove(0);
    store.remove_image(&image.id).unwrap();
    let lease = store.lease();
    apply(&store, &tar, &lease);
    assert!(store.layers().find_sound(&layer.diff_id).unwrap().is_some());
}

#[test]
fn a_check_hinders_nobody_and_can_be_ended() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path(), LayerForm::File);
    let lease = store.lease();
    let tar = layer_tar("large", &vec![b'x'; 40 << 20]);
    let layer = apply(&store, &tar, &lease);
    let image = put_image(&store, "one", std::slice::from_ref(&layer.diff_id), &lease);
    drop(lease);
    let stopped = store
        .layers()
        .examine(&layer.diff_id, &mut |_| ControlFlow::Break(()))
        .unwrap();
    assert_eq!(stopped, Checked::Stopped);

    let mut removed = false;
    let mut last = 0;
    let checked = store
        .layers()
        .examine(&layer.diff_id, &mut |done| {
            if !removed {
                removed = true;
                let freed = store.remove_image(&image.id).unwrap();
                assert_eq!(
                    freed.layers,
                    std::slice::from_ref(&layer.diff_id),
                    "the check does not hold it"
                );
            }
            last = done;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(checked, Checked::Gone);
    assert!(last < 40 << 20, "it went on reading a layer that is gone");
    assert_eq!(examine(&store, &layer.diff_id), Checked::Gone);
}

#[test]
fn a_layer_replaced_while_it_is_checked_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (tar, layer) = prepared(dir.path(), LayerForm::Directories);
    let store = open_at(dir.path(), LayerForm::File);
    let lease = store.lease();
    fs::write(
        layer_dir(dir.path(), &layer.diff_id).join("fs/etc/file"),
        [b'y'; 20_000],
    )
    .unwrap();
    let mut replaced = false;
    let checked = store
        .layers()
        .examine(&layer.diff_id, &mut |_| {
            if !std::mem::replace(&mut replaced, true) {
                store
                    .layers()
                    .replace(&*tar, &layer.diff_id, &mut |_| {}, &lease)
                    .unwrap();
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(checked, Checked::Intact);
}

#[test]
fn a_layer_whose_image_goes_while_it_is_converted_goes_too() {
    let dir = tempfile::tempdir().unwrap();
    let (_, layer) = prepared(dir.path(), LayerForm::Directories);
    let store = open_at(dir.path(), LayerForm::File);
    let before = store.layers().disk_usage(&layer).unwrap();
    assert!(before >= 20_000, "{before}");
    let image = store.meta().images().unwrap().remove(0);
    let mut removed = false;
    let outcome = store.layers().convert(&layer.diff_id, &mut |_| {
        if !std::mem::replace(&mut removed, true) {
            store.remove_image(&image.id).unwrap();
        }
    });
    assert!(removed);
    assert!(matches!(outcome, Ok(Converted::Done)), "{outcome:?}");
    assert_eq!(store.layers().find(&layer.diff_id).unwrap(), None);
}

#[test]
fn a_damaged_layer_is_not_converted() {
    let dir = tempfile::tempdir().unwrap();
    let (_, layer) = prepared(dir.path(), LayerForm::Directories);
    let store = open_at(dir.path(), LayerForm::File);
    fs::write(
        layer_dir(dir.path(), &layer.diff_id).join("fs/etc/file"),
        [b'y'; 20_000],
    )
    .unwrap();
    let error = store.layers().convert(&layer.diff_id, &mut |_| {}).unwrap_err();
    assert!(matches!(error, ApplyError::DiffIdMismatch { .. }), "{error:?}");
    assert_eq!(store.layers().get(&layer.diff_id).unwrap().form, Form::Directory);
}

#[test]
fn blobs_are_checked_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_at(dir.path(), LayerForm::Directories);
    let lease = store.lease();
    let content = store.content();
    let digest = content.put(b"a document", &lease).unwrap();
    let look = || {
        content
            .examine(&digest, &mut |_| ControlFlow::Continue(()))
            .unwrap()
    };
    assert_eq!(look(), Checked::Intact);
    let path = content.open(&digest).unwrap().path().to_path_buf();
    fs::write(&path, "another one").unwrap();
    let actual = Digest::sha256_of(b"another one");
    assert_eq!(look(), Checked::Damaged(Damage::Contents(actual)));
    assert!(content.replace(&digest, b"another one", &lease).is_err());
    content.replace(&digest, b"a document", &lease).unwrap();
    assert_eq!(look(), Checked::Intact);
    assert!(!content.give_up(&digest).unwrap(), "it is leased");
    drop(lease);
    assert!(content.give_up(&digest).unwrap());
    assert_eq!(look(), Checked::Gone);
}

/// Where the file system has fs-verity, everything works with it; where not, such a store isn't opened and says why.
#[test]
fn verified_reads_are_had_or_refused() {
    let open = |root: &Path, layers| {
        let options = StoreOptions {
            layers,
            verify: Verify::Read,
        };
        Store::open_with(root, &options)
    };
    let dir = tempfile::tempdir().unwrap();
    let refused = open(dir.path(), LayerForm::Directories).map(drop).unwrap_err();
    assert!(
        refused.to_string().contains("only layers that are files"),
        "{refused}"
    );
    // A store with layers of before.
    let (tar, layer) = prepared(dir.path(), LayerForm::Auto);
    let (_, other) = {
        let store = open_at(dir.path(), LayerForm::Directories);
        let lease = store.lease();
        let tar = layer_tar("etc/other", b"other");
        let layer = apply(&store, &tar, &lease);
        put_image(&store, "two", std::slice::from_ref(&layer.diff_id), &lease);
        (tar, layer)
    };
    let store = match open(dir.path(), LayerForm::Auto) {
        Ok(store) => store,
        Err(refused) => {
            assert!(matches!(refused, StoreError::Verification { .. }), "{refused:?}");
            assert!(refused.to_string().contains("fs-verity"), "{refused}");
            // Not even the lock is left.
            assert_eq!(
                examine(&open_at(dir.path(), LayerForm::Auto), &layer.diff_id),
                Checked::Intact
            );
            return;
        }
    };
    let image = layer_dir(dir.path(), &layer.diff_id).join("layer.erofs");
    let measure = || havre_sys::verity::measure(&image).unwrap();
    assert_eq!(measure(), None);
    assert_eq!(reads(&store, dir.path(), &layer.diff_id).len(), 20_000);
    let measured = measure().expect("the first mount protects it");
    assert!(fs::OpenOptions::new().write(true).open(&image).is_err());

    // Directories are refused until they are converted.
    let target = dir.path().join("target");
    fs::create_dir(&target).unwrap();
    let view = || {
        store
            .snapshots()
            .view(std::slice::from_ref(&other.diff_id), &target)
    };
    let error = view().unwrap_err();
    assert!(matches!(error, StoreError::Unverified { .. }), "{error:?}");
    assert!(error.to_string().contains("system migrate"), "{error}");
    assert!(store.allow_form(LayerForm::Directories).is_err());
    store.layers().convert(&other.diff_id, &mut |_| {}).unwrap();
    assert_eq!(
        fs::read(view().unwrap().path().join("etc/other")).unwrap(),
        b"other"
    );

    // A file in its place that the kernel doesn't verify isn't mounted before it was found right, and noticed.
    let lease = store.lease();
    store
        .layers()
        .replace(&*tar, &layer.diff_id, &mut |_| {}, &lease)
        .unwrap();
    assert_eq!(
        measure(),
        Some(measured.clone()),
        "the same layer is the same file"
    );
    let bytes = fs::read(&image).unwrap();
    fs::remove_file(&image).unwrap();
    fs::write(&image, &bytes).unwrap();
    assert_eq!(
        examine(&store, &layer.diff_id),
        Checked::Damaged(Damage::Unprotected)
    );
    assert_eq!(reads(&store, dir.path(), &layer.diff_id).len(), 20_000);
    assert_eq!(measure(), Some(measured));
    assert_eq!(examine(&store, &layer.diff_id), Checked::Intact);
    // And never, if it is wrong.
    fs::remove_file(&image).unwrap();
    let mut wrong = bytes;
    wrong[4096 + 512 + 100] ^= 1;
    fs::write(&image, &wrong).unwrap();
    store
        .snapshots()
        .view(std::slice::from_ref(&layer.diff_id), &target)
        .map(drop)
        .unwrap_err();
    // Build steps are files at once.
    let snapshot = store.snapshots().prepare("step", &[]).unwrap();
    fs::write(snapshot.upper.join("made"), "here").unwrap();
    let step = store
        .snapshots()
        .commit("step", havre_store::CommitMode::Move, &lease)
        .unwrap();
    assert_ne!(step.form, Form::Directory);
    let view = store
        .snapshots()
        .view(std::slice::from_ref(&step.diff_id), &target)
        .unwrap();
    assert_eq!(fs::read(view.path().join("made")).unwrap(), b"here");
}
