//! What can go wrong with the contents of a registry.

use std::io;
use std::path::PathBuf;

use havre_database::DatabaseError;
use havre_oci::Digest;

use crate::name::{NameError, Tag};

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why something was not done. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("repository {0} is not known")]
    NameUnknown(String),
    #[error("blob {0} is not known to the repository")]
    BlobUnknown(Digest),
    /// The database knows of bytes that the storage doesn't have.
    #[error("the bytes of {0} are missing: `registry check` says what is damaged")]
    BytesMissing(Digest),
    #[error("manifest {0} is not known to the repository")]
    ManifestUnknown(String),
    #[error("the upload is not known: it ended, was cancelled, or never began")]
    UploadUnknown,
    #[error("another request is writing to this upload")]
    UploadBusy,
    /// A piece that does not follow what is there.
    #[error("the upload has {has} bytes, and the piece begins at {begins}")]
    UploadOffset { has: u64, begins: u64 },
    /// Bytes that are not what was said.
    #[error("the content is {actual}, not {expected}")]
    DigestMismatch { expected: Digest, actual: Digest },
    #[error("{0}")]
    ManifestInvalid(String),
    /// Something a manifest names isn't there.
    #[error("the manifest names {0}, which is not in the repository")]
    PartUnknown(Digest),
    #[error("a manifest of {size} bytes is larger than the limit of {limit} bytes")]
    ManifestTooLarge { size: u64, limit: u64 },
    /// A tag that stands for something else by now.
    #[error("tag {0} was pushed again meanwhile: look again at what would go")]
    TagMoved(Tag),
    /// A tag that was to come back.
    #[error("tag {tag} was pushed again meanwhile and stands for {by}: delete that first, or leave it")]
    TagTaken { tag: Tag, by: Digest },
    #[error("tag {0} cannot come back: it was not deleted, or too long ago")]
    NotDeleted(Tag),
    /// A blob or manifest that others need.
    #[error("{digest} is used by the manifest {by}: delete that first")]
    InUse { digest: Digest, by: Digest },
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Storage that is reached over a network.
    #[error("cannot {action} {key}: {reason}")]
    Storage {
        action: &'static str,
        key: String,
        reason: String,
    },
    /// Not by the registry's own rules: whoever asked for it to be checked says why.
    #[error(transparent)]
    Refused(Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl StoreError {
    /// Whether there is no room for what was to be stored.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
