//! What a registry has under a name, without pulling it.

use havre_oci::{Descriptor, Document, ImageConfig, MAX_CONFIG_SIZE, Platform, Reference, media_type};
use havre_registry_client::Credentials;

use crate::{ImageError, ImageService};

/// A manifest or index of a registry.
#[derive(Debug, Clone)]
pub struct Distribution {
    pub descriptor: Descriptor,
    /// What it runs on: each entry of an index, or what the configuration of the one image says.
    pub platforms: Vec<Platform>,
}

impl ImageService {
    /// Asks the registry; costs the manifest and at most one configuration.
    pub async fn distribution(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Distribution, ImageError> {
        let repository = self.client.repository(reference, credentials);
        let selector = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        let resolved = repository.resolve(&selector).await?;
        let platforms = match &resolved.document {
            Document::Index(index) => index
                .manifests
                .iter()
                .filter_map(|manifest| manifest.platform.clone())
                .collect(),
            Document::Manifest(manifest) if media_type::is_config(&manifest.config.media_type) => {
                let bytes = repository.read_blob(&manifest.config, MAX_CONFIG_SIZE).await?;
                let config = ImageConfig::parse(&bytes).map_err(|source| ImageError::Config {
                    reference: reference.familiar(),
                    source,
                })?;
                vec![config.platform()]
            }
            // Not an image: charts and the like run nowhere.
            Document::Manifest(_) => Vec::new(),
        };
        Ok(Distribution {
            descriptor: resolved.descriptor,
            platforms,
        })
    }
}
