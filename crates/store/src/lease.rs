//! Leases: what is in flight and must not be collected.

use havre_oci::Digest;

/// Protects digests (blobs and layers alike) from [`Store::collect`](crate::Store::collect) until the last clone is dropped.
///
/// Everything made with a lease is held by it. To *use* something that exists, hold it first and look it up after: a
/// collection between the two then can't take it away.
#[derive(Clone, Debug)]
pub struct Lease {}

impl Lease {
    /// Protects a blob digest or a diff ID, whether or not it exists yet.
    pub fn hold(&self, _digest: &Digest) {
        todo!()
    }
}
