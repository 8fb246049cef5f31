//! Giving images names.

use havre_oci::{Digest, Reference};

use crate::{ImageError, ImageService};

impl ImageService {
    /// Makes `target` (default tag "latest"; a digest is refused) name the image `source` names. Returns the image ID.
    pub async fn tag(&self, source: &str, target: &Reference) -> Result<Digest, ImageError> {
        if target.digest().is_some() {
            return Err(ImageError::TagWithDigest);
        }
        let (source, target) = (source.to_owned(), target.clone().with_default_tag());
        self.blocking(move |service| {
            let image = service.find(&source)?.image;
            service
                .store
                .meta()
                .set_reference(&target.canonical(), &image.id, None, "tag")?;
            Ok(image.id)
        })
        .await
    }
}
