use havre_oci::Digest;
use havre_registry_client::RegistryError;

/// What an image operation can fail with, in Docker's words at `Display` where Docker has some.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    #[error("No such image: {0}")]
    NotFound(String),
    #[error("multiple IDs found with provided prefix: {0}")]
    AmbiguousPrefix(String),
    #[error(transparent)]
    Reference(#[from] havre_oci::ReferenceError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] havre_store::StoreError),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Invalid(String),
    #[error("blob {0} is neither in the store nor can it be made from its layer")]
    MissingBlob(Digest),
}

/// Coarse classes, for HTTP statuses and exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    NotFound,
    Conflict,
    Invalid,
    Unauthorized,
    Denied,
    Unavailable,
    System,
}

impl ImageError {
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::System
    }
}
