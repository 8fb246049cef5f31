use havre_oci::{Descriptor, Digest, ImageConfig};
use jiff::Timestamp;

use crate::{ImageError, ImageService};

/// Everything about one image.
#[derive(Debug, Clone)]
pub struct Inspect {
    pub id: Digest,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub parent: Option<Digest>,
    pub comment: String,
    pub config: ImageConfig,
    pub size: u64,
    /// Diff IDs from the bottom.
    pub layers: Vec<Digest>,
    /// The manifest the image came with, if it was pulled or loaded with one.
    pub manifest: Option<Descriptor>,
    pub last_tagged: Option<Timestamp>,
}

impl ImageService {
    pub async fn inspect(&self, name: &str) -> Result<Inspect, ImageError> {
        let _ = name;
        todo!()
    }
}
