//! The documents a tag or digest of a repository resolves to: one image's manifest, or an index of several.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Descriptor, null};

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

impl Document {
    /// Reads a manifest or index, deciding by the `mediaType` inside, else by `content_type` (parameters are ignored),
    /// else by the fields present.
    pub fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, DocumentError> {
        let _ = (bytes, content_type);
        todo!()
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
        Self::of(crate::media_type::OCI_MANIFEST, config, layers)
    }

    /// A manifest in Docker's form (v2, schema 2).
    pub fn docker(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self::of(crate::media_type::DOCKER_MANIFEST, config, layers)
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
            media_type: crate::media_type::OCI_INDEX.into(),
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
