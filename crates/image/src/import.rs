use havre_oci::{Digest, Platform, Reference, RunConfig};
use tokio::io::AsyncRead;

use crate::{ImageError, ImageService, Progress};

#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    pub reference: Option<Reference>,
    /// Dockerfile instructions: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR.
    pub changes: Vec<String>,
    pub message: String,
    /// Where the tar comes from, for the history ("-", a URL, a file name).
    pub source: String,
    pub platform: Option<Platform>,
}

/// Applies `--change` instructions (of import and commit) to a configuration.
pub fn apply_changes(config: &mut RunConfig, changes: &[String]) -> Result<(), ImageError> {
    let _ = (config, changes);
    todo!()
}

impl ImageService {
    /// Makes an image of one layer from a tar of a file system (plain, gzip, zstd). Returns its ID.
    pub async fn import<R>(
        &self,
        reader: R,
        options: ImportOptions,
        progress: &dyn Progress,
    ) -> Result<Digest, ImageError>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let _ = (reader, options, progress);
        todo!()
    }
}
