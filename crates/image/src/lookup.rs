use havre_store::Image;

use crate::{ImageError, ImageService};

impl ImageService {
    /// The image a user names: a reference, an ID, `sha256:` ID, or an ID prefix, with Docker's precedence: full ID,
    /// reference (default tag "latest"), ID prefix.
    pub async fn resolve(&self, name: &str) -> Result<Image, ImageError> {
        let _ = name;
        todo!()
    }
    /// The configuration of an image.
    pub async fn config(&self, image: &havre_oci::Digest) -> Result<havre_oci::ImageConfig, ImageError> {
        let _ = image;
        todo!()
    }
}
