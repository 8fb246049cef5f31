//! The build context: a directory the client sent or shares, and what the build sees of it.

mod claim;
mod hashes;
mod ignore;
mod pattern;
mod receive;
mod unpack;

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use havre_oci::layer::LayerError;
use havre_store::{ApplyError, Spool};
use havre_sys::rooted::Root;

pub use claim::{BadClaim, Claim, Unseen};
pub(crate) use hashes::{Hashes, Sha256, Stamp, now, raw};
pub(crate) use ignore::clean;
pub use ignore::{IgnoreError, IgnoreRules, read_patterns};
pub use pattern::BadPattern;
pub(crate) use pattern::Pattern;
pub use receive::receive;
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
    #[error("failed to read build context: {0}")]
    Spool(#[source] ApplyError),
    #[error("build context: {path} is a device or a fifo; a context holds only files, directories and links")]
    Special { path: String },
    #[error("build context: the tar is {0}-compressed; send it plain, or compressed by gzip or zstd")]
    Compression(&'static str),
    #[error("build context: {0} is not a tar archive")]
    NotTar(&'static str),
}

/// A context directory. What a client sent is removed when the value is dropped.
#[derive(Debug)]
pub struct Context {
    path: PathBuf,
    root: Root,
    hashes: Hashes,
    owned: Option<Owned>,
}

/// Where the files of a context lie that is gone when the build ends.
#[derive(Debug)]
enum Owned {
    Directory { _guard: tempfile::TempDir },
    Spool { _guard: Spool },
}

impl Context {
    /// A directory on this machine, read in place and never written.
    pub fn directory(path: &Path) -> Result<Self, ContextError> {
        Ok(Context {
            path: path.to_path_buf(),
            root: Root::open(path)?,
            hashes: Hashes::default(),
            owned: None,
        })
    }

    /// The directory that the process `pid`, a client on this machine, claims to see; read in place and never written.
    ///
    /// Everything in it can be read with this process's rights, also what the client could not read itself: whoever may
    /// ask for builds owns the machine anyway. Links lead nowhere but into the directory.
    pub fn of_peer(pid: i32, claim: &Claim) -> Result<Self, Unseen> {
        let fd = claim.open(pid)?;
        Ok(Context {
            path: claim.path().to_path_buf(),
            root: Root::from_fd(fd, claim.path()),
            hashes: Hashes::default(),
            owned: None,
        })
    }

    /// No files at all (a Dockerfile on stdin). `scratch` is a directory for temporary files.
    pub fn empty(scratch: &Path) -> Result<Self, ContextError> {
        Self::owned(temporary(scratch)?)
    }

    fn owned(owned: tempfile::TempDir) -> Result<Self, ContextError> {
        let mut context = Self::directory(owned.path())?;
        context.owned = Some(Owned::Directory { _guard: owned });
        Ok(context)
    }

    fn spooled(spool: Spool) -> Result<Self, ContextError> {
        let mut context = Self::directory(spool.path())?;
        context.owned = Some(Owned::Spool { _guard: spool });
        Ok(context)
    }

    /// Remembers in `folder` what the files of a directory read in place hash to, and uses what earlier builds left
    /// there.
    pub(crate) fn remember(&mut self, folder: &Path) {
        if self.owned.is_none()
            && let Ok(status) = rustix::fs::fstat(&self.root)
        {
            self.hashes = Hashes::open(folder, (status.st_dev, status.st_ino));
        }
    }

    /// Where the files are, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory, opened once more.
    pub(crate) fn root(&self) -> io::Result<Root> {
        let fd = self.root.as_fd().try_clone_to_owned()?;
        Ok(Root::from_fd(fd, &self.path))
    }

    pub(crate) fn hashes(&self) -> &Hashes {
        &self.hashes
    }
}

fn temporary(scratch: &Path) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("context-").tempdir_in(scratch)
}
