use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;

/// Bytes of a blob to upload.
pub type BodyStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + Sync>>;

/// Opens a blob's bytes from an offset; called again when an upload is resumed or restarted.
pub trait BlobSource: Send + Sync {
    fn open(&self, offset: u64) -> io::Result<BodyStream>;
}

impl<F: Fn(u64) -> io::Result<BodyStream> + Send + Sync> BlobSource for F {
    fn open(&self, offset: u64) -> io::Result<BodyStream> {
        self(offset)
    }
}

/// Answer to a cross-repository mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountResult {
    Mounted,
    /// The registry wants an upload.
    NotMounted,
}
