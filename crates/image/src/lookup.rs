//! From what people write to an image.

use havre_oci::{Digest, ImageConfig, MAX_CONFIG_SIZE, Platform, Reference};
use havre_store::{Image, Lookup};

use crate::{ImageError, ImageService, log};

/// An image, and how it was named.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) image: Image,
    /// The reference, when it was found by one and not by its ID.
    pub(crate) reference: Option<Reference>,
}

impl ImageService {
    /// The image a user names: a reference, an ID, `sha256:` ID, or an ID prefix, with Docker's precedence: full ID,
    /// reference (default tag "latest"), ID prefix. And what a tag stood for before: `NAME[:TAG]@{1}`.
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
        if log::is_entry(name) {
            return Ok(by_id(self.find_entry(name)?));
        }
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

    /// The image a user names, for a platform if there is one asked for: a name may stand for images of several.
    pub async fn resolve_on(&self, name: &str, platform: Option<&Platform>) -> Result<Image, ImageError> {
        let (name, platform) = (name.to_owned(), platform.cloned());
        self.blocking(move |service| Ok(service.find_on(&name, platform.as_ref())?.image))
            .await
    }

    /// Blocking form of [`ImageService::resolve_on`] that says how the image was found.
    pub(crate) fn find_on(&self, name: &str, platform: Option<&Platform>) -> Result<Found, ImageError> {
        let found = self.find(name)?;
        let Some(wanted) = platform else {
            return Ok(found);
        };
        let images = match &found.reference {
            Some(reference) => self.images_of(reference)?,
            None => vec![found.image],
        };
        Ok(Found {
            image: best_or_error(images, wanted, name)?,
            reference: found.reference,
        })
    }

    /// The image a full reference stands for when no platform is asked for.
    pub(crate) fn find_reference(&self, reference: &Reference) -> Result<Option<Image>, ImageError> {
        match self.ids_of(reference)?.first() {
            Some(id) => Ok(self.store.meta().find_image(id)?),
            None => Ok(None),
        }
    }

    /// The images a full reference stands for, one a platform; first the one that is meant when no platform is asked for.
    pub(crate) fn images_of(&self, reference: &Reference) -> Result<Vec<Image>, ImageError> {
        let mut images = Vec::new();
        for id in self.ids_of(reference)? {
            images.extend(self.store.meta().find_image(&id)?);
        }
        Ok(images)
    }

    fn ids_of(&self, reference: &Reference) -> Result<Vec<Digest>, ImageError> {
        let meta = self.store.meta();
        Ok(match (reference.digest(), reference.tag()) {
            (Some(digest), _) => {
                let served = meta.find_repo_digest(&reference.repository(), digest)?;
                served.into_iter().map(|known| known.image).collect()
            }
            (None, Some(_)) => match meta.reference(&reference.canonical())? {
                Some(row) => [row.image].into_iter().chain(row.others).collect(),
                None => Vec::new(),
            },
            (None, None) => Vec::new(),
        })
    }
}

/// Of some images the one that suits a platform best, the first of equals.
pub(crate) fn best(images: Vec<Image>, wanted: &Platform) -> Option<Image> {
    let ranked = images
        .into_iter()
        .filter_map(|image| Some((wanted.rank(&image.platform)?, image)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, image)| image)
}

/// As [`best`]; an error tells which platforms there are of `name`.
pub(crate) fn best_or_error(images: Vec<Image>, wanted: &Platform, name: &str) -> Result<Image, ImageError> {
    let mut here: Vec<String> = images.iter().map(|image| image.platform.to_string()).collect();
    best(images, wanted).ok_or_else(|| {
        here.sort_unstable();
        here.dedup();
        ImageError::WrongPlatform {
            reference: name.to_owned(),
            actual: here.join(", "),
            wanted: wanted.to_string(),
        }
    })
}
