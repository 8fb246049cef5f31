//! Operating system and processor an image is made for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Descriptor, Index, null};

/// `os/architecture/variant`, in Go's names (OCI image specification, image-index.md). Empty texts mean "not given".
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default, deserialize_with = "null::as_default")]
    pub architecture: String,
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
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null::as_default"
    )]
    pub variant: String,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    #[error(
        "{component:?} is an invalid component of {text:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument"
    )]
    Component { component: String, text: String },
    #[error("{text:?}: unknown operating system or architecture: invalid argument")]
    Unknown { text: String },
    #[error("{text:?}: cannot parse platform specifier: invalid argument")]
    Format { text: String },
}

impl Platform {
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self {
            os: os.into(),
            architecture: architecture.into(),
            ..Self::default()
        }
        .normalized()
    }

    /// The platform this program runs on.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH)
    }

    /// Reads `os`, `architecture`, `os/architecture` or `os/architecture/variant`; what is missing is the host's.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        todo!("{text}")
    }

    /// Synonyms replaced by Go's names: `x86_64` is `amd64`, `aarch64` is `arm64`, `arm64/v8` is `arm64`, …
    #[must_use]
    pub fn normalized(self) -> Self {
        self
    }

    /// Whether an image for `image` runs where `self` is asked for, without looking at how well.
    pub fn matches(&self, image: &Platform) -> bool {
        let _ = image;
        todo!()
    }

    /// The manifest of `index` that suits `self` best; attestations and other things without a platform never do.
    pub fn select<'a>(&self, index: &'a Index) -> Option<&'a Descriptor> {
        let _ = index;
        todo!()
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        Self::parse(text)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}
