//! Manifests and indexes where they lie: looked at, put, and copied from repository to repository. Nothing comes to the store.

mod copy;

use havre_oci::{
    Descriptor, Document, ImageConfig, MAX_CONFIG_SIZE, Manifest, Platform, Reference, media_type,
};
use havre_registry_client::{Credentials, Repository, Resolved};

use crate::{ImageError, ImageService, Progress};

/// How a registry is spoken to for one request.
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub credentials: Credentials,
    /// Plain HTTP and certificates nobody vouches for will do.
    pub insecure: bool,
}

/// A manifest or index of a registry.
#[derive(Debug, Clone)]
pub struct Distribution {
    pub descriptor: Descriptor,
    /// What it runs on: each entry of an index, or what the configuration of the one image says.
    pub platforms: Vec<Platform>,
}

/// A manifest or index of a registry, whole.
#[derive(Debug, Clone)]
pub struct RemoteManifest {
    /// With the platform when it is an image.
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
}

/// An index to put under a name.
#[derive(Debug, Clone)]
pub struct NewIndex {
    pub media_type: String,
    pub bytes: Vec<u8>,
    /// Where what it names comes from when the repository lacks it; the registry must be the same.
    pub sources: Vec<Reference>,
}

impl ImageService {
    /// Asks the registry; costs the manifest and at most one configuration.
    pub async fn distribution(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Distribution, ImageError> {
        let repository = self.client.repository(reference, credentials);
        let resolved = repository.resolve(&selector(reference)).await?;
        let platforms = match &resolved.document {
            Document::Index(index) => index
                .manifests
                .iter()
                .filter_map(|manifest| manifest.platform.clone())
                .collect(),
            Document::Manifest(manifest) => platform(&repository, reference, manifest)
                .await?
                .into_iter()
                .collect(),
        };
        Ok(Distribution {
            descriptor: resolved.descriptor,
            platforms,
        })
    }

    /// The manifest or index under a name; costs a configuration more when it is an image's.
    pub async fn remote_manifest(
        &self,
        reference: &Reference,
        access: &Access,
    ) -> Result<RemoteManifest, ImageError> {
        let repository = self.repository(reference, access);
        let Resolved {
            mut descriptor,
            bytes,
            document,
        } = repository.resolve(&selector(reference)).await?;
        if let Document::Manifest(manifest) = &document {
            descriptor.platform = platform(&repository, reference, manifest).await?;
        }
        Ok(RemoteManifest { descriptor, bytes })
    }

    /// Puts an index under the tag of `target`, after all it names. Its descriptor.
    pub async fn push_index(
        &self,
        target: &Reference,
        index: &NewIndex,
        access: &Access,
        progress: &dyn Progress,
    ) -> Result<Descriptor, ImageError> {
        if target.digest().is_some() {
            return Err(ImageError::PushDigest);
        }
        let document =
            Document::parse(&index.bytes, Some(&index.media_type)).map_err(ImageError::InvalidIndex)?;
        let Document::Index(named) = document else {
            return Err(ImageError::NotAnIndex(index.media_type.clone()));
        };
        if let Some(other) = index
            .sources
            .iter()
            .find(|source| source.domain() != target.domain())
        {
            return Err(ImageError::OtherRegistry {
                from: other.domain().to_owned(),
                target: target.domain().to_owned(),
            });
        }
        let to = self.repository(target, access);
        for descriptor in &named.manifests {
            self.bring(target, &to, descriptor, &index.sources, access, progress)
                .await?;
        }
        let digest = to
            .push_manifest(&selector(target), &index.media_type, index.bytes.clone())
            .await?;
        Ok(Descriptor::new(
            &index.media_type,
            digest,
            index.bytes.len() as u64,
        ))
    }

    fn repository(&self, reference: &Reference, access: &Access) -> Repository {
        match access.insecure {
            true => self.client.insecure_repository(reference, &access.credentials),
            false => self.client.repository(reference, &access.credentials),
        }
    }
}

/// What a reference selects in its repository.
fn selector(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    }
}

/// What an image runs on, as its configuration says; `None` for charts and the like, which run nowhere.
async fn platform(
    repository: &Repository,
    reference: &Reference,
    manifest: &Manifest,
) -> Result<Option<Platform>, ImageError> {
    if !media_type::is_config(&manifest.config.media_type) {
        return Ok(None);
    }
    let bytes = repository.read_blob(&manifest.config, MAX_CONFIG_SIZE).await?;
    let config = ImageConfig::parse(&bytes).map_err(|source| ImageError::Config {
        reference: reference.familiar(),
        source,
    })?;
    Ok(Some(config.platform()))
}
