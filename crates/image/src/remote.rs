//! Manifests and indexes where they lie: looked at, put, and copied from repository to repository. Nothing comes to the store.

mod blobs;
mod copy;
mod image;
mod outdated;
mod tags;

use havre_oci::{
    Descriptor, Digest, Document, ImageConfig, MAX_CONFIG_SIZE, Manifest, Platform, Reference, media_type,
};
use havre_registry_client::{Credentials, Repository, Resolved};

use crate::{ImageError, ImageService, Progress};

pub use copy::CopyOptions;
pub use image::RemoteImage;
pub use outdated::{Freshness, Outdated};
pub use tags::{RemoteTag, RemoteTags, TagQuery};

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

/// A manifest or index to put under a name.
#[derive(Debug, Clone)]
pub struct NewManifest {
    pub media_type: String,
    pub bytes: Vec<u8>,
    /// Where what it names comes from when the repository lacks it.
    pub sources: Vec<Source>,
}

/// A repository to take from, and as whom.
#[derive(Debug, Clone)]
pub struct Source {
    pub reference: Reference,
    pub access: Access,
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

    /// What refers to the manifest or index under a name, which may be of another time: signatures, SBOMs and the like.
    pub async fn remote_referrers(
        &self,
        reference: &Reference,
        access: &Access,
    ) -> Result<(Digest, Vec<Descriptor>), ImageError> {
        let repository = self.repository(reference, access);
        let subject = match reference.digest() {
            Some(digest) => digest.clone(),
            None => repository.resolve(&selector(reference)).await?.descriptor.digest,
        };
        let referrers = repository.referrers(&subject).await?;
        Ok((subject, referrers))
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

    /// Puts a manifest or index under the tag of `target`, after all it names. Its descriptor.
    pub async fn push_document(
        &self,
        target: &Reference,
        new: &NewManifest,
        access: &Access,
        progress: &dyn Progress,
    ) -> Result<Descriptor, ImageError> {
        if target.digest().is_some() {
            return Err(ImageError::PushDigest);
        }
        let document =
            Document::parse(&new.bytes, Some(&new.media_type)).map_err(ImageError::InvalidManifest)?;
        let media_type = document.media_type().to_owned();
        let itself = Descriptor::new(&media_type, Digest::sha256_of(&new.bytes), new.bytes.len() as u64);
        let named = match document {
            Document::Index(index) => index.manifests,
            Document::Manifest(_) => vec![itself.clone()],
        };
        let to = self.repository(target, access);
        for descriptor in &named {
            self.bring(target, &to, descriptor, &new.sources, progress)
                .await?;
        }
        to.push_manifest(&selector(target), &media_type, new.bytes.clone())
            .await?;
        Ok(itself)
    }

    pub(crate) fn repository(&self, reference: &Reference, access: &Access) -> Repository {
        match access.insecure {
            true => self.client.insecure_repository(reference, &access.credentials),
            false => self.client.repository(reference, &access.credentials),
        }
    }
}

/// What a reference selects in its repository.
pub(crate) fn selector(reference: &Reference) -> String {
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
