//! Archives of images, from whatever tool: docker-archive and OCI layout.
//!
//! The tar is read once, as it comes. Layers go into the store at once, small documents are kept aside; what they mean is
//! known at the end, when `manifest.json` or `index.json` has been seen. Names in the archive are keys and nothing else.

mod intake;
mod plan;

use havre_oci::{Digest, Platform, Reference};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::SyncIoBridge;

use crate::{ImageError, ImageService, Progress, ProgressEvent};

/// One loaded image: "Loaded image: NAME", or "Loaded image ID: sha256:…" without a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub image: Digest,
    pub reference: Option<Reference>,
}

impl Loaded {
    /// Docker's line, without a line end.
    pub fn line(&self) -> String {
        match &self.reference {
            Some(reference) => format!("Loaded image: {}", reference.familiar()),
            None => format!("Loaded image ID: {}", self.image),
        }
    }
}

impl ImageService {
    /// Loads a docker-archive or OCI layout tar (gzip, zstd, bzip2, xz, plain). Images and names appear when the whole
    /// archive has been read and is sound. `platforms`: just the images for these; all if there are none.
    pub async fn load<R>(
        &self,
        reader: R,
        platforms: Vec<Platform>,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>, ImageError>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let (sender, mut events) = mpsc::unbounded_channel::<ProgressEvent>();
        let bridge = SyncIoBridge::new(reader);
        let work = self.blocking(move |service| service.load_blocking(bridge, &platforms, &sender));
        tokio::pin!(work);
        let loaded = loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => progress.emit(event),
                outcome = &mut work => break outcome?,
            }
        };
        while let Ok(event) = events.try_recv() {
            progress.emit(event);
        }
        Ok(loaded)
    }
}
