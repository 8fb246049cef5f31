use havre_oci::{Digest, ImageConfig, Reference};
use havre_store::{Image, Lease};

use crate::{ImageError, ImageService};

/// A new image from layers that are already in the store (build, commit).
#[derive(Debug, Clone)]
pub struct CreateImage {
    /// Recorded as parent (Docker's `Parent`).
    pub parent: Option<Digest>,
    /// Diff IDs from the bottom, all layers, those of the base included.
    pub layers: Vec<Digest>,
    /// `rootfs` is set from `layers`; everything else is taken as it is.
    pub config: ImageConfig,
    pub tags: Vec<Reference>,
    /// What made it, for the history of the references ("build", "commit").
    pub command: String,
}

impl ImageService {
    /// Writes the configuration, the image and its references in one step. `lease` holds the layers meanwhile.
    pub async fn create_from(&self, request: CreateImage, lease: &Lease) -> Result<Image, ImageError> {
        let _ = (request, lease);
        todo!()
    }
}
