//! The build context: a directory the client sent or shares.

use std::io::Read;
use std::path::{Path, PathBuf};

/// Bounds on what a client may send as a context.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sum of file sizes in bytes.
    pub bytes: u64,
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes: 64 << 30, entries: 4_000_000 }
    }
}

/// Why a context was refused.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    #[error("failed to read build context: {0}")]
    Io(#[from] std::io::Error),
}

/// A context directory. An unpacked one is removed when the value is dropped.
#[derive(Debug)]
pub struct Context {
    root: PathBuf,
    owned: Option<tempfile::TempDir>,
}

impl Context {
    /// A directory on this machine, read in place and never written.
    pub fn directory(root: impl Into<PathBuf>) -> Self {
        Context { root: root.into(), owned: None }
    }

    /// No files at all (a Dockerfile on stdin).
    pub fn empty(scratch: &Path) -> Result<Self, ContextError> {
        let _ = scratch;
        todo!()
    }

    pub fn root(&self) -> &Path {
        let _ = &self.owned;
        &self.root
    }
}

/// Unpacks the tar a client posts into a fresh directory beneath `scratch` (plain, gzip or zstd; detected). Paths
/// are resolved beneath the new directory, devices and fifos refused. Blocking.
///
/// A stream that is no tar but a Dockerfile (as `docker build - < Dockerfile` sends to old API versions) is not
/// guessed at here.
pub fn unpack(reader: impl Read, scratch: &Path, limits: &Limits) -> Result<Context, ContextError> {
    let _ = (reader, scratch, limits);
    todo!()
}
