//! `COPY` and `ADD`: which files, their content key, and writing them into a step's file system.

mod archive;
mod content;
mod draft;
mod key;
mod owner;
mod place;
mod select;
mod stream;

use std::io;

use havre_oci::layer::LayerError;

use crate::context::BadPattern;
use crate::fetch::FetchError;

pub(crate) use archive::{is_archive, unpack};
pub(crate) use content::{Content, Reading, contents};
pub(crate) use draft::Draft;
pub(crate) use key::content_digest;
pub(crate) use owner::resolve as resolve_owner;
pub(crate) use place::{Destination, ensure_directory, is_directory, place};
pub(crate) use select::{Item, ItemKind, Picked, Tree};
pub(crate) use stream::{Failure, LayerStream};

/// Why files could not be copied, in Docker's words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    #[error(
        "{keyword} failed: file not found in build context or excluded by .dockerignore: stat {path}: file does not exist"
    )]
    NotInContext { keyword: &'static str, path: String },
    #[error("{keyword} failed: stat {path}: file does not exist")]
    NotFound { keyword: &'static str, path: String },
    #[error("{keyword} failed: no source files were specified")]
    NoSources { keyword: &'static str },
    #[error("{keyword} failed: forbidden path outside the build context: {path} ()")]
    Forbidden { keyword: &'static str, path: String },
    #[error(
        "When using {keyword} with more than one source file, the destination must be a directory and end with a /"
    )]
    NotADirectory { keyword: &'static str },
    #[error("{pattern:?}: {source}")]
    Pattern { pattern: String, source: BadPattern },
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    Chmod(String),
    #[error("unable to convert uid/gid chown string to host mapping: can't find {what} for {name}")]
    Owner { what: &'static str, name: String },
    #[error("cannot determine filename for source {0}")]
    NoFileName(String),
    #[error("digest mismatch {actual}: {expected} was expected")]
    Checksum { actual: String, expected: String },
    #[error("--checksum is only for sources that are URLs")]
    ChecksumTarget,
    #[error("invalid checksum {0:?}: it must be sha256:… or sha512:…")]
    InvalidChecksum(String),
    #[error("ADD can't take the git repository {0}: clone it beforehand, or fetch an archive of it by https")]
    Git(String),
    #[error(
        "{path} is {compression}-compressed, which can't be unpacked here: compress it with gzip or zstd, or keep it packed with --unpack=false"
    )]
    Compression { path: String, compression: &'static str },
    #[error("{path}: {source}")]
    Archive { path: String, source: LayerError },
    #[error("{path} is a device or a fifo; a context holds only files, directories and links")]
    Special { path: String },
    #[error("{path} changed whenever it was read: build again when nothing writes to it")]
    Changed { path: String },
    #[error("{path} can't be in a layer: names that begin with \".wh.\" mean deletions there")]
    Whiteout { path: String },
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Io(#[from] io::Error),
}
