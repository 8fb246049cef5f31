//! Space laid aside, so that a disk others have filled can still be cleaned up: even to delete, the database writes first.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use fs_err as fs;
use rustix::fs::FallocateFlags;

/// Bytes laid aside: more than the database's journal takes before it is written back (1000 pages of 4 KiB).
const SIZE: u64 = 6 << 20;
/// Nothing is laid aside on a disk with less room than this.
const PLENTY: u64 = 8 * SIZE;
/// With less room than this the reserve is given up.
const SCARCE: u64 = 256 << 10;

/// A file of no use but its size.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    /// It is there, as far as is known.
    there: AtomicBool,
}

impl Reserve {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            there: AtomicBool::new(false),
        }
    }

    /// Lays the space aside again if it was given up and there is plenty. Costs nothing while it is there.
    pub(crate) fn fill(&self) {
        if self.there.load(Ordering::Relaxed) {
            return;
        }
        if self.path.exists() {
            self.there.store(true, Ordering::Relaxed);
            return;
        }
        if self.available().is_none_or(|free| free < PLENTY) {
            return;
        }
        let filled = fs::File::create(&self.path).and_then(|file| {
            rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, SIZE)?;
            Ok(())
        });
        match filled {
            Ok(()) => self.there.store(true, Ordering::Relaxed),
            Err(error) => {
                tracing::debug!(%error, "no space is laid aside");
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    /// Gives the space up when the disk is full; says whether it is.
    pub(crate) fn make_room(&self) -> bool {
        let full = self.available().is_some_and(|free| free < SCARCE);
        if full {
            self.there.store(false, Ordering::Relaxed);
        }
        if full && fs::remove_file(&self.path).is_ok() {
            tracing::warn!(path = %self.path.display(), "the disk is full: gave up the space laid aside for cleaning up");
        }
        full
    }

    fn available(&self) -> Option<u64> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let status = rustix::fs::statvfs(directory).ok()?;
        Some(status.f_bavail * status.f_frsize)
    }
}
