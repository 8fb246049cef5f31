//! The tags of a repository, newest version first.

mod order;

use futures_util::{StreamExt as _, TryStreamExt as _};
use havre_oci::{Digest, Document, ImageConfig, MAX_CONFIG_SIZE, Manifest, Platform, Reference, media_type};
use havre_registry_client::Repository;
use jiff::Timestamp;

use super::Access;
use crate::filter::path_match;
use crate::{ImageError, ImageService};

/// So many tags are asked about at a time.
const AT_ONCE: usize = 8;

/// Which tags, and how much about them.
#[derive(Debug, Clone, Default)]
pub struct TagQuery {
    /// Shell patterns; a tag must match one, if there are any.
    pub patterns: Vec<String>,
    /// So many are passed over.
    pub skip: usize,
    /// No more than so many.
    pub limit: Option<usize>,
    /// Digest, size, platforms and age too: up to three requests a tag.
    pub details: bool,
}

/// A page of a repository's tags.
#[derive(Debug, Clone)]
pub struct RemoteTags {
    pub tags: Vec<RemoteTag>,
    /// How many match, on all pages.
    pub total: usize,
}

/// A tag of a repository.
#[derive(Debug, Clone, Default)]
pub struct RemoteTag {
    pub tag: String,
    /// Of the manifest or index.
    pub digest: Option<Digest>,
    /// Bytes of the layers as they are downloaded, for this machine's platform or else the first.
    pub size: Option<u64>,
    /// When that image was made.
    pub created: Option<Timestamp>,
    /// What it runs on; attestations are none.
    pub platforms: Vec<Platform>,
}

impl ImageService {
    /// The tags of a repository: versions first, the newest of them first, then the other names.
    pub async fn remote_tags(
        &self,
        reference: &Reference,
        access: &Access,
        query: &TagQuery,
    ) -> Result<RemoteTags, ImageError> {
        let wanted = |tag: &str| {
            let matching = query.patterns.iter().map(|pattern| path_match(pattern, tag));
            matching.flatten().any(|matches| matches)
        };
        if let Some(pattern) = query
            .patterns
            .iter()
            .find(|pattern| path_match(pattern, "").is_none())
        {
            return Err(ImageError::TagPattern(pattern.clone()));
        }
        let repository = self.repository(reference, access);
        let mut tags = repository.tags().await?;
        tags.retain(|tag| query.patterns.is_empty() || wanted(tag));
        tags.sort_by(|a, b| order::newest_first(a, b));
        let total = tags.len();
        let page = tags
            .into_iter()
            .skip(query.skip)
            .take(query.limit.unwrap_or(usize::MAX));
        let tags = match query.details {
            false => page
                .map(|tag| RemoteTag {
                    tag,
                    ..RemoteTag::default()
                })
                .collect(),
            true => {
                let known: Vec<_> = page.map(|tag| known(&repository, tag)).collect();
                futures_util::stream::iter(known)
                    .buffered(AT_ONCE)
                    .try_collect()
                    .await?
            }
        };
        Ok(RemoteTags { tags, total })
    }
}

/// What the registry says of a tag.
async fn known(repository: &Repository, tag: String) -> Result<RemoteTag, ImageError> {
    let top = repository.resolve(&tag).await?;
    let digest = Some(top.descriptor.digest);
    let (manifest, mut platforms) = match top.document {
        Document::Manifest(manifest) => (Some(manifest), Vec::new()),
        Document::Index(index) => {
            let images = || index.manifests.iter().filter(|named| !named.is_attestation());
            let platforms = images().filter_map(|named| named.platform.clone()).collect();
            let chosen = Platform::host().select(&index).or_else(|| images().next());
            let manifest = match chosen {
                Some(named) => match repository.resolve(named.digest.as_str()).await?.document {
                    Document::Manifest(manifest) => Some(manifest),
                    Document::Index(_) => None,
                },
                None => None,
            };
            (manifest, platforms)
        }
    };
    let size = manifest.as_ref().map(|manifest| {
        manifest
            .layers
            .iter()
            .map(|layer| layer.size)
            .fold(0, u64::saturating_add)
    });
    let config = match &manifest {
        Some(manifest) => config(repository, manifest).await?,
        None => None,
    };
    if platforms.is_empty() {
        platforms.extend(config.as_ref().map(ImageConfig::platform));
    }
    Ok(RemoteTag {
        tag,
        digest,
        size,
        created: config.and_then(|config| config.created),
        platforms,
    })
}

/// The configuration of an image; charts and the like have none, and one that cannot be read says nothing.
async fn config(repository: &Repository, manifest: &Manifest) -> Result<Option<ImageConfig>, ImageError> {
    if !media_type::is_config(&manifest.config.media_type) {
        return Ok(None);
    }
    let bytes = repository.read_blob(&manifest.config, MAX_CONFIG_SIZE).await?;
    Ok(ImageConfig::parse(&bytes).ok())
}
