//! Names of images: `docker.io/library/debian:bookworm@sha256:…`, read and shown as Docker does.

use std::fmt;
use std::str::FromStr;

use crate::Digest;

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
    #[error("repository name must have at least one component")]
    Empty,
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
        todo!("{text}")
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
        todo!("{tag}")
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
        todo!()
    }

    /// The repository as Docker shows it: `debian`, `me/app`, `localhost:5000/app`.
    pub fn familiar_name(&self) -> String {
        todo!()
    }

    /// The whole name as Docker shows it: `debian:bookworm`, `debian@sha256:…`.
    pub fn familiar(&self) -> String {
        todo!()
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
