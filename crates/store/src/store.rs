//! The store as a whole: opening, and the way to its parts.

use std::path::Path;

use crate::layout::Layout;
use crate::{ContentStore, Freed, LayerStore, Lease, Meta, Result, Snapshots, Usage};
use havre_oci::Digest;

/// Everything persistent under one root directory. Thread-safe; share it in an `Arc`.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// Opens the store at `root`, creating it (mode 0700) if there is none; takes the root's lock for as long as the value
    /// lives, and sweeps what a crash left behind.
    pub fn open(_root: &Path) -> Result<Self> {
        todo!()
    }
    /// Where things are.
    pub fn layout(&self) -> &Layout {
        todo!()
    }
    /// Blobs.
    pub fn content(&self) -> &ContentStore {
        todo!()
    }
    /// Unpacked layers.
    pub fn layers(&self) -> &LayerStore {
        todo!()
    }
    /// Writable file systems of containers and build steps.
    pub fn snapshots(&self) -> &Snapshots {
        todo!()
    }
    /// The database.
    pub fn meta(&self) -> &Meta {
        todo!()
    }
    /// A new, empty lease.
    pub fn lease(&self) -> Lease {
        todo!()
    }
    /// Removes every blob, layer and partial download nothing reaches.
    pub fn collect(&self) -> Result<Freed> {
        todo!()
    }
    /// What [`Store::collect`] would free now, without doing it.
    pub fn collectable(&self) -> Result<Freed> {
        todo!()
    }
    /// Deletes an image's row with its references and repository digests, and what only it held. Cheaper than
    /// [`Store::collect`]: it looks at nothing but this image's own content.
    pub fn remove_image(&self, _id: &Digest) -> Result<Freed> {
        todo!()
    }
    /// Bytes on disk by kind.
    pub fn usage(&self) -> Result<Usage> {
        todo!()
    }
    /// Moves a file or directory of the store out of sight at once and deletes it in the background.
    pub fn discard(&self, _path: &Path) -> Result<()> {
        todo!()
    }
    /// Makes everything published so far survive a power cut. Done in the background soon after each publication; call it
    /// before an orderly end.
    pub fn sync(&self) -> Result<()> {
        todo!()
    }
}
