//! From what people write to an image.

use havre_oci::{Digest, ImageConfig, MAX_CONFIG_SIZE, Reference};
use havre_store::{Image, Lookup};

use crate::{ImageError, ImageService};

/// An image, and how it was named.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) image: Image,
    /// The reference, when it was found by one and not by its ID.
    pub(crate) reference: Option<Reference>,
}

impl ImageService {
    /// The image a user names: a reference, an ID, `sha256:` ID, or an ID prefix, with Docker's precedence: full ID,
    /// reference (default tag "latest"), ID prefix.
    pub async fn resolve(&self, name: &str) -> Result<Image, ImageError> {
        let name = name.to_owned();
        self.blocking(move |service| Ok(service.find(&name)?.image)).await
    }

    /// The configuration of an image.
    pub async fn config(&self, image: &Digest) -> Result<ImageConfig, ImageError> {
        let image = image.clone();
        self.blocking(move |service| service.read_config(&image)).await
    }

    pub(crate) fn read_config(&self, image: &Digest) -> Result<ImageConfig, ImageError> {
        let bytes = self.store.content().read(image, MAX_CONFIG_SIZE)?;
        ImageConfig::parse(&bytes).map_err(|source| ImageError::Config {
            reference: image.to_string(),
            source,
        })
    }

    /// Blocking form of [`ImageService::resolve`] that says how the image was found.
    pub(crate) fn find(&self, name: &str) -> Result<Found, ImageError> {
        let meta = self.store.meta();
        let by_id = |image| Found {
            image,
            reference: None,
        };
        let full_id = if name.contains(':') {
            name.parse()
        } else {
            Digest::from_sha256_hex(name)
        };
        if let Ok(id) = full_id {
            let found = meta.find_image(&id)?.map(by_id);
            return found.ok_or_else(|| ImageError::NotFound(name.to_owned()));
        }
        let hex = name.strip_prefix("sha256:").unwrap_or(name);
        let is_prefix =
            !hex.is_empty() && hex.len() < 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let reference = Reference::parse(name).map(Reference::with_default_tag);
        match &reference {
            Ok(reference) => {
                if let Some(image) = self.find_reference(reference)? {
                    return Ok(Found {
                        image,
                        reference: Some(reference.clone()),
                    });
                }
            }
            Err(_) if is_prefix => {}
            Err(error) => return Err(error.clone().into()),
        }
        if is_prefix {
            match meta.find_image_by_prefix(hex)? {
                Lookup::One(image) => return Ok(by_id(image)),
                Lookup::Ambiguous(_) => return Err(ImageError::AmbiguousPrefix(name.to_owned())),
                Lookup::None => {}
            }
        }
        Err(ImageError::NotFound(reference.map_or_else(
            |_| name.to_owned(),
            |reference| reference.familiar(),
        )))
    }

    /// The image a full reference stands for.
    pub(crate) fn find_reference(&self, reference: &Reference) -> Result<Option<Image>, ImageError> {
        let meta = self.store.meta();
        let id = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => meta
                .find_repo_digest(&reference.repository(), digest)?
                .map(|known| known.image),
            (None, Some(_)) => meta.reference(&reference.canonical())?.map(|row| row.image),
            (None, None) => None,
        };
        match id {
            Some(id) => Ok(meta.find_image(&id)?),
            None => Ok(None),
        }
    }
}
