//! What goes wrong with a registry, in Docker's words.

use std::time::Duration;

use havre_oci::Digest;
use serde::Deserialize;

use crate::auth::BodyError;

/// What went wrong with a registry, in Docker's words at `Display`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The tag or digest does not exist in an existing repository.
    #[error("manifest for {reference} not found: manifest unknown: {message}")]
    ManifestUnknown { reference: String, message: String },
    /// The registry says it has no repository of that name.
    #[error("repository {repository} not found: name unknown: {message}")]
    NameUnknown { repository: String, message: String },
    /// Pull refused: private, or not there (registries do not tell which).
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'docker login': denied: {message}"
    )]
    PullDenied { repository: String, message: String },
    /// Push (or another write) refused.
    #[error("denied: {message}")]
    Denied { message: String },
    /// Credentials are missing or wrong.
    #[error("unauthorized: {message}")]
    Unauthorized { message: String },
    /// The registry asks for a user name and a password and none were given.
    #[error("{method} {url:?}: no basic auth credentials")]
    NoBasicCredentials { method: String, url: String },
    /// `login`: the registry refused user name and password.
    #[error("Get {url:?}: unauthorized: {message}")]
    LoginRefused { url: String, message: String },
    /// `login`: the registry takes user names and passwords itself, and refused these.
    #[error("login attempt to {url} failed with status: {status}")]
    LoginStatus { url: String, status: String },
    /// Too many requests; every attempt was answered so.
    #[error("toomanyrequests: {message}{}", wait(retry_after))]
    RateLimited {
        message: String,
        retry_after: Option<Duration>,
    },
    /// A blob the manifest names is not there.
    #[error("blob {digest} not found in {repository}: blob unknown to registry")]
    BlobUnknown { repository: String, digest: Digest },
    /// The registry refused a request for what it says or holds.
    #[error("{code}: {message}")]
    Rejected { code: String, message: String },
    /// A status nobody expects here, after all attempts.
    #[error("{method} {url:?}: received unexpected HTTP status: {status}")]
    Status {
        status: String,
        method: String,
        url: String,
    },
    /// The connection could not be made, or broke too often. The chain of causes is in the log.
    #[error("{method} {url:?}: {reason}")]
    Network {
        method: String,
        url: String,
        reason: String,
        /// No connection came about at all.
        connect: bool,
    },
    /// No secure connection: the server is not trusted, does not trust us, or does not speak TLS. Asking again does not help.
    #[error("{method} {url:?}: {reason}{way_out}")]
    Handshake {
        method: String,
        url: String,
        reason: String,
        /// What to do about it, after a semicolon; or nothing.
        way_out: String,
        /// The server answered in plain HTTP.
        plain: bool,
    },
    /// Nothing arrived for the stall time, in all attempts.
    #[error("{method} {url:?}: no data for {seconds} seconds")]
    Stalled {
        method: String,
        url: String,
        seconds: u64,
    },
    /// A manifest body beyond the limit.
    #[error("manifest of {reference} is larger than the limit of {limit} bytes")]
    ManifestTooLarge { reference: String, limit: u64 },
    /// The manifest's bytes are not those of the digest asked for.
    #[error("manifest verification failed for digest {expected}: the registry sent {actual}")]
    ManifestMismatch { expected: Digest, actual: Digest },
    /// The body is not a manifest Havre understands.
    #[error("invalid manifest for {reference}: {source}")]
    InvalidManifest {
        reference: String,
        #[source]
        source: havre_oci::DocumentError,
    },
    /// The bytes of a small blob are not those of its digest.
    #[error("filesystem layer verification failed for digest {expected}: the registry sent {actual}")]
    BlobMismatch { expected: Digest, actual: Digest },
    /// The registry says the blob has another size than the manifest does.
    #[error("blob {digest} has {actual} bytes in the registry, the manifest says {expected}")]
    BlobSize {
        digest: Digest,
        expected: u64,
        actual: u64,
    },
    /// A configuration or other small document larger than anybody needs.
    #[error("blob {digest} of {size} bytes is larger than the limit of {limit} bytes")]
    BlobTooLarge { digest: Digest, size: u64, limit: u64 },
    /// The registry speaks, but not the protocol.
    #[error("{url}: invalid answer from registry: {reason}")]
    Protocol { url: String, reason: String },
    /// Credentials would have gone over a plain connection to a foreign host.
    #[error(
        "refusing to send credentials for {host} to the token server {realm}: it is another host over plain HTTP"
    )]
    UnsafeRealm { host: String, realm: String },
    /// Credentials would have gone to a host that they are not for.
    #[error(
        "refusing to send credentials for {host} to the token server {realm}, which is not one of this registry's"
    )]
    ForeignRealm { host: String, realm: String },
    /// An address that a registry named, and only this network has.
    #[error("refusing to connect to {url}: it is an address of this network")]
    Private { url: String },
    /// The blob to upload could not be read.
    #[error("cannot read blob {digest} for upload: {source}")]
    Source {
        digest: Digest,
        #[source]
        source: std::io::Error,
    },
    /// The blob to upload could not be made.
    #[error("cannot make a blob for upload: {source}")]
    Made {
        #[source]
        source: std::io::Error,
    },
    /// TLS cannot be set up on this machine.
    #[error(
        "cannot verify {host} over TLS: {reason}; install ca-certificates, set SSL_CERT_FILE, or configure the registry as insecure"
    )]
    Tls { host: String, reason: String },
    /// A certificate or key of a host's directory cannot be used.
    #[error("cannot use the certificates for {host}: {}: {reason}", path.display())]
    CertificateFile {
        host: String,
        path: std::path::PathBuf,
        reason: String,
    },
    /// Asked for a part of a blob, the server would send all of it.
    #[error("{url}: the server does not serve parts of blobs")]
    NoRanges { url: String },
    /// Settings of a registry cannot be used.
    #[error(transparent)]
    Hosts(#[from] crate::HostsError),
}

fn wait(retry_after: &Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |after| {
        format!(" (retry after {} seconds)", after.as_secs())
    })
}

/// Coarse classes, for HTTP statuses and exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    NotFound,
    Unauthorized,
    Denied,
    RateLimited,
    /// The registry or the way to it fails.
    Unavailable,
    /// The registry answered with something wrong or hostile.
    InvalidAnswer,
    /// What was asked cannot be done as asked.
    InvalidRequest,
    System,
}

impl RegistryError {
    /// The class this error belongs to.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ManifestUnknown { .. }
            | Self::NameUnknown { .. }
            | Self::BlobUnknown { .. }
            | Self::PullDenied { .. } => ErrorKind::NotFound,
            Self::Unauthorized { .. }
            | Self::NoBasicCredentials { .. }
            | Self::LoginRefused { .. }
            | Self::LoginStatus { .. } => ErrorKind::Unauthorized,
            Self::Denied { .. }
            | Self::UnsafeRealm { .. }
            | Self::ForeignRealm { .. }
            | Self::Private { .. } => ErrorKind::Denied,
            Self::RateLimited { .. } => ErrorKind::RateLimited,
            Self::Status { .. }
            | Self::Network { .. }
            | Self::Handshake { .. }
            | Self::Stalled { .. }
            | Self::Tls { .. }
            | Self::CertificateFile { .. } => ErrorKind::Unavailable,
            Self::ManifestTooLarge { .. }
            | Self::ManifestMismatch { .. }
            | Self::InvalidManifest { .. }
            | Self::BlobMismatch { .. }
            | Self::BlobSize { .. }
            | Self::BlobTooLarge { .. }
            | Self::NoRanges { .. }
            | Self::Protocol { .. } => ErrorKind::InvalidAnswer,
            Self::Rejected { .. } | Self::Hosts(_) => ErrorKind::InvalidRequest,
            Self::Source { .. } | Self::Made { .. } => ErrorKind::System,
        }
    }

    /// Whether the way failed, so that the same may work in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Network { .. } | Self::Stalled { .. })
    }

    /// Whether the server may have meant plain HTTP.
    pub(crate) fn may_be_plain(&self) -> bool {
        self.is_transient() || matches!(self, Self::Handshake { plain: true, .. })
    }

    /// Whether not even a connection came about: not worth many attempts at the start of a command.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Network { connect: true, .. })
    }
}

/// The error body of the distribution API, or of token servers: `{"errors": [{code, message}]}`, `{"details": …}`,
/// `{"message": …}`, `{"error_description": …}`.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
}

/// Longest text of a registry that is repeated to people.
const MAX_SHOWN: usize = 1024;

impl Answer {
    pub(crate) fn parse(body: &[u8]) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Body {
            errors: Vec<Item>,
            message: Option<String>,
            details: Option<String>,
            error_description: Option<String>,
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Item {
            code: String,
            message: String,
            detail: serde_json::Value,
        }
        let Ok(body) = serde_json::from_slice::<Body>(body) else {
            return Self::default();
        };
        let item = body.errors.into_iter().next();
        let (code, message) = item.map_or((None, None), |item| {
            let message = match item.message {
                text if !text.is_empty() => Some(text),
                _ => item.detail.as_str().map(str::to_owned),
            };
            (Some(item.code), message)
        });
        let message = message
            .or(body.details)
            .or(body.message)
            .or(body.error_description);
        Answer {
            code: code.filter(|code| !code.is_empty()).map(printable),
            message: message.map(printable),
        }
    }
}

/// What a registry says goes to terminals: no control characters, and an end.
fn printable(text: String) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_SHOWN)
        .collect()
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read_limited(
    mut response: reqwest::Response,
    limit: u64,
    stall: Duration,
) -> Result<Vec<u8>, BodyError> {
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge);
    }
    let mut body = Vec::new();
    loop {
        let chunk = tokio::time::timeout(stall, response.chunk())
            .await
            .map_err(|_| BodyError::Stalled(stall))?;
        match chunk.map_err(BodyError::Transfer)? {
            None => return Ok(body),
            Some(chunk) if body.len() as u64 + chunk.len() as u64 > limit => return Err(BodyError::TooLarge),
            Some(chunk) => body.extend_from_slice(&chunk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let answer =
            Answer::parse(br#"{"errors":[{"code":"DENIED","message":"no \u001b[31mway","detail":{"x":1}}]}"#);
        assert_eq!(answer.code.as_deref(), Some("DENIED"));
        assert_eq!(answer.message.as_deref(), Some("no  [31mway"));
        assert_eq!(
            Answer::parse(br#"{"details":"incorrect username or password"}"#)
                .message
                .as_deref(),
            Some("incorrect username or password")
        );
        assert!(Answer::parse(b"<html>").message.is_none());
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(10_000));
        assert_eq!(Answer::parse(long.as_bytes()).message.unwrap().len(), MAX_SHOWN);
    }

    #[test]
    fn wording() {
        let error = RegistryError::ManifestUnknown {
            reference: "debian:nosuch".into(),
            message: "manifest unknown".into(),
        };
        assert_eq!(
            error.to_string(),
            "manifest for debian:nosuch not found: manifest unknown: manifest unknown"
        );
        let error = RegistryError::RateLimited {
            message: "slow".into(),
            retry_after: Some(Duration::from_secs(9)),
        };
        assert_eq!(error.to_string(), "toomanyrequests: slow (retry after 9 seconds)");
    }
}
