//! Garbage collection: mark what is reachable, sweep the rest.

use havre_oci::Digest;

/// What a collection removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Bytes that come back: blobs and partial downloads by file size, layers by the sum of their files' sizes.
    pub bytes: u64,
    /// Diff IDs of the removed layers.
    pub layers: Vec<Digest>,
    /// Digests of the removed blobs.
    pub blobs: Vec<Digest>,
    /// Digests of the abandoned downloads.
    pub ingests: Vec<Digest>,
}

/// Bytes by kind of object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blobs.
    pub content: u64,
    /// Partial downloads.
    pub ingest: u64,
    /// Unpacked layers, each counted once.
    pub layers: u64,
}
