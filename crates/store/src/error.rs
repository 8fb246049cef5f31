//! What can go wrong, as values callers can branch on.

use std::io;
use std::path::{Path, PathBuf};

use havre_oci::Digest;

/// Result of this crate's operations.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process owns the root.
    #[error("the store at {} is in use by process {}", root.display(), pid.map_or("unknown".into(), |pid| pid.to_string()))]
    Locked {
        /// The root both want.
        root: PathBuf,
        /// The holder, if it wrote its id.
        pid: Option<u32>,
    },
    /// The root was written by a version with features this one lacks.
    #[error("the store at {} needs features this version lacks: {}", root.display(), features.join(", "))]
    Incompatible {
        /// The root.
        root: PathBuf,
        /// The unknown features.
        features: Vec<String>,
    },
    /// Something mounted stands on the layer's files, which therefore stay.
    #[error("layer {diff_id} is in use by something that runs: stop it first")]
    LayerMounted {
        /// The layer.
        diff_id: Digest,
    },
    /// A file of the store doesn't say what it must.
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt {
        /// The damaged file or directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system is full, or the quota is used up.
    #[error("no space left on device: {}: make room there, for instance with `system prune`", path.display())]
    NoSpace {
        /// What was being written.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Any other answer of the file system. The message of `source` names the path when it comes from `fs_err`.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted, as a verb: "open", "create".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The metadata database refused.
    #[error("metadata database: {action}")]
    Database {
        /// What was attempted.
        action: &'static str,
        /// SQLite's answer.
        #[source]
        source: rusqlite::Error,
    },
    /// No blob with this digest.
    #[error("content {digest} is not in the store")]
    BlobNotFound {
        /// The missing blob.
        digest: Digest,
    },
    /// A blob is larger than the reader accepts.
    #[error("content {digest} has {size} bytes, more than the limit of {limit}")]
    BlobTooLarge {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// What the reader accepts.
        limit: u64,
    },
    /// What arrived isn't what was announced.
    #[error("content {expected} has digest {actual}")]
    DigestMismatch {
        /// The announced digest.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// Fewer or more bytes than announced.
    #[error("content {digest} must have {expected} bytes, got {actual}{}", if *actual > *expected { " or more" } else { "" })]
    SizeMismatch {
        /// The blob.
        digest: Digest,
        /// The announced size.
        expected: u64,
        /// The size that came.
        actual: u64,
    },
    /// Somebody else is writing this blob.
    #[error("content {digest} is being written by another ingest")]
    IngestBusy {
        /// The blob.
        digest: Digest,
    },
    /// The writer of an ingest gave up while this reader followed it.
    #[error("the transfer of {digest} was abandoned")]
    IngestAborted {
        /// The blob.
        digest: Digest,
    },
    /// No layer with this diff ID.
    #[error("layer {diff_id} is not in the store")]
    LayerNotFound {
        /// The missing layer.
        diff_id: Digest,
    },
    /// The layer is used by a snapshot or a lease.
    #[error("layer {diff_id} is in use")]
    LayerInUse {
        /// The layer.
        diff_id: Digest,
    },
    /// More layers than an overlay takes.
    #[error("{count} layers are more than the {limit} that can be stacked")]
    TooManyLayers {
        /// How many were asked for.
        count: usize,
        /// How many are possible.
        limit: usize,
    },
    /// No snapshot with this id.
    #[error("snapshot {id} is not in the store")]
    SnapshotNotFound {
        /// Its id.
        id: String,
    },
    /// A snapshot with this id exists.
    #[error("snapshot {id} already exists")]
    SnapshotExists {
        /// Its id.
        id: String,
    },
    /// A snapshot id or another name that cannot be a file name.
    #[error("{id:?} is not a valid identifier: use up to 128 letters, digits, '_', '.' and '-'")]
    InvalidId {
        /// What was given.
        id: String,
    },
    /// Mounting failed.
    #[error("cannot mount {}", target.display())]
    Mount {
        /// Where.
        target: PathBuf,
        /// Why.
        #[source]
        source: havre_sys::mount::MountError,
    },
    /// The configured form of layers doesn't work here.
    #[error("layers can't have the form {form} here: {reason}")]
    LayerForm {
        /// The form.
        form: crate::LayerForm,
        /// What was tried, and the answer.
        reason: String,
    },
    /// `verify = "read"` where the machine, the file system or the form of layers doesn't allow it.
    #[error("layers can't be verified at every read here (verify = \"read\"): {reason}")]
    Verification {
        /// What is missing, and the way out.
        reason: String,
    },
    /// A layer the kernel can't verify at every read, in a store where all must be.
    #[error(
        "layer {diff_id} can't be verified at every read (verify = \"read\"), so it isn't mounted: {reason}"
    )]
    Unverified {
        /// The layer.
        diff_id: Digest,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// A layer that is a file, on a machine that can't mount it.
    #[error("{} can't be mounted on this machine: {reason}", path.display())]
    Unmountable {
        /// The file.
        path: PathBuf,
        /// What was tried, and the answers.
        reason: String,
    },
    /// The name belongs to another document.
    #[error("the name {name} is in use by {holder}")]
    NameTaken {
        /// The wanted name.
        name: String,
        /// The id of the document that has it.
        holder: String,
    },
    /// A document with this id exists.
    #[error("{kind} {id} already exists")]
    DocumentExists {
        /// Kind of document.
        kind: String,
        /// Its id.
        id: String,
    },
    /// No document with this id.
    #[error("{kind} {id} is not in the store")]
    DocumentNotFound {
        /// Kind of document.
        kind: String,
        /// Its id.
        id: String,
    },
    /// No image with this id.
    #[error("image {id} is not in the store")]
    ImageNotFound {
        /// Its id.
        id: Digest,
    },
}

/// Why a layer archive was not applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The stream could not be read: a broken transfer or compressed stream.
    #[error("cannot read the layer archive")]
    Read(#[source] io::Error),
    /// The archive isn't one a layer may be.
    #[error("the layer archive is invalid: {reason}")]
    Invalid {
        /// What is wrong, naming the entry.
        reason: String,
    },
    /// A hard link to something the layer doesn't have.
    #[error("hard link {path} points to {target}, which is not a file of this layer")]
    DanglingHardLink {
        /// The entry.
        path: String,
        /// What it names.
        target: String,
    },
    /// A limit was passed.
    #[error("the layer archive has more than {limit} {what}")]
    Limit {
        /// What there is too much of: "entries", "bytes".
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The uncompressed archive has another digest than the image's configuration says.
    #[error("layer has diff ID {actual}, the image says {expected}")]
    DiffIdMismatch {
        /// Announced.
        expected: Digest,
        /// Found.
        actual: Digest,
    },
    /// An entry could not be made.
    #[error("cannot create {path} of the layer")]
    Entry {
        /// The entry's path inside the layer.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoreError {
    /// An I/O failure on `path`; a full disk becomes [`StoreError::NoSpace`].
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        if is_no_space(&source) {
            return Self::NoSpace { path, source };
        }
        Self::Io { action, path, source }
    }

    /// For `map_err`.
    pub(crate) fn at(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::io(action, path, source)
    }
}

/// Whether the answer means a full file system or quota.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
