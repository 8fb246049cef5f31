use havre_oci::Digest;
use havre_oci::Reference;

use crate::{ImageError, ImageService};

impl ImageService {
    /// Makes `target` (default tag "latest"; a digest is refused) name the image `source` names. Returns the image ID.
    pub async fn tag(&self, source: &str, target: &Reference) -> Result<Digest, ImageError> {
        let _ = (source, target);
        todo!()
    }
}
