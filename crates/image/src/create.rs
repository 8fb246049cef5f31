//! New images from layers the store already has.

use havre_oci::{Digest, ImageConfig, MAX_LAYERS, Reference};
use havre_store::{Image, Lease, Names};
use jiff::Timestamp;

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
    /// Names it gets (default tag "latest"; without digests).
    pub tags: Vec<Reference>,
    /// What made it, for the history of the references ("build", "commit").
    pub command: String,
}

impl ImageService {
    /// Writes the configuration, the image and its references, the references last. `lease` holds the layers meanwhile.
    pub async fn create_from(&self, request: CreateImage, lease: &Lease) -> Result<Image, ImageError> {
        let lease = lease.clone();
        self.blocking(move |service| service.create_blocking(request, &lease))
            .await
    }

    pub(crate) fn create_blocking(&self, request: CreateImage, lease: &Lease) -> Result<Image, ImageError> {
        let CreateImage {
            parent,
            layers,
            mut config,
            tags,
            command,
        } = request;
        if tags.iter().any(|tag| tag.digest().is_some()) {
            return Err(ImageError::TagWithDigest);
        }
        if layers.len() > MAX_LAYERS {
            return Err(ImageError::TooManyLayers {
                count: layers.len(),
                limit: MAX_LAYERS,
            });
        }
        config.rootfs.kind = "layers".to_owned();
        config.rootfs.diff_ids.clone_from(&layers);
        let id = self.store.content().put(&config.to_bytes(), lease)?;
        let image = self.image_row(id, None, &config, parent)?;
        let names = Names {
            references: tags
                .into_iter()
                .map(|tag| tag.with_default_tag().canonical())
                .collect(),
            ..Names::default()
        };
        self.store.meta().publish_image(&image, &names, &command)?;
        Ok(image)
    }

    /// The row of an image whose configuration and layers are in the store.
    pub(crate) fn image_row(
        &self,
        id: Digest,
        manifest: Option<havre_oci::Descriptor>,
        config: &ImageConfig,
        parent: Option<Digest>,
    ) -> Result<Image, ImageError> {
        let layers = config.rootfs.diff_ids.clone();
        let mut size = 0;
        for diff_id in &layers {
            let layer = self.store.layers().find(diff_id)?;
            let layer = layer.ok_or_else(|| ImageError::MissingLayer {
                diff_id: diff_id.clone(),
            })?;
            size += layer.size;
        }
        Ok(Image {
            id,
            manifest,
            layers,
            size,
            created: config.created,
            platform: config.platform(),
            added: Timestamp::now(),
            last_used: None,
            parent,
        })
    }
}
