//! Trees that nobody keeps: an archive written as one file and mounted, for as long as somebody reads in it.

use std::fmt;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::Core;
use crate::{ApplyError, LayerStore, Limits};

/// Bytes read at once.
const PIECE: usize = 256 << 10;

/// A mounted tree of a store, no part of what the store keeps. Unmounted and deleted when it is dropped; one that a crash
/// leaves goes when the store is opened again.
pub struct Spool {
    core: Arc<Core>,
    dir: PathBuf,
    tree: PathBuf,
}

impl Spool {
    /// Where the tree is. It can't be written to.
    pub fn path(&self) -> &Path {
        &self.tree
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Spool").field(&self.tree).finish()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = self.core.discard_mounted(&self.dir) {
            tracing::warn!(%error, "cannot remove a spooled archive; trying again at the next start");
        }
    }
}

impl LayerStore {
    /// Writes an uncompressed archive as it comes into one file beside the layers, with an index of its entries that makes a
    /// file system of it, and mounts that. No file is made for an entry, and none is deleted afterwards.
    ///
    /// Names have no meaning: a `.wh.x` is a file called so. Owners and extended attributes are left out, devices and fifos
    /// refused ([`ApplyError::Entry`] with `Unsupported`). `None`, and nothing read, where the store's layers are directories because no other
    /// form works here or is wanted.
    pub fn spool(&self, tar: impl Read, limits: &Limits) -> Result<Option<Spool>, ApplyError> {
        let Some(images) = self.forms.images() else {
            return Ok(None);
        };
        let mut staged = self.stage()?;
        let tree = images.spool(&mut BufReader::with_capacity(PIECE, tar), &staged.path, limits)?;
        staged.kept = true;
        Ok(Some(Spool {
            core: self.core.clone(),
            dir: staged.path.clone(),
            tree,
        }))
    }
}
