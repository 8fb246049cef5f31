//! The bytes of blobs: the one place that asks the store for them.

use havre_oci::Digest;
use havre_registry_store::{Contents, RegistryStore, RepositoryName, StoreError};

/// Opens a repository's blob to be read from its beginning; with its bytes.
pub(crate) fn open(
    store: &RegistryStore,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<(u64, Contents), StoreError> {
    let blob = store.blob(name, digest)?;
    Ok((blob.size, blob.open(0..blob.size)?))
}
