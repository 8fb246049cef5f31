//! Giving images names.

use havre_oci::{Descriptor, Digest, Platform, Reference, media_type};
use havre_store::Image;

use crate::lookup::best;
use crate::{ImageError, ImageService};

impl ImageService {
    /// Makes `target` (default tag "latest"; a digest is refused) name the image `source` names, on all its platforms. Returns the
    /// image ID.
    pub async fn tag(&self, source: &str, target: &Reference) -> Result<Digest, ImageError> {
        if target.digest().is_some() {
            return Err(ImageError::TagWithDigest);
        }
        let (source, target) = (source.to_owned(), target.clone().with_default_tag());
        self.blocking(move |service| {
            let found = service.find(&source)?;
            let meta = service.store.meta();
            // An index goes with the images that came of it, for it tells which platforms there are besides.
            let row = match found.reference {
                Some(reference) if reference.digest().is_none() => meta.reference(&reference.canonical())?,
                _ => None,
            };
            let (others, index) = match row.filter(|row| row.image == found.image.id) {
                Some(row) => {
                    let is_index = |target: &Descriptor| media_type::is_index(&target.media_type);
                    (row.others, row.target.filter(is_index))
                }
                None => (Vec::new(), None),
            };
            let group = (&found.image.id, others.as_slice());
            meta.set_reference(&target.canonical(), group, index.as_ref(), "tag")?;
            Ok(found.image.id)
        })
        .await
    }

    /// Lets names (default tag "latest"; digests are refused) stand for images, each of another platform. The ID of the one that is
    /// meant when nobody says which: the host's, or the first.
    pub async fn join(&self, names: &[Reference], images: &[String]) -> Result<Digest, ImageError> {
        if names.iter().any(|name| name.digest().is_some()) {
            return Err(ImageError::TagWithDigest);
        }
        let names: Vec<Reference> = names.iter().map(|name| name.clone().with_default_tag()).collect();
        let images = images.to_vec();
        self.blocking(move |service| {
            let mut found: Vec<Image> = Vec::with_capacity(images.len());
            for name in &images {
                let image = service.find(name)?.image;
                let same = |other: &&Image| {
                    other.platform.clone().normalized() == image.platform.clone().normalized()
                };
                if let Some(other) = found.iter().find(same) {
                    return Err(ImageError::SamePlatform {
                        platform: image.platform.to_string(),
                        one: other.id.short().to_owned(),
                        other: image.id.short().to_owned(),
                    });
                }
                found.push(image);
            }
            let Some(first) = best(found.clone(), &Platform::host()).or_else(|| found.first().cloned())
            else {
                return Err(ImageError::NotFound(String::new()));
            };
            let others = found.into_iter().map(|image| image.id);
            let others: Vec<Digest> = others.filter(|id| *id != first.id).collect();
            let meta = service.store.meta();
            for name in &names {
                meta.set_reference(&name.canonical(), (&first.id, &others), None, "build")?;
            }
            Ok(first.id)
        })
        .await
    }
}
