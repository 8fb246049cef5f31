//! An image of one layer from a tar of a file system.

use havre_oci::{Digest, History, ImageConfig, Platform, Reference, RunConfig, compression};
use havre_store::{ApplyError, Layer, Lease};
use jiff::Timestamp;
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use crate::{CreateImage, ImageError, ImageService, Progress, ProgressEvent, apply_changes};

/// What to make of an imported file system.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    pub reference: Option<Reference>,
    /// Dockerfile instructions, see [`apply_changes`].
    pub changes: Vec<String>,
    /// Comment of the history; "Imported from SOURCE" when empty.
    pub message: String,
    /// Where the tar comes from, for the history ("-", a URL, a file name).
    pub source: String,
    pub platform: Option<Platform>,
}

impl ImageService {
    /// Makes an image of one layer from a tar of a file system (plain, gzip, zstd, bzip2, xz). Returns its ID.
    pub async fn import<R>(
        &self,
        reader: R,
        options: ImportOptions,
        progress: &dyn Progress,
    ) -> Result<Digest, ImageError>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        // Before any byte is read: nothing is half done when an instruction is wrong.
        let mut run = RunConfig::default();
        apply_changes(&mut run, &options.changes)?;
        if options
            .reference
            .as_ref()
            .is_some_and(|reference| reference.digest().is_some())
        {
            return Err(ImageError::TagWithDigest);
        }
        let lease = self.lease();
        let layer = {
            let (bridge, lease) = (SyncIoBridge::new(reader), lease.clone());
            self.blocking(move |service| service.apply_any(bridge, &lease))
                .await?
        };
        let source = if options.source.is_empty() {
            "-"
        } else {
            &options.source
        };
        let message = if options.message.is_empty() {
            format!("Imported from {source}")
        } else {
            options.message.clone()
        };
        let now = Timestamp::now();
        let mut config = ImageConfig::new(&options.platform.clone().unwrap_or_else(Platform::host));
        config.created = Some(now);
        config.config = run;
        config.history.push(History {
            created: Some(now),
            comment: message,
            ..History::default()
        });
        let request = CreateImage {
            parent: None,
            layers: vec![layer.diff_id],
            config,
            tags: options.reference.into_iter().collect(),
            command: "import".to_owned(),
        };
        let image = self.create_from(request, &lease).await?;
        progress.emit(ProgressEvent::line(image.id.to_string()));
        Ok(image.id)
    }

    /// Unpacks a tar of any compression.
    pub(crate) fn apply_any(
        &self,
        reader: impl std::io::Read + Send,
        lease: &Lease,
    ) -> Result<Layer, ImageError> {
        let (_, decoder) = compression::detecting_decoder(reader, compression::Limits::default())
            .map_err(ImageError::Input)?;
        let limits = havre_store::Limits::default();
        self.store
            .layers()
            .apply(decoder, None, &limits, &mut |_| {}, lease)
            .map_err(|error| match error {
                ApplyError::Store(error) => ImageError::Store(error),
                source => ImageError::Layer { digest: None, source },
            })
    }
}
