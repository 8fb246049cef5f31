//! Everything about one image.

use havre_oci::{Descriptor, Digest, ImageConfig, Platform, Reference};
use havre_store::Image;
use jiff::Timestamp;

use crate::{ImageError, ImageService};

/// Everything about one image.
#[derive(Debug, Clone)]
pub struct Inspect {
    pub id: Digest,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub parent: Option<Digest>,
    /// Of the last step.
    pub comment: String,
    pub config: ImageConfig,
    /// Unpacked size of all layers in bytes.
    pub size: u64,
    /// Diff IDs from the bottom.
    pub layers: Vec<Digest>,
    /// The manifest the image came with or was pushed by.
    pub manifest: Option<Descriptor>,
    pub last_tagged: Option<Timestamp>,
}

impl ImageService {
    /// Looks at one image, of several platforms the one that is asked for.
    pub async fn inspect(&self, name: &str, platform: Option<&Platform>) -> Result<Inspect, ImageError> {
        let (name, platform) = (name.to_owned(), platform.cloned());
        self.blocking(move |service| {
            let image = service.find_on(&name, platform.as_ref())?.image;
            service.inspect_blocking(image)
        })
        .await
    }

    fn inspect_blocking(&self, image: Image) -> Result<Inspect, ImageError> {
        let config = self.read_config(&image.id)?;
        let meta = self.store.meta();
        let mut tags = meta.references_to(&image.id)?;
        tags.extend(meta.references_beside(&image.id)?);
        let last_tagged = tags.iter().map(|row| row.updated).max();
        let repo_digests = self
            .digests_of(&image.id)?
            .iter()
            .map(Reference::familiar)
            .collect();
        let comment = config
            .history
            .last()
            .map(|step| step.comment.clone())
            .unwrap_or_default();
        Ok(Inspect {
            repo_tags: tags
                .iter()
                .filter_map(|row| Some(Reference::parse(&row.name).ok()?.familiar()))
                .collect(),
            repo_digests,
            parent: image.parent,
            comment,
            config,
            size: image.size,
            layers: image.layers,
            manifest: image.manifest,
            last_tagged,
            id: image.id,
        })
    }

    /// The tags that stand for one image, be it as one of several platforms.
    pub(crate) fn tags_on_any_platform(&self, image: &Digest) -> Result<Vec<Reference>, ImageError> {
        let beside = self.store.meta().references_beside(image)?;
        let mut tags = self.tags_of(image)?;
        tags.extend(beside.iter().filter_map(|row| Reference::parse(&row.name).ok()));
        Ok(tags)
    }

    /// The tags that stand for one image when no platform is asked for.
    pub(crate) fn tags_of(&self, image: &Digest) -> Result<Vec<Reference>, ImageError> {
        let rows = self.store.meta().references_to(image)?;
        Ok(rows
            .iter()
            .filter_map(|row| Reference::parse(&row.name).ok())
            .collect())
    }

    /// The names with digest of one image.
    pub(crate) fn digests_of(&self, image: &Digest) -> Result<Vec<Reference>, ImageError> {
        let rows = self.store.meta().repo_digests(image)?;
        let parsed = rows
            .into_iter()
            .filter_map(|row| Some((Reference::parse(&row.repository).ok()?, row.digest)));
        Ok(parsed
            .map(|(reference, digest)| reference.with_digest(digest))
            .collect())
    }
}
