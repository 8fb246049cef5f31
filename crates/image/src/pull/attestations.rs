//! What an index says of an image besides: where it came from, and of what it consists (BuildKit's attestations). They are kept with
//! the image, so that a push of it has them.

use havre_oci::{Digest, Document};
use havre_registry_client::Repository;
use havre_store::Lease;

use super::Selected;
use crate::{ImageError, ImageService};

/// Bytes of one statement: what is larger stays at the registry.
const MAX_STATEMENT: u64 = 32 << 20;
/// Manifests about one image.
const MAX_ATTESTATIONS: usize = 16;

impl ImageService {
    /// Fetches the attestations of the selected image; the digests of all their parts. An image without them is as good as before, so
    /// what cannot be had is left.
    pub(super) async fn pull_attestations(
        &self,
        repository: &Repository,
        selected: &Selected,
        lease: &Lease,
    ) -> Vec<Digest> {
        let Document::Index(index) = &selected.top.document else {
            return Vec::new();
        };
        let image = &selected.image_manifest().descriptor.digest;
        let about = index.manifests.iter().filter(|descriptor| {
            descriptor.is_attestation() && descriptor.subject_of_attestation().as_ref() == Some(image)
        });
        let mut kept = Vec::new();
        for descriptor in about.take(MAX_ATTESTATIONS) {
            match self.pull_attestation(repository, &descriptor.digest, lease).await {
                Ok(parts) => kept.extend(parts),
                Err(error) => {
                    tracing::warn!(attestation = %descriptor.digest, %error, "an attestation is not kept");
                }
            }
        }
        kept
    }

    async fn pull_attestation(
        &self,
        repository: &Repository,
        digest: &Digest,
        lease: &Lease,
    ) -> Result<Vec<Digest>, ImageError> {
        let resolved = repository.resolve(digest.as_str()).await?;
        let Document::Manifest(manifest) = &resolved.document else {
            return Ok(Vec::new());
        };
        let mut parts = Vec::new();
        for part in manifest.layers.iter().chain([&manifest.config]) {
            parts.push(part.digest.clone());
            if !self.store.content().contains(&part.digest) {
                let bytes = repository.read_blob(part, MAX_STATEMENT).await?;
                self.keep_part(part.digest.clone(), bytes, lease).await?;
            }
            lease.hold(&part.digest);
        }
        self.keep_part(digest.clone(), resolved.bytes, lease).await?;
        parts.push(digest.clone());
        Ok(parts)
    }

    async fn keep_part(&self, digest: Digest, bytes: Vec<u8>, lease: &Lease) -> Result<(), ImageError> {
        let lease = lease.clone();
        self.blocking(move |service| service.put_named(&digest, &bytes, &lease))
            .await
    }
}
