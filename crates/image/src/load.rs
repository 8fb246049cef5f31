use havre_oci::{Digest, Reference};
use tokio::io::AsyncRead;

use crate::{ImageError, ImageService, Progress};

/// One loaded image: "Loaded image: NAME", or "Loaded image ID: sha256:…" without a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub image: Digest,
    pub reference: Option<Reference>,
}

impl Loaded {
    /// Docker's line, without a line end.
    pub fn line(&self) -> String {
        todo!()
    }
}

impl ImageService {
    /// Loads a docker-archive or OCI layout tar (gzip, zstd, plain).
    pub async fn load<R>(&self, reader: R, progress: &dyn Progress) -> Result<Vec<Loaded>, ImageError>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let _ = (reader, progress);
        todo!()
    }
}
