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
        let mut parts = Vec::new();
        for component in text.split('/') {
            let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
            if component.is_empty() || !component.bytes().all(word) {
                return Err(PlatformError::Component {
                    component: component.into(),
                    text: text.into(),
                });
            }
            parts.push(component);
        }
        let platform = match parts.as_slice() {
            [one] => {
                let os = Self::new(*one, std::env::consts::ARCH);
                let architecture = Self::new("linux", *one);
                if KNOWN_OS.contains(&os.os.as_str()) {
                    os
                } else if KNOWN_ARCHITECTURES.contains(&architecture.architecture.as_str()) {
                    architecture
                } else {
                    return Err(PlatformError::Unknown { text: text.into() });
                }
            }
            [os, architecture] => Self::new(*os, *architecture),
            [os, architecture, variant] => {
                let variant = (*variant).to_owned();
                Self {
                    os: (*os).into(),
                    architecture: (*architecture).into(),
                    variant,
                    ..Self::default()
                }
                .normalized()
            }
            _ => return Err(PlatformError::Format { text: text.into() }),
        };
        Ok(platform)
    }

    /// Synonyms replaced by Go's names: `x86_64` is `amd64`, `aarch64` is `arm64`, `arm64/v8` is `arm64`, …
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.os.make_ascii_lowercase();
        if self.os == "macos" {
            self.os = "darwin".into();
        }
        self.architecture.make_ascii_lowercase();
        self.variant.make_ascii_lowercase();
        let (architecture, variant) = match (self.architecture.as_str(), self.variant.as_str()) {
            ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            ("powerpc64le", variant) => ("ppc64le", variant),
            _ => return self,
        };
        let (architecture, variant) = (architecture.to_owned(), variant.to_owned());
        Self {
            architecture,
            variant,
            ..self
        }
    }

    /// Whether an image for `image` runs where `self` is asked for, however well.
    pub fn matches(&self, image: &Platform) -> bool {
        self.rank(image).is_some()
    }

    /// The manifest of `index` that suits `self` best; the first of equals. Attestations never do. What names no platform
    /// does only if it is all there is.
    pub fn select<'a>(&self, index: &'a Index) -> Option<&'a Descriptor> {
        let images = || {
            index
                .manifests
                .iter()
                .filter(|descriptor| !descriptor.is_attestation())
        };
        let best = images()
            .filter_map(|descriptor| Some((self.rank(descriptor.platform.as_ref()?)?, descriptor)))
            .min_by_key(|(rank, _)| *rank);
        if let Some((_, descriptor)) = best {
            return Some(descriptor);
        }
        match images().collect::<Vec<_>>().as_slice() {
            [only] if only.platform.is_none() => Some(only),
            _ => None,
        }
    }

    /// How far `image` is from what `self` runs best; 0 is a perfect match, `None` does not run.
    pub fn rank(&self, image: &Platform) -> Option<u32> {
        let (wanted, image) = (self.clone().normalized(), image.clone().normalized());
        if wanted.os != image.os {
            return None;
        }
        let variant = |platform: &Platform| -> Option<u32> {
            match platform.variant.as_str() {
                "" if platform.architecture == "arm64" => Some(80),
                "" => Some(10),
                text => {
                    let (major, minor) = text
                        .strip_prefix('v')?
                        .split_once('.')
                        .unwrap_or((&text[1..], "0"));
                    Some(major.parse::<u32>().ok()? * 10 + minor.parse::<u32>().ok()?)
                }
            }
        };
        if wanted.architecture == image.architecture {
            if wanted.variant == image.variant {
                return Some(0);
            }
            return variant(&wanted)?.checked_sub(variant(&image)?);
        }
        // What the processor runs besides: 32-bit programs.
        match (wanted.architecture.as_str(), image.architecture.as_str()) {
            ("amd64", "386") => Some(1000),
            ("arm64", "arm") => Some(1000 + 80u32.checked_sub(variant(&image)?)?),
            _ => None,
        }
    }
}

const KNOWN_OS: &[&str] = &[
    "linux",
    "windows",
    "darwin",
    "freebsd",
    "netbsd",
    "openbsd",
    "dragonfly",
    "solaris",
    "illumos",
    "aix",
    "plan9",
];

const KNOWN_ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le",
    "riscv64", "s390x", "sparc64", "wasm",
];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, media_type};

    fn platform(text: &str) -> Platform {
        Platform::parse(text).unwrap()
    }

    #[test]
    fn texts() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/X86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("arm64", "linux/arm64"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            assert_eq!(platform(text).to_string(), expected, "{text}");
        }
        assert_eq!(platform("linux"), Platform::host());
    }

    #[test]
    fn refusals() {
        assert_eq!(
            Platform::parse("linux/am d64").unwrap_err().to_string(),
            "\"am d64\" is an invalid component of \"linux/am d64\": platform specifier component must match \
             \"^[A-Za-z0-9_.-]+$\": invalid argument"
        );
        assert_eq!(
            Platform::parse("fuzzy").unwrap_err().to_string(),
            "\"fuzzy\": unknown operating system or architecture: invalid argument"
        );
        for text in ["", "linux/", "/amd64", "a/b/c/d"] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn compatibility() {
        for (wanted, image, expected) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/386", true),
            ("linux/amd64", "linux/amd64/v2", false),
            ("linux/amd64/v3", "linux/amd64/v2", true),
            ("linux/arm64", "linux/arm/v7", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/arm/v7", "linux/arm/v6", true),
            ("linux/amd64", "linux/arm64", false),
            ("linux/amd64", "windows/amd64", false),
            ("linux/386", "linux/amd64", false),
        ] {
            assert_eq!(
                platform(wanted).matches(&platform(image)),
                expected,
                "{wanted} {image}"
            );
        }
        let odd = Platform {
            variant: "vé.x".into(),
            ..platform("linux/amd64")
        };
        assert!(!platform("linux/amd64").matches(&odd));
    }

    fn index(platforms: &[Option<&str>]) -> Index {
        let manifests = platforms.iter().enumerate().map(|(i, text)| {
            let mut descriptor = Descriptor::of(media_type::OCI_MANIFEST, &[i as u8]);
            descriptor.platform = text.map(|text| match text {
                "unknown/unknown" => Platform {
                    os: "unknown".into(),
                    architecture: "unknown".into(),
                    ..Platform::default()
                },
                text => platform(text),
            });
            descriptor
        });
        Index::oci(manifests.collect())
    }

    fn selected(wanted: &str, platforms: &[Option<&str>]) -> Option<usize> {
        let index = index(platforms);
        let digest = &platform(wanted).select(&index)?.digest;
        (0..platforms.len()).find(|i| &Digest::sha256_of(&[*i as u8]) == digest)
    }

    #[test]
    fn selection() {
        let many = [
            Some("linux/386"),
            Some("linux/arm/v6"),
            Some("linux/arm/v7"),
            Some("unknown/unknown"),
            Some("linux/amd64"),
            Some("linux/amd64"),
        ];
        assert_eq!(selected("linux/amd64", &many), Some(4));
        assert_eq!(selected("linux/arm/v8", &many), Some(2));
        assert_eq!(selected("linux/arm64", &many), Some(2));
        assert_eq!(selected("linux/s390x", &many), None);
        assert_eq!(selected("linux/amd64", &[Some("linux/386")]), Some(0));
        assert_eq!(selected("linux/amd64", &[None]), Some(0));
        assert_eq!(selected("linux/amd64", &[None, None]), None);
        assert_eq!(selected("linux/amd64", &[]), None);
        assert_eq!(selected("unknown/unknown", &many), None);
    }
}
