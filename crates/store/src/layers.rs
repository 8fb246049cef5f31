//! Layers, unpacked once and shared by every image and container.

use std::io::{self, Read};
use std::path::Path;

use havre_oci::Digest;
use jiff::Timestamp;

use crate::{ApplyError, Lease, Result};

/// An unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Digest of its uncompressed archive.
    pub diff_id: Digest,
    /// Sum of its regular files' sizes in bytes.
    pub size: u64,
    /// Size of its uncompressed archive in bytes.
    pub tar_size: u64,
    /// Entries of the archive.
    pub entries: u64,
    /// When it was stored.
    pub created: Timestamp,
}

/// What a layer archive may ask of the machine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of uncompressed archive.
    pub tar_size: u64,
    /// Number of entries.
    pub entries: u64,
}

impl Default for Limits {
    /// 1 TiB and 10 million entries: more than any image has, less than a machine dies of.
    fn default() -> Self {
        Self {
            tar_size: 1 << 40,
            entries: 10_000_000,
        }
    }
}

/// The layers of a store.
#[derive(Debug)]
pub struct LayerStore {}

impl LayerStore {
    /// The layer, if it is there.
    pub fn find(&self, _diff_id: &Digest) -> Result<Option<Layer>> {
        todo!()
    }
    /// The layer, or [`StoreError::LayerNotFound`](crate::StoreError::LayerNotFound).
    pub fn get(&self, _diff_id: &Digest) -> Result<Layer> {
        todo!()
    }
    /// All layers, in no order.
    pub fn list(&self) -> Result<Vec<Layer>> {
        todo!()
    }
    /// Unpacks an uncompressed layer archive, verifies that its digest is `expected` if that is known, and publishes it.
    ///
    /// `tar` is read on a second thread, so decompressing in it runs beside the unpacking. `progress` is told the bytes of
    /// `tar` consumed so far. Idempotent: a layer that exists is read to its end, verified and left as it is. Several applies
    /// of one layer at the same time are fine. A failure leaves nothing behind.
    pub fn apply(
        &self,
        _tar: impl Read + Send,
        _expected: Option<&Digest>,
        _limits: &Limits,
        _progress: &mut dyn FnMut(u64),
        _lease: &Lease,
    ) -> Result<Layer, ApplyError> {
        todo!()
    }
    /// Makes a layer of an overlay upper directory, which is moved in: `upper` is gone afterwards.
    /// It must lie on the store's file system and no longer be mounted.
    pub fn commit_dir(&self, _upper: &Path, _lease: &Lease) -> Result<Layer> {
        todo!()
    }
    /// Makes a layer of a copy of an overlay upper directory, which may be in use.
    pub fn commit_dir_copy(&self, _upper: &Path, _lease: &Lease) -> Result<Layer> {
        todo!()
    }
    /// The layer's uncompressed archive, byte for byte.
    pub fn tar(&self, _diff_id: &Digest) -> Result<LayerTar> {
        todo!()
    }
    /// Removes a layer; the bytes freed. Only for layers known to be held by nothing.
    pub fn remove(&self, _diff_id: &Digest) -> Result<u64> {
        todo!()
    }
}

/// A layer's uncompressed archive as a stream.
pub struct LayerTar {}

impl LayerTar {
    /// Bytes the stream has in all.
    pub fn size(&self) -> u64 {
        todo!()
    }
}

impl Read for LayerTar {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        todo!()
    }
}
