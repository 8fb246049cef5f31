//! Makers of stores, layers and images.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod entries;
pub(crate) mod trees;

use havre_oci::layer::{Entry, Kind, TarWriter};
use havre_oci::{Digest, Platform};
use havre_store::{Image, Layer, LayerForm, Lease, Limits, Store, StoreOptions};
use std::path::Path;

/// A store of its own, in a directory that goes with the test.
pub(crate) fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

/// The forms new layers may have; ways to mount them are the snapshotters' own business.
pub(crate) const FORMS: [LayerForm; 3] = [LayerForm::File, LayerForm::LoopAligned, LayerForm::Directories];

pub(crate) fn open_at(root: &Path, layers: LayerForm) -> Store {
    let options = StoreOptions {
        layers,
        ..StoreOptions::default()
    };
    Store::open_with(root, &options).unwrap()
}

/// An archive of one file.
pub(crate) fn layer_tar(path: &str, contents: &[u8]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    let entry = Entry {
        path: path.into(),
        mode: 0o644,
        size: contents.len() as u64,
        kind: Kind::File,
        ..Entry::default()
    };
    writer.entry(&entry, &mut &*contents).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn apply(store: &Store, tar: &[u8], lease: &Lease) -> Layer {
    let expected = Digest::sha256_of(tar);
    store
        .layers()
        .apply(tar, Some(&expected), &Limits::default(), &mut |_| {}, lease)
        .unwrap()
}

/// An image whose configuration is the text `config <name>`.
pub(crate) fn image(name: &str, layers: &[Digest]) -> Image {
    Image {
        id: Digest::sha256_of(format!("config {name}").as_bytes()),
        manifest: None,
        layers: layers.to_vec(),
        size: 0,
        created: Some("2024-05-06T07:08:09.123456789Z".parse().unwrap()),
        platform: Platform::host(),
        added: jiff::Timestamp::UNIX_EPOCH,
        last_used: None,
        parent: None,
    }
}

pub(crate) fn put_image(store: &Store, name: &str, layers: &[Digest], lease: &Lease) -> Image {
    let image = image(name, layers);
    assert_eq!(
        store
            .content()
            .put(format!("config {name}").as_bytes(), lease)
            .unwrap(),
        image.id
    );
    store.meta().put_image(&image).unwrap();
    image
}
