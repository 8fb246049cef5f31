//! Archives that are no layers, to be read as a tree for a while.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use havre_oci::layer::{Entry, Kind};
use havre_sys::erofs::Backing;

use super::writer::{ImageWriter, Written};
use super::{Erofs, FS, IMAGE};
use crate::{ApplyError, Limits, StoreError};

/// Bytes the tree of a spooled archive may take: four million entries with names of some 25 bytes. There is one at a time for
/// a build, and no other form to go over to.
const SPOOLED: u64 = 256 << 20;

impl Erofs {
    /// Writes an archive into the empty directory `staged` and mounts its tree; where. See [`LayerStore::spool`].
    ///
    /// [`LayerStore::spool`]: crate::LayerStore::spool
    pub(crate) fn spool(
        &self,
        tar: &mut dyn BufRead,
        staged: &Path,
        limits: &Limits,
    ) -> Result<PathBuf, ApplyError> {
        let backing = self.backing.as_ref().map_err(|reason| StoreError::Unmountable {
            path: staged.join(IMAGE),
            reason: reason.clone(),
        })?;
        // What was written a moment ago is read now: past the page cache it would have to be on the disk first.
        let backing = match backing {
            Backing::File { .. } => Backing::File { direct: false },
            Backing::Loop => Backing::Loop,
        };
        let writer = ImageWriter::create(staged, self.block, SPOOLED)?;
        if let Written::Outgrown { .. } = writer.plain(literal).write(tar, limits)? {
            return Err(ApplyError::Limit {
                what: "bytes of names",
                limit: SPOOLED,
            });
        }
        let target = staged.join(FS);
        havre_sys::erofs::mount(&staged.join(IMAGE), &target, backing).map_err(|source| {
            StoreError::Mount {
                target: target.clone(),
                source,
            }
        })?;
        Ok(target)
    }
}

/// Nobody's rights are kept, and nothing but files, directories and links is there.
fn literal(entry: &mut Entry) -> Result<(), ApplyError> {
    if matches!(entry.kind, Kind::Char { .. } | Kind::Block { .. } | Kind::Fifo) {
        return Err(ApplyError::Entry {
            path: String::from_utf8_lossy(&entry.path).into_owned(),
            source: io::Error::new(io::ErrorKind::Unsupported, "a device or a fifo"),
        });
    }
    (entry.uid, entry.gid) = (0, 0);
    entry.xattrs.clear();
    Ok(())
}
