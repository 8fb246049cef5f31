//! The image configuration document: what runs, which layers, and how they came about.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Digest, History, MAX_LAYERS, Platform, RunConfig, null};

/// The largest configuration that is read, in bytes.
pub const MAX_CONFIG_SIZE: u64 = 8 << 20;

/// An image configuration: Docker's superset of OCI image specification config.md. The digest of its serialised bytes is
/// the image's ID, so bytes that came from elsewhere are kept as they are and never re-serialised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    #[serde(default, deserialize_with = "null::as_default")]
    pub architecture: String,
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null::as_default"
    )]
    pub variant: String,
    #[serde(default, deserialize_with = "null::as_default")]
    pub os: String,
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null::as_default"
    )]
    pub os_version: String,
    #[serde(
        rename = "os.features",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null::as_default"
    )]
    pub os_features: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null::as_default"
    )]
    pub author: String,
    #[serde(default, deserialize_with = "null::as_default")]
    pub config: RunConfig,
    #[serde(default, deserialize_with = "null::as_default")]
    pub rootfs: RootFs,
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null::as_default"
    )]
    pub history: Vec<History>,
    /// Fields not known here, e.g. `docker_version` and `container_config`.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The layers by the digests of their uncompressed archives, bottom first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(rename = "type", default = "layers_kind")]
    pub kind: String,
    #[serde(default, deserialize_with = "null::as_default")]
    pub diff_ids: Vec<Digest>,
}

fn layers_kind() -> String {
    "layers".into()
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: layers_kind(),
            diff_ids: Vec::new(),
        }
    }
}

/// Why bytes are not an image configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("image configuration of {size} bytes is larger than the limit of {MAX_CONFIG_SIZE} bytes")]
    TooLarge { size: u64 },
    #[error("invalid image configuration")]
    Json(#[from] serde_json::Error),
    #[error("image configuration has rootfs type {kind:?}, expected \"layers\"")]
    RootFsKind { kind: String },
    #[error("image configuration names {count} layers, the limit is {MAX_LAYERS}")]
    TooManyLayers { count: usize },
}

impl ImageConfig {
    /// An empty configuration for `platform`.
    pub fn new(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            os: platform.os.clone(),
            os_version: platform.os_version.clone(),
            os_features: platform.os_features.clone(),
            created: None,
            author: String::new(),
            config: RunConfig::default(),
            rootfs: RootFs::default(),
            history: Vec::new(),
            other: Map::new(),
        }
    }

    /// Reads and validates a configuration.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let size = bytes.len() as u64;
        if size > MAX_CONFIG_SIZE {
            return Err(ConfigError::TooLarge { size });
        }
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(ConfigError::Json(serde::de::Error::custom("expected an object")));
        }
        let config: Self = serde_json::from_slice(bytes)?;
        if !matches!(config.rootfs.kind.as_str(), "layers" | "") {
            return Err(ConfigError::RootFsKind {
                kind: config.rootfs.kind,
            });
        }
        let count = config.rootfs.diff_ids.len();
        if count > MAX_LAYERS {
            return Err(ConfigError::TooManyLayers { count });
        }
        Ok(config)
    }

    /// The bytes whose digest identifies the image. The same value gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a configuration has text keys and no failing serialiser")
    }

    /// The platform the image is for, normalised; missing parts are those of a Linux image on `amd64`.
    pub fn platform(&self) -> Platform {
        let or = |value: &str, default: &str| {
            if value.is_empty() {
                default.into()
            } else {
                value.to_owned()
            }
        };
        Platform {
            os: or(&self.os, "linux"),
            architecture: or(&self.architecture, "amd64"),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
        .normalized()
    }
}
