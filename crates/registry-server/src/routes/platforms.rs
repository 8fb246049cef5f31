//! What an image runs on, and how large it is there.

use havre_oci::{Document, ImageConfig, MAX_CONFIG_SIZE, Manifest, Platform, media_type};
use havre_registry_store::{Identifier, RegistryStore, RepositoryName, StoreError, Stored};
use serde_json::{Value, json};

/// The images of a tag, as Docker Hub lists them: one, or those of an index; attestations are none.
pub(super) fn of(
    store: &RegistryStore,
    name: &RepositoryName,
    stored: &Stored,
) -> Result<Vec<Value>, StoreError> {
    let Some((_, document)) = read(store, name, &Identifier::Digest(stored.digest.clone()))? else {
        return Ok(Vec::new());
    };
    let mut images = Vec::new();
    match document {
        Document::Manifest(manifest) => {
            images.push(image(stored, platform(store, name, &manifest), &manifest))
        }
        Document::Index(index) => {
            for named in index.manifests.iter().filter(|named| !named.is_attestation()) {
                let inner = read(store, name, &Identifier::Digest(named.digest.clone()))?;
                let Some((inner, Document::Manifest(manifest))) = inner else {
                    continue;
                };
                let platform = named
                    .platform
                    .clone()
                    .or_else(|| platform(store, name, &manifest));
                images.push(image(&inner, platform, &manifest));
            }
        }
    }
    Ok(images)
}

fn read(
    store: &RegistryStore,
    name: &RepositoryName,
    wanted: &Identifier,
) -> Result<Option<(Stored, Document)>, StoreError> {
    match store.manifest(name, wanted) {
        Ok((stored, bytes)) => {
            let document = Document::parse(&bytes, Some(&stored.media_type)).ok();
            Ok(document.map(|document| (stored, document)))
        }
        Err(StoreError::ManifestUnknown(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the configuration says; charts and the like have none.
fn platform(store: &RegistryStore, name: &RepositoryName, manifest: &Manifest) -> Option<Platform> {
    if !media_type::is_config(&manifest.config.media_type) {
        return None;
    }
    let blob = store.blob(name, &manifest.config.digest).ok()?;
    if blob.size > MAX_CONFIG_SIZE {
        return None;
    }
    let config = ImageConfig::parse(&blob.read(0..blob.size).ok()?).ok()?;
    Some(config.platform())
}

fn image(stored: &Stored, platform: Option<Platform>, manifest: &Manifest) -> Value {
    let layers = manifest.layers.iter().map(|layer| layer.size);
    json!({
        "digest": stored.digest,
        "architecture": platform.as_ref().map(|one| &one.architecture),
        "os": platform.as_ref().map(|one| &one.os),
        "variant": platform.as_ref().map(|one| &one.variant).filter(|variant| !variant.is_empty()),
        "size": layers.fold(0, u64::saturating_add),
        "status": "active",
    })
}
