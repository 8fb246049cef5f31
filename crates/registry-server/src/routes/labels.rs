//! Labels of images that are pushed, by which their repositories are found.

use std::collections::BTreeMap;

use havre_oci::{Document, ImageConfig, MAX_CONFIG_SIZE, media_type};
use havre_registry_store::{RegistryStore, RepositoryName};

/// The labels of an image's configuration; none if it has none, or cannot be read.
pub(super) fn read(
    store: &RegistryStore,
    name: &RepositoryName,
    manifest: &[u8],
) -> BTreeMap<String, String> {
    found(store, name, manifest).unwrap_or_default()
}

fn found(store: &RegistryStore, name: &RepositoryName, manifest: &[u8]) -> Option<BTreeMap<String, String>> {
    let Document::Manifest(manifest) = Document::parse(manifest, None).ok()? else {
        return None;
    };
    if !media_type::is_config(&manifest.config.media_type) || manifest.config.size > MAX_CONFIG_SIZE {
        return None;
    }
    let blob = store.blob(name, &manifest.config.digest).ok()?;
    if blob.size > MAX_CONFIG_SIZE {
        return None;
    }
    let bytes = blob.read(0..blob.size).ok()?;
    let config = ImageConfig::parse(&bytes).ok()?;
    Some(config.config.labels)
}
