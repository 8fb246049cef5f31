//! Immutable blobs by digest, and the partial downloads that become blobs.

mod ingest;

pub use ingest::{Ingest, IngestReader};

use havre_oci::Digest;

use crate::{Lease, Result};

/// Immutable blobs, each a file named by its digest.
#[derive(Debug)]
pub struct ContentStore {}

impl ContentStore {
    /// Whether the blob is there.
    pub fn contains(&self, _digest: &Digest) -> bool {
        todo!()
    }
    /// Its size in bytes, if it is there.
    pub fn size(&self, _digest: &Digest) -> Option<u64> {
        todo!()
    }
    /// Opens it for reading.
    pub fn open(&self, _digest: &Digest) -> Result<fs_err::File> {
        todo!()
    }
    /// Reads all of it, if it has no more than `limit` bytes.
    pub fn read(&self, _digest: &Digest, _limit: u64) -> Result<Vec<u8>> {
        todo!()
    }
    /// Stores bytes under their SHA-256 digest.
    pub fn put(&self, _bytes: &[u8], _lease: &Lease) -> Result<Digest> {
        todo!()
    }
    /// Begins, or continues, writing the blob `expected` of `size` bytes if that is known. One writer per blob at a time
    /// ([`StoreError::IngestBusy`](crate::StoreError::IngestBusy)).
    pub fn ingest(&self, _expected: &Digest, _size: Option<u64>, _lease: &Lease) -> Result<Ingest> {
        todo!()
    }
    /// Removes the blob; the bytes freed, 0 if it wasn't there. Only for blobs known to be held by nothing.
    pub fn remove(&self, _digest: &Digest) -> Result<u64> {
        todo!()
    }
    /// All blobs with their sizes in bytes, in no order.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>> {
        todo!()
    }
}
