use std::time::Duration;

use havre_oci::Digest;

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
    /// Too many requests; every attempt was answered so.
    #[error("toomanyrequests: {message}")]
    RateLimited {
        message: String,
        retry_after: Option<Duration>,
    },
    /// A blob the manifest names is not there.
    #[error("blob {digest} not found in {repository}: blob unknown to registry")]
    BlobUnknown { repository: String, digest: Digest },
    /// The registry refused an uploaded manifest or blob.
    #[error("{code}: {message}")]
    Rejected { code: String, message: String },
    /// A status nobody expects here, after all attempts.
    #[error("received unexpected HTTP status: {status} ({method} {url:?})")]
    Status {
        status: String,
        method: String,
        url: String,
    },
    /// The connection could not be made, or broke too often.
    #[error("{method} {url:?}: {reason}")]
    Network {
        method: String,
        url: String,
        reason: String,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// No byte arrived for the stall time, in all attempts.
    #[error("{method} {url:?}: no data received for {seconds} seconds")]
    Stalled {
        method: String,
        url: String,
        seconds: u64,
    },
    /// A manifest body beyond the limit.
    #[error("manifest of {reference} is larger than {limit} bytes")]
    ManifestTooLarge { reference: String, limit: u64 },
    /// The manifest's bytes are not those of the digest asked for.
    #[error("manifest verification failed for digest {expected}: got {actual}")]
    ManifestMismatch { expected: Digest, actual: Digest },
    /// The body is not a manifest Havre understands.
    #[error("invalid manifest for {reference}")]
    InvalidManifest {
        reference: String,
        #[source]
        source: havre_oci::DocumentError,
    },
    /// The registry speaks, but not the protocol.
    #[error("{url}: invalid answer from registry: {reason}")]
    Protocol { url: String, reason: String },
    /// Credentials would have gone over a plain connection to a foreign host.
    #[error(
        "refusing to send credentials for {host} to the token server {realm}: it is another host over plain HTTP"
    )]
    UnsafeRealm { host: String, realm: String },
    /// The blob to upload could not be read.
    #[error("cannot read blob {digest} for upload")]
    Source {
        digest: Digest,
        #[source]
        source: std::io::Error,
    },
    /// TLS cannot be set up on this machine.
    #[error(
        "cannot verify {host} over TLS: {reason}; install ca-certificates, set SSL_CERT_FILE, or configure the registry as insecure"
    )]
    Tls { host: String, reason: String },
    /// Settings of a registry cannot be used.
    #[error(transparent)]
    Hosts(#[from] crate::HostsError),
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
            Self::Unauthorized { .. } | Self::NoBasicCredentials { .. } | Self::LoginRefused { .. } => {
                ErrorKind::Unauthorized
            }
            Self::Denied { .. } | Self::UnsafeRealm { .. } => ErrorKind::Denied,
            Self::RateLimited { .. } => ErrorKind::RateLimited,
            Self::Status { .. } | Self::Network { .. } | Self::Stalled { .. } | Self::Tls { .. } => {
                ErrorKind::Unavailable
            }
            Self::ManifestTooLarge { .. }
            | Self::ManifestMismatch { .. }
            | Self::InvalidManifest { .. }
            | Self::Protocol { .. } => ErrorKind::InvalidAnswer,
            Self::Rejected { .. } | Self::Hosts(_) => ErrorKind::InvalidRequest,
            Self::Source { .. } => ErrorKind::System,
        }
    }
}
