//! Paths resolved beneath a root directory, whatever links they contain.
//!
//! A path taken from an image, an archive or a container names something *inside* a root. Links on the way are followed as a
//! process whose `/` is that root would follow them (`RESOLVE_IN_ROOT`), so none of them leads out, also while somebody
//! changes the tree at the same time.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

pub use rustix::fs::{Mode, OFlags};

/// A directory that paths can't leave. Errors name the path.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens the directory `path`, itself resolved by the ordinary rules.
    pub fn open(_path: &Path) -> io::Result<Self> {
        todo!()
    }
    /// A root from a descriptor (of a directory; `O_PATH` will do). `path` is for messages.
    pub fn from_fd(fd: OwnedFd, path: &Path) -> Self {
        Self {
            fd,
            path: path.to_path_buf(),
        }
    }
    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Opens what `path` names inside; the last component's link is followed unless `flags` has `NOFOLLOW`.
    /// `CLOEXEC` is added. `mode` counts with `CREATE`.
    pub fn open_at(&self, _path: &Path, _flags: OFlags, _mode: Mode) -> io::Result<OwnedFd> {
        todo!()
    }
    /// The directory that holds the last component of `path` (resolved inside), and that component's name.
    /// `None` for the root itself.
    pub fn parent(&self, _path: &Path) -> io::Result<Option<(OwnedFd, OsString)>> {
        todo!()
    }
    /// Makes the directory `path` with all missing parents (`mode`), and opens it. Links to directories inside are followed.
    pub fn ensure_dir(&self, _path: &Path, _mode: Mode) -> io::Result<OwnedFd> {
        todo!()
    }
    /// Where `path` really is, relative to the root: every link resolved. It must exist.
    pub fn resolve(&self, _path: &Path) -> io::Result<PathBuf> {
        todo!()
    }
    /// Status of what `path` names; of the link itself if it is one and `follow` is false.
    pub fn stat(&self, _path: &Path, _follow: bool) -> io::Result<rustix::fs::Stat> {
        todo!()
    }
    /// The target of the link `path`.
    pub fn read_link(&self, _path: &Path) -> io::Result<PathBuf> {
        todo!()
    }
    /// Reads a file of at most `limit` bytes. Refuses anything but a regular file, without blocking on a fifo.
    pub fn read(&self, _path: &Path, _limit: u64) -> io::Result<Vec<u8>> {
        todo!()
    }
    /// Makes or replaces a regular file.
    pub fn write(&self, _path: &Path, _bytes: &[u8], _mode: Mode) -> io::Result<()> {
        todo!()
    }
    /// Makes a link `path` with the given target, which is not interpreted.
    pub fn symlink(&self, _path: &Path, _target: &Path) -> io::Result<()> {
        todo!()
    }
    /// Removes a file, link or empty directory.
    pub fn remove(&self, _path: &Path) -> io::Result<()> {
        todo!()
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
