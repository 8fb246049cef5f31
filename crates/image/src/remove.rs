use havre_oci::Digest;

use crate::{ImageError, ImageService};

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    pub image: Digest,
    /// The reference the container was created with, as the user wrote it.
    pub reference: String,
    /// Container ID (64 hex characters).
    pub container: String,
    pub running: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    pub force: bool,
    /// Keep untagged parents.
    pub no_prune: bool,
}

/// One line of `rmi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// "debian:latest" or "debian@sha256:…".
    Untagged(String),
    /// Image ID.
    Deleted(Digest),
}

impl ImageService {
    /// Removes a reference, and the image when it was its last, with Docker's rules. `in_use`: all containers.
    pub async fn remove(
        &self,
        name: &str,
        options: RemoveOptions,
        in_use: &[ImageUse],
    ) -> Result<Vec<Removed>, ImageError> {
        let _ = (name, options, in_use);
        todo!()
    }
}
