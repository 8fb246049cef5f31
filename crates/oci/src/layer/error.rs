//! Why an archive is refused.

use std::io;

/// What is wrong with an archive. Paths are shown lossily.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    #[error("cannot record the archive's headers")]
    Record(#[source] io::Error),
    #[error("archive ends in the middle of {what}")]
    Truncated { what: &'static str },
    #[error("archive: invalid tar header at byte {offset}: {what}")]
    Header { offset: u64, what: &'static str },
    #[error("archive: unhandled tar entry type {flag:?} for {path:?}")]
    Type { path: String, flag: char },
    #[error("archive: {path:?} is a sparse file that cannot be read: {what}")]
    Sparse { path: String, what: &'static str },
    #[error("archive: {path:?} is outside of the layer")]
    Outside { path: String },
    #[error("archive: hard link {path:?} points outside of the layer, to {target:?}")]
    LinkOutside { path: String, target: String },
    #[error("archive: invalid path {path:?}: {what}")]
    Path { path: String, what: &'static str },
    #[error("archive: invalid extended header of {path:?}: {what}")]
    Pax { path: String, what: &'static str },
    #[error("archive has more than {limit} entries")]
    TooManyEntries { limit: u64 },
    #[error("archive is larger than the limit of {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("archive: {what} of {size} bytes is larger than the limit of {limit} bytes")]
    Extension {
        what: &'static str,
        size: u64,
        limit: u64,
    },
    #[error("archive: contents of {path:?} are {actual} bytes, announced were {announced}")]
    Length {
        path: String,
        announced: u64,
        actual: u64,
    },
}

impl LayerError {
    pub(super) fn show(path: &[u8]) -> String {
        String::from_utf8_lossy(path).into_owned()
    }
}
