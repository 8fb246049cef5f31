//! Names of images: `docker.io/library/debian:bookworm@sha256:…`, read and shown as Docker does.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
/// A name Docker Hub had before.
const LEGACY_DOMAIN: &str = "index.docker.io";
/// Where images with a name of one component live.
const OFFICIAL: &str = "library/";
/// The longest repository path.
const MAX_PATH: usize = 255;
/// The longest tag.
const MAX_TAG: usize = 128;

/// A normalised image name. Always has a domain and a path; a tag and a digest when they were given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image name, worded as Docker does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name ({name}) must be lowercase")]
    Uppercase { name: String },
    #[error("repository name must not be more than 255 characters")]
    NameTooLong,
    #[error("invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")]
    Identifier { text: String },
    #[error("invalid tag format")]
    Tag,
    #[error("{0}")]
    Digest(#[from] crate::DigestError),
}

impl Reference {
    /// Reads a familiar or full name: `debian` is `docker.io/library/debian`, without a tag.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if is_identifier(text) {
            return Err(ReferenceError::Identifier { text: text.into() });
        }
        let (domain, remainder) = split_domain(text);
        let name = remainder.split(':').next().unwrap_or_default();
        if name.to_lowercase() != name {
            return Err(ReferenceError::Uppercase { name: name.into() });
        }
        let (remainder, digest) = match remainder.split_once('@') {
            Some((before, digest)) => (before, Some(digest)),
            None => (&*remainder, None),
        };
        let (path, tag) = match remainder.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (remainder, None),
        };
        if !is_domain(domain)
            || !path.split('/').all(is_path_component)
            || !tag.is_none_or(is_tag)
            || !digest.is_none_or(looks_like_digest)
        {
            return Err(ReferenceError::Format);
        }
        if path.len() > MAX_PATH {
            return Err(ReferenceError::NameTooLong);
        }
        Ok(Self {
            domain: domain.into(),
            path: path.into(),
            tag: tag.map(Into::into),
            digest: digest.map(str::parse).transpose()?,
        })
    }

    /// As it is, or with tag `latest` when it has neither tag nor digest.
    #[must_use]
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".into());
        }
        self
    }

    /// The same repository with this tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag);
        }
        Ok(Self {
            tag: Some(tag.into()),
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository with this digest and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            tag: None,
            ..self.clone()
        }
    }

    /// The same repository without tag and digest.
    #[must_use]
    pub fn without_tag(&self) -> Self {
        Self {
            digest: None,
            tag: None,
            ..self.clone()
        }
    }

    /// The registry: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry: `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Neither tag nor digest.
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// Domain and path: `docker.io/library/debian`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The whole name, nothing left out: `docker.io/library/debian:bookworm`.
    pub fn canonical(&self) -> String {
        self.suffixed(self.repository())
    }

    /// The repository as Docker shows it: `debian`, `me/app`, `localhost:5000/app`. Where the short form would be read as
    /// something else (`docker.io/localhost/app`, `docker.io/a.b/app`), it stays long.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.repository();
        }
        let short = match self.path.strip_prefix(OFFICIAL) {
            Some(name) if !name.contains('/') => name,
            _ => &self.path,
        };
        let (domain, path) = split_domain(short);
        if (domain, &*path) != (DEFAULT_DOMAIN, self.path.as_str()) || is_identifier(short) {
            return self.repository();
        }
        short.into()
    }

    /// The whole name as Docker shows it: `debian:bookworm`, `debian@sha256:…`.
    pub fn familiar(&self) -> String {
        self.suffixed(self.familiar_name())
    }

    fn suffixed(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest.as_str());
        }
        name
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

/// Divides a familiar name into registry and the rest. A first component is a registry if it is `localhost`, has a dot or
/// colon, or has upper-case letters, which a repository cannot have.
fn split_domain(text: &str) -> (&str, Cow<'_, str>) {
    let (domain, rest) = match text.split_once('/') {
        Some((LEGACY_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest))
            if first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    };
    if domain == DEFAULT_DOMAIN && !rest.contains('/') {
        (domain, Cow::Owned(format!("{OFFICIAL}{rest}")))
    } else {
        (domain, Cow::Borrowed(rest))
    }
}

/// `host[:port]`, the host being a name or an IPv6 address in brackets.
fn is_domain(domain: &str) -> bool {
    let (host, rest) = match domain.strip_prefix('[') {
        Some(inner) => match inner.split_once(']') {
            Some((address, rest)) => {
                let valid =
                    !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
                (valid, rest)
            }
            None => return false,
        },
        None => {
            let end = domain.find(':').unwrap_or(domain.len());
            (domain[..end].split('.').all(is_domain_component), &domain[end..])
        }
    };
    let port = rest.is_empty()
        || rest
            .strip_prefix(':')
            .is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    host && port
}

fn is_domain_component(component: &str) -> bool {
    !component.is_empty()
        && !component.starts_with('-')
        && !component.ends_with('-')
        && component.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Lower-case letters and digits, joined by one dot, one or two underscores, or any number of hyphens.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    if !bytes.first().is_some_and(|b| alphanumeric(*b)) || !bytes.last().is_some_and(|b| alphanumeric(*b)) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

/// Whether a text has the form of a digest of any algorithm; only then is it worth saying what is wrong with it.
fn looks_like_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
        && algorithm.split(['-', '_', '+', '.']).all(|part| {
            part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
                && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

/// Whether a text is the full ID of an image or container, which no name may look like.
fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
