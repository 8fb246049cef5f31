//! Everything about one image.

use havre_oci::{Descriptor, Digest, ImageConfig, Reference};
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
    /// Looks at one image.
    pub async fn inspect(&self, name: &str) -> Result<Inspect, ImageError> {
        let name = name.to_owned();
        self.blocking(move |service| {
            let image = service.find(&name)?.image;
            service.inspect_blocking(image)
        })
        .await
    }

    fn inspect_blocking(&self, image: Image) -> Result<Inspect, ImageError> {
        let config = self.read_config(&image.id)?;
        let tags = self.store.meta().references_to(&image.id)?;
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

    /// The tags of one image.
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
