use std::io;

use bytes::Bytes;
use futures_util::Stream;

use crate::{ImageError, ImageService};

/// A planned archive: everything is resolved, nothing is written yet.
pub struct Archive {}

impl Archive {
    /// Writes the tar. Blocking.
    pub fn write_to(self, writer: impl io::Write) -> Result<(), ImageError> {
        let _ = writer;
        todo!()
    }

    /// The tar as a stream, made on a blocking thread with bounded buffers. Dropping it stops the work.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        futures_util::stream::empty()
    }
}

impl ImageService {
    /// Plans an archive of the named images (references keep their tags, IDs have none), in the form of Docker ≥ 25:
    /// OCI layout with `manifest.json`.
    pub async fn save(&self, names: &[String]) -> Result<Archive, ImageError> {
        let _ = names;
        todo!()
    }
}
