//! The build context: a directory the client sent or shares, and what the build sees of it.

mod ignore;
mod pattern;
mod unpack;

use std::io;
use std::path::{Path, PathBuf};

use havre_oci::layer::LayerError;

pub(crate) use ignore::clean;
pub use ignore::{IgnoreError, IgnoreRules, read_patterns};
pub use pattern::BadPattern;
pub(crate) use pattern::Pattern;
pub use unpack::unpack;

/// Bounds on what a client may send as a context.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of the uncompressed archive.
    pub bytes: u64,
    pub entries: u64,
}

impl Default for Limits {
    /// 64 GiB and 4 million entries.
    fn default() -> Self {
        Limits {
            bytes: 64 << 30,
            entries: 4_000_000,
        }
    }
}

/// Why a context was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    #[error("failed to read build context: {0}")]
    Io(#[from] io::Error),
    #[error("failed to read build context: {0}")]
    Archive(#[from] LayerError),
    #[error("build context: {path} is a device or a fifo; a context holds only files, directories and links")]
    Special { path: String },
    #[error("build context: the tar is {0}-compressed; send it plain, or compressed by gzip or zstd")]
    Compression(&'static str),
    #[error("build context: {0} is not a tar archive")]
    NotTar(&'static str),
}

/// A context directory. An unpacked one is removed when the value is dropped.
#[derive(Debug)]
pub struct Context {
    root: PathBuf,
    _owned: Option<tempfile::TempDir>,
}

impl Context {
    /// A directory on this machine, read in place and never written.
    pub fn directory(root: impl Into<PathBuf>) -> Self {
        Context {
            root: root.into(),
            _owned: None,
        }
    }

    /// No files at all (a Dockerfile on stdin). `scratch` is a directory for temporary files.
    pub fn empty(scratch: &Path) -> Result<Self, ContextError> {
        let owned = temporary(scratch)?;
        Ok(Context {
            root: owned.path().to_path_buf(),
            _owned: Some(owned),
        })
    }

    /// Where the files are.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

fn temporary(scratch: &Path) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("context-").tempdir_in(scratch)
}
