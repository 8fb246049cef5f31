//! One image of a registry: its manifest and configuration.

use havre_oci::{Descriptor, ImageConfig, Index, MAX_CONFIG_SIZE, Manifest, Platform, Reference};

use super::{Access, selector};
use crate::pull::image_config;
use crate::{HistoryEntry, ImageError, ImageService};

/// An image of a registry, verified.
#[derive(Debug, Clone)]
pub struct RemoteImage {
    pub reference: Reference,
    /// What the reference stands for: of the index, if it is one.
    pub top: Descriptor,
    pub index: Option<Index>,
    /// Of the manifest of the platform.
    pub descriptor: Descriptor,
    pub manifest: Manifest,
    pub config: ImageConfig,
}

impl RemoteImage {
    /// IMAGE ID is its digest.
    pub fn descriptor_of_config(&self) -> &Descriptor {
        &self.manifest.config
    }

    /// Bytes of all layers as they are downloaded.
    pub fn size(&self) -> u64 {
        self.manifest
            .layers
            .iter()
            .map(|layer| layer.size)
            .fold(0, u64::saturating_add)
    }

    /// The steps, newest first. Sizes are those of a download.
    pub fn history(&self) -> Vec<HistoryEntry> {
        let mut layers = self.manifest.layers.iter();
        let row = |step: &havre_oci::History| HistoryEntry {
            id: "<missing>".to_owned(),
            created: step.created,
            created_by: step.created_by.clone(),
            tags: Vec::new(),
            size: match step.empty_layer {
                true => 0,
                false => layers.next().map_or(0, |layer| layer.size),
            },
            comment: step.comment.clone(),
        };
        let mut rows: Vec<HistoryEntry> = self.config.history.iter().map(row).collect();
        rows.reverse();
        if let Some(newest) = rows.first_mut() {
            newest.id = self.manifest.config.digest.to_string();
            newest.tags.push(self.reference.familiar());
        }
        rows
    }
}

impl ImageService {
    /// Asks a registry for an image: of an index, that of the platform, or of the host's.
    pub async fn remote_image(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        access: &Access,
    ) -> Result<RemoteImage, ImageError> {
        let reference = reference.clone().with_default_tag();
        let repository = self.repository(&reference, access);
        let wanted = platform.cloned().unwrap_or_else(Platform::host);
        let selected = self
            .select(&repository, &reference, &selector(&reference), &wanted)
            .await?;
        let bytes = repository
            .read_blob(&selected.manifest.config, MAX_CONFIG_SIZE)
            .await?;
        let config = image_config(&reference, &selected.manifest, &bytes)?;
        if let Some(platform) = platform
            && !platform.matches(&config.platform())
        {
            return Err(ImageError::WrongPlatform {
                reference: reference.familiar(),
                actual: config.platform().to_string(),
                wanted: platform.to_string(),
            });
        }
        let descriptor = selected.image_manifest().descriptor.clone();
        Ok(RemoteImage {
            reference,
            top: selected.top.descriptor,
            index: match selected.top.document {
                havre_oci::Document::Index(index) => Some(index),
                havre_oci::Document::Manifest(_) => None,
            },
            descriptor,
            manifest: selected.manifest,
            config,
        })
    }
}
