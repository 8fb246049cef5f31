//! Layers that get other files: conversion, checks, repair, and crashes in between. Needs root (it mounts).

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fs_err as fs;
use havre_oci::Digest;
use havre_store::{Converted, Damage, Form, Layer, LayerForm, Store, StoreError};
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
            let converted = store
                .layers()
                .convert(&layer.diff_id, &mut |_| {}, &lease)
                .unwrap();
            let expected = if from == to {
                Converted::Already
            } else {
                Converted::Done
            };
            assert_eq!(converted, expected, "{from} to {to}");
            assert_eq!(archive(&store, &layer.diff_id), tar);
            assert_eq!(reads(&store, dir.path(), &layer.diff_id).len(), 20_000);
            assert_eq!(store.layers().check(&layer.diff_id, &mut |_| {}).unwrap(), None);
            let again = store
                .layers()
                .convert(&layer.diff_id, &mut |_| {}, &lease)
                .unwrap();
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
    let lease = store.lease();
    let snapshot = store
        .snapshots()
        .prepare("box", std::slice::from_ref(&layer.diff_id))
        .unwrap();
    let merged = store.snapshots().mount(&snapshot).unwrap();
    let convert = || {
        store
            .layers()
            .convert(&layer.diff_id, &mut |_| {}, &lease)
            .unwrap()
    };
    assert_eq!(convert(), Converted::InUse);
    assert_eq!(fs::read(merged.join("etc/file")).unwrap().len(), 20_000);
    store.snapshots().unmount("box").unwrap();
    assert_eq!(convert(), Converted::Done);
    store.snapshots().mount(&snapshot).unwrap();
    assert_eq!(fs::read(merged.join("etc/file")).unwrap().len(), 20_000);
    store.snapshots().unmount("box").unwrap();
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
