//! The documents a tag or digest of a repository resolves to: one image's manifest, or an index of several.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use serde::de::IgnoredAny;

use crate::{Descriptor, media_type, null};

/// The largest manifest or index that is read, in bytes (the distribution specification asks registries for 4 MiB).
pub const MAX_DOCUMENT_SIZE: u64 = 4 << 20;
/// The most layers an image may have.
pub const MAX_LAYERS: usize = 500;

/// The manifest of one image: Docker v2 schema 2, or OCI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, deserialize_with = "null::as_default")]
    pub media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    pub config: Descriptor,
    /// Bottom layer first.
    #[serde(default, deserialize_with = "null::as_default")]
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null::as_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// Several manifests under one name: a Docker manifest list, or an OCI index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, deserialize_with = "null::as_default")]
    pub media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, deserialize_with = "null::as_default")]
    pub manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null::as_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// A validated document.
#[expect(
    clippy::large_enum_variant,
    reason = "few exist at a time, and both are mostly heap"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// Why bytes are not a document that can be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("manifest of {size} bytes is larger than the limit of {MAX_DOCUMENT_SIZE} bytes")]
    TooLarge { size: u64 },
    #[error("invalid manifest")]
    Json(#[from] serde_json::Error),
    #[error(
        "not implemented: media type {media_type:?} is no longer supported: suggest the author to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2"
    )]
    Schema1 { media_type: String },
    #[error("unsupported manifest schema version {version}")]
    SchemaVersion { version: u64 },
    #[error("unsupported manifest media type {media_type:?}")]
    MediaType { media_type: String },
    #[error("manifest says it is {inside:?} but was served as {served:?}")]
    MediaTypeMismatch { inside: String, served: String },
    #[error("manifest holds both layers and manifests")]
    Ambiguous,
    #[error("manifest names {count} layers, the limit is {MAX_LAYERS}")]
    TooManyLayers { count: usize },
    #[error("size {size} of {digest} in the manifest is too large")]
    Size { digest: String, size: u64 },
}

/// The parts that tell documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<IgnoredAny>,
    #[serde(default)]
    layers: Option<IgnoredAny>,
    #[serde(default)]
    manifests: Option<IgnoredAny>,
}

fn is_known(media_type: &str) -> bool {
    media_type::is_index(media_type)
        || media_type::is_manifest(media_type)
        || media_type::is_schema1(media_type)
}

/// Sizes are added up and handed to interfaces with signed numbers: each must leave room for that.
fn validate(descriptor: &Descriptor) -> Result<(), DocumentError> {
    const MAX: u64 = 1 << 53;
    if descriptor.size > MAX {
        return Err(DocumentError::Size {
            digest: descriptor.digest.to_string(),
            size: descriptor.size,
        });
    }
    Ok(())
}

impl Document {
    /// Reads a manifest or index, deciding by the `mediaType` inside, else by `content_type` (parameters are ignored),
    /// else by the fields present.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, DocumentError> {
        let size = bytes.len() as u64;
        if size > MAX_DOCUMENT_SIZE {
            return Err(DocumentError::TooLarge { size });
        }
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            // The serialiser would take a list for an object without keys.
            return Err(DocumentError::Json(serde::de::Error::custom(
                "expected an object",
            )));
        }
        let probe: Probe = serde_json::from_slice(bytes)?;
        let served = content_type
            .map(media_type::essence)
            .filter(|served| is_known(served));
        let inside = probe.media_type.as_deref().filter(|inside| !inside.is_empty());
        if probe.schema_version == 1 || inside.or(served).is_some_and(media_type::is_schema1) {
            let media_type = inside.or(served).unwrap_or(media_type::DOCKER_SCHEMA1).into();
            return Err(DocumentError::Schema1 { media_type });
        }
        if probe.schema_version != 2 {
            return Err(DocumentError::SchemaVersion {
                version: probe.schema_version,
            });
        }
        // A document that can be read both ways could mean two things to two readers.
        let (image, index) = (
            probe.config.is_some() || probe.layers.is_some(),
            probe.manifests.is_some(),
        );
        if image && index {
            return Err(DocumentError::Ambiguous);
        }
        if let (Some(inside), Some(served)) = (inside, served)
            && inside != served
        {
            return Err(DocumentError::MediaTypeMismatch {
                inside: inside.into(),
                served: served.into(),
            });
        }
        let fallback = if index {
            media_type::OCI_INDEX
        } else {
            media_type::OCI_MANIFEST
        };
        let media_type = inside.or(served).unwrap_or(fallback).to_owned();
        if media_type::is_index(&media_type) {
            let document = Index {
                media_type,
                ..serde_json::from_slice(bytes)?
            };
            document.manifests.iter().try_for_each(validate)?;
            Ok(Self::Index(document))
        } else if media_type::is_manifest(&media_type) {
            let document = Manifest {
                media_type,
                ..serde_json::from_slice(bytes)?
            };
            let count = document.layers.len();
            if count > MAX_LAYERS {
                return Err(DocumentError::TooManyLayers { count });
            }
            std::iter::once(&document.config)
                .chain(&document.layers)
                .try_for_each(validate)?;
            Ok(Self::Manifest(document))
        } else {
            Err(DocumentError::MediaType { media_type })
        }
    }

    /// The media type, always filled in.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => &manifest.media_type,
            Self::Index(index) => &index.media_type,
        }
    }
}

impl Manifest {
    /// A manifest in OCI form.
    pub fn oci(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self::of(media_type::OCI_MANIFEST, config, layers)
    }

    /// A manifest in Docker's form (v2, schema 2).
    pub fn docker(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self::of(media_type::DOCKER_MANIFEST, config, layers)
    }

    fn of(media_type: &str, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type.into(),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Bytes as pushed; deterministic.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest has text keys and no failing serialiser")
    }
}

impl Index {
    /// An OCI index.
    pub fn oci(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.into(),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Bytes as pushed; deterministic.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an index has text keys and no failing serialiser")
    }
}
