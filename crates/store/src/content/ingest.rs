//! A blob being written, and readers that follow it.

use std::io::{self, Read};

use crate::Result;

/// A blob being written. Dropping it keeps what came for a later [`ContentStore::ingest`](crate::ContentStore::ingest);
/// tail readers then see [`StoreError::IngestAborted`](crate::StoreError::IngestAborted).
#[derive(Debug)]
pub struct Ingest {}

impl Ingest {
    /// Bytes already there: where a resumed transfer continues.
    pub fn offset(&self) -> u64 {
        todo!()
    }
    /// Appends. Refuses to go beyond the announced size.
    pub fn write_all(&mut self, _bytes: &[u8]) -> Result<()> {
        todo!()
    }
    /// Throws away what is there and begins at offset 0. Tail readers that already read fail.
    pub fn restart(&mut self) -> Result<()> {
        todo!()
    }
    /// A reader of everything from offset 0 that waits for bytes to come, ends when the ingest is committed and fails when
    /// it is dropped or discarded.
    pub fn tail(&self) -> Result<IngestReader> {
        todo!()
    }
    /// Verifies size and digest and publishes the blob. On a mismatch the partial file is removed.
    pub fn commit(self) -> Result<()> {
        todo!()
    }
    /// Gives up and removes what came.
    pub fn discard(self) -> Result<()> {
        todo!()
    }
}

/// Follows an [`Ingest`] from its first byte; blocks where the writer hasn't come yet.
#[derive(Debug)]
pub struct IngestReader {}

impl Read for IngestReader {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        todo!()
    }
}
