//! What a pull would do, without doing it.

use havre_oci::{Digest, MAX_CONFIG_SIZE, Platform, Reference};

use super::{PullOptions, image_config};
use crate::remote::selector;
use crate::{ImageError, ImageService};

/// What a pull of one name would download.
#[derive(Debug, Clone)]
pub struct PullPlan {
    /// Of the manifest or index under the name.
    pub digest: Digest,
    /// Of the image.
    pub platform: Platform,
    /// Nothing is newer.
    pub up_to_date: bool,
    /// Bytes to come.
    pub download: u64,
    /// Base first.
    pub layers: Vec<PlannedLayer>,
}

/// A layer of the image.
#[derive(Debug, Clone)]
pub struct PlannedLayer {
    /// As the registry has it.
    pub digest: Digest,
    /// Bytes as they are downloaded.
    pub size: u64,
    /// It is here.
    pub present: bool,
}

impl ImageService {
    /// What a pull would download now. Costs the manifests and the configuration; the store stays as it is.
    pub async fn pull_plan(
        &self,
        reference: &Reference,
        options: &PullOptions,
    ) -> Result<PullPlan, ImageError> {
        let reference = reference.clone().with_default_tag();
        let repository = self.client.repository(&reference, &options.credentials);
        let selector = selector(&reference);
        let wanted = options.platform.clone().unwrap_or_else(Platform::host);
        let known = self.known(&repository, &reference, &selector, options).await?;
        let selected = self.select(&repository, &reference, &selector, &wanted).await?;
        let bytes = repository
            .read_blob(&selected.manifest.config, MAX_CONFIG_SIZE)
            .await?;
        let config = image_config(&reference, &selected.manifest, &bytes)?;
        let (layers, diff_ids) = (&selected.manifest.layers, config.rootfs.diff_ids.clone());
        let present = self
            .blocking(move |service| {
                let here = |diff_id| Ok(service.store.layers().find_sound(diff_id)?.is_some());
                diff_ids
                    .iter()
                    .map(here)
                    .collect::<Result<Vec<bool>, ImageError>>()
            })
            .await?;
        let layers: Vec<_> = layers
            .iter()
            .zip(present)
            .map(|(layer, present)| PlannedLayer {
                digest: layer.digest.clone(),
                size: layer.size,
                present,
            })
            .collect();
        let missing = layers.iter().filter(|layer| !layer.present);
        Ok(PullPlan {
            digest: selected.top.descriptor.digest.clone(),
            platform: config.platform(),
            up_to_date: known.is_some(),
            download: missing.map(|layer| layer.size).fold(0, u64::saturating_add),
            layers,
        })
    }
}
