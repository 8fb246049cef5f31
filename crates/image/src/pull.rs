use havre_oci::{Digest, Platform, Reference};
use havre_registry_client::Credentials;

use crate::{ImageError, ImageService, Progress};

#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Wanted platform; the host's when `None`.
    pub platform: Option<Platform>,
    /// Every tag of the repository (the reference must have none).
    pub all_tags: bool,
    pub credentials: Credentials,
}

/// A pulled image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Image ID.
    pub image: Digest,
    /// Digest of the manifest or index the reference resolved to.
    pub digest: Digest,
    /// The reference as pulled, with its tag or digest.
    pub reference: Reference,
    /// Nothing was newer.
    pub up_to_date: bool,
}

impl ImageService {
    /// Pulls an image; one result per tag (several with `all_tags`). Emits Docker's progress lines, the last of which are
    /// "Digest: …" and "Status: …".
    pub async fn pull(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: &dyn Progress,
    ) -> Result<Vec<Pulled>, ImageError> {
        let _ = (reference, options, progress);
        todo!()
    }
}
