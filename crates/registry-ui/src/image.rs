//! Documents of images: what a tag or digest stands for, read once.

use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};

use havre_oci::{
    Descriptor, Digest, Document, ImageConfig, Index, MAX_CONFIG_SIZE, Manifest, Platform, media_type,
};
use havre_registry_store::{Identifier, RegistryStore, RepositoryName, StoreError, Stored};

use crate::error::PageError;
use crate::layers;
use crate::show::{self, Size};

/// Facts that are kept, each of some hundred bytes.
const KEPT: usize = 20_000;
/// Platforms of an index that are looked at.
pub(crate) const MAX_PLATFORMS: usize = 100;

/// What a manifest is.
#[derive(Debug)]
pub(crate) enum Kind {
    Index(Index),
    /// With its configuration if that is one of an image.
    Image(Manifest, Box<ImageConfig>),
    /// Something that is no image.
    Artifact(Manifest),
    /// A manifest of a kind that is not known, or that cannot be read as what it says it is.
    Unknown,
}

/// A manifest with what it means.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) stored: Stored,
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: Kind,
}

/// What a list of tags says of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// What it is, if it is no image.
    pub(crate) artifact: Option<String>,
    /// The platforms with the digests of their manifests; of what is no index, one without a digest.
    pub(crate) platforms: Vec<(String, Option<Digest>)>,
    /// Bytes to be pulled, of the smallest and of the largest platform.
    pub(crate) size: Option<(u64, u64)>,
}

impl Facts {
    /// `3.1MB`, `3.1MB to 3.4MB`
    pub(crate) fn sizes(&self) -> String {
        match self.size {
            None => "–".to_owned(),
            Some((least, most)) if Size(least).to_string() == Size(most).to_string() => {
                Size(most).to_string()
            }
            Some((least, most)) => format!("{} to {}", Size(least), Size(most)),
        }
    }
}

/// Reads a manifest and its configuration.
pub(crate) fn load(
    store: &RegistryStore,
    name: &RepositoryName,
    reference: &Identifier,
) -> Result<Loaded, PageError> {
    let (stored, bytes) = store.manifest(name, reference)?;
    let kind = match Document::parse(&bytes, Some(&stored.media_type)) {
        Err(_) => Kind::Unknown,
        Ok(Document::Index(index)) => Kind::Index(index),
        Ok(Document::Manifest(manifest)) => match config(store, name, &manifest.config)? {
            Some(config) => Kind::Image(manifest, Box::new(config)),
            None => Kind::Artifact(manifest),
        },
    };
    Ok(Loaded { stored, bytes, kind })
}

/// The configuration of an image; [`None`] if it is something else, or cannot be read.
fn config(
    store: &RegistryStore,
    name: &RepositoryName,
    descriptor: &Descriptor,
) -> Result<Option<ImageConfig>, StoreError> {
    if !media_type::is_config(&descriptor.media_type) {
        return Ok(None);
    }
    let (size, blob) = layers::open(store, name, &descriptor.digest)?;
    let mut bytes = Vec::new();
    if size > MAX_CONFIG_SIZE || blob.take(MAX_CONFIG_SIZE).read_to_end(&mut bytes).is_err() {
        return Ok(None);
    }
    Ok(ImageConfig::parse(&bytes).ok())
}

/// The bytes of an image's layers as they are pulled.
pub(crate) fn size(manifest: &Manifest) -> u64 {
    let layers = manifest.layers.iter().chain([&manifest.config]);
    layers.fold(0, |sum: u64, layer| sum.saturating_add(layer.size))
}

/// The images of an index, without statements about them.
pub(crate) fn images(index: &Index) -> impl Iterator<Item = &Descriptor> {
    let images = index
        .manifests
        .iter()
        .filter(|descriptor| !descriptor.is_attestation());
    images.take(MAX_PLATFORMS)
}

/// What the platform of a manifest is called.
pub(crate) fn platform(descriptor: &Descriptor) -> String {
    match &descriptor.platform {
        Some(platform) => show::line(&platform.to_string()),
        None => "any platform".to_owned(),
    }
}

/// The image of an index that is shown unless another is asked for: the most common platform's, else the first.
pub(crate) fn default_image(index: &Index) -> Option<&Descriptor> {
    let common = Platform::new("linux", "amd64").select(index);
    common.or_else(|| images(index).next())
}

/// What is known of manifests.
#[derive(Debug)]
pub(crate) struct Documents {
    facts: Mutex<lru::LruCache<Digest, Arc<Facts>>>,
}

impl Default for Documents {
    fn default() -> Self {
        let most = std::num::NonZero::new(KEPT).unwrap_or(std::num::NonZero::<usize>::MIN);
        Self {
            facts: Mutex::new(lru::LruCache::new(most)),
        }
    }
}

impl Documents {
    /// What a list of tags says of a manifest that the repository has.
    pub(crate) fn facts(
        &self,
        store: &RegistryStore,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Arc<Facts>, PageError> {
        let lock = || self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = lock().get(digest) {
            return Ok(Arc::clone(facts));
        }
        let loaded = load(store, name, &Identifier::Digest(digest.clone()))?;
        let facts = Arc::new(match &loaded.kind {
            Kind::Index(index) => of_index(store, name, index),
            Kind::Image(manifest, config) => Facts {
                artifact: None,
                platforms: vec![(show::line(&config.platform().to_string()), None)],
                size: Some((size(manifest), size(manifest))),
            },
            Kind::Artifact(manifest) => Facts {
                artifact: Some(show::line(
                    manifest
                        .artifact_type
                        .as_deref()
                        .unwrap_or(&manifest.config.media_type),
                )),
                size: Some((size(manifest), size(manifest))),
                ..Default::default()
            },
            Kind::Unknown => Facts {
                artifact: Some(show::line(&loaded.stored.media_type)),
                ..Default::default()
            },
        });
        lock().put(digest.clone(), Arc::clone(&facts));
        Ok(facts)
    }
}

fn of_index(store: &RegistryStore, name: &RepositoryName, index: &Index) -> Facts {
    let mut facts = Facts::default();
    for descriptor in images(index) {
        facts
            .platforms
            .push((platform(descriptor), Some(descriptor.digest.clone())));
        let wanted = Identifier::Digest(descriptor.digest.clone());
        let Ok((stored, bytes)) = store.manifest(name, &wanted) else {
            continue;
        };
        if let Ok(Document::Manifest(manifest)) = Document::parse(&bytes, Some(&stored.media_type)) {
            let size = size(&manifest);
            let (least, most) = facts.size.unwrap_or((size, size));
            facts.size = Some((least.min(size), most.max(size)));
        }
    }
    if facts.platforms.is_empty() {
        facts.artifact = index.artifact_type.as_deref().map(show::line);
    }
    facts
}

/// What a reference stands for, and of an index the manifest of it that is shown.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) outer: Loaded,
    inner: Option<Loaded>,
}

impl Chosen {
    /// Reads what a reference stands for; of an index, the manifest that is wanted, or that of the platform, or the default.
    pub(crate) fn read(
        store: &RegistryStore,
        name: &RepositoryName,
        reference: &Identifier,
        wanted: Option<&Digest>,
        platform: Option<&Platform>,
    ) -> Result<Self, PageError> {
        let outer = load(store, name, reference)?;
        let digest = match (&outer.kind, wanted) {
            (Kind::Index(index), Some(wanted)) => {
                let is_there = index.manifests.iter().any(|one| one.digest == *wanted);
                Some(is_there.then(|| wanted.clone()).ok_or(PageError::NotFound)?)
            }
            (Kind::Index(index), None) => {
                let of_platform = platform.and_then(|platform| platform.select(index));
                let found = of_platform.or_else(|| default_image(index));
                found.map(|descriptor| descriptor.digest.clone())
            }
            (_, Some(wanted)) if *wanted != outer.stored.digest => return Err(PageError::NotFound),
            _ => None,
        };
        let inner = match digest {
            Some(digest) => Some(load(store, name, &Identifier::Digest(digest))?),
            None => None,
        };
        Ok(Self { outer, inner })
    }

    /// The manifest that is shown.
    pub(crate) fn shown(&self) -> &Loaded {
        self.inner.as_ref().unwrap_or(&self.outer)
    }

    /// Its digest, if links must name it: if it is one of several.
    pub(crate) fn named(&self) -> Option<&Digest> {
        self.inner.as_ref().map(|inner| &inner.stored.digest)
    }

    /// The image that is shown, if it is one.
    pub(crate) fn image(&self) -> Option<(&Manifest, &ImageConfig)> {
        match &self.shown().kind {
            Kind::Image(manifest, config) => Some((manifest, config)),
            _ => None,
        }
    }
}
