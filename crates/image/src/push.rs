use havre_oci::{Digest, Platform, Reference};
use havre_registry_client::Credentials;

use crate::{ImageError, ImageService, Progress};

#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// Every local tag of the repository (the reference must have none).
    pub all_tags: bool,
    /// The image must be of this platform.
    pub platform: Option<Platform>,
    pub credentials: Credentials,
}

/// One pushed tag (the `aux` object of Docker's push stream).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    pub tag: String,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Size of the manifest in bytes.
    pub size: u64,
}

impl ImageService {
    /// Pushes a tag, or all local tags of a repository. Emits Docker's lines, "TAG: digest: … size: …" last.
    pub async fn push(
        &self,
        reference: &Reference,
        options: &PushOptions,
        progress: &dyn Progress,
    ) -> Result<Vec<Pushed>, ImageError> {
        let _ = (reference, options, progress);
        todo!()
    }
}
