//! What a manifest names, from repository to repository: found there, mounted, or passed through.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use futures_util::{StreamExt as _, TryStreamExt as _};
use havre_oci::{Descriptor, Document, Reference};
use havre_registry_client::{MountResult, Repository, Resolved};

use super::Access;
use crate::relay::{self, Failure};
use crate::{ImageError, ImageService, Progress, ProgressEvent};

/// Indexes in indexes are followed so deep.
const MAX_DEPTH: usize = 4;

/// Two repositories of one registry.
struct Way<'a> {
    from: &'a Repository,
    from_path: &'a str,
    to: &'a Repository,
    progress: &'a dyn Progress,
}

impl ImageService {
    /// Brings a manifest, with all it names, to a repository from the first of `sources` that has it.
    pub(super) async fn bring(
        &self,
        target: &Reference,
        to: &Repository,
        descriptor: &Descriptor,
        sources: &[Reference],
        access: &Access,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        let id = descriptor.digest.short();
        if to.head_manifest(descriptor.digest.as_str()).await?.is_some() {
            progress.emit(ProgressEvent::of(id, "Manifest already exists"));
            return Ok(());
        }
        let mut asked = Vec::new();
        for source in sources {
            if source.path() == target.path() || asked.contains(&source.path()) {
                continue;
            }
            asked.push(source.path());
            let from = self.repository(source, access);
            if from.head_manifest(descriptor.digest.as_str()).await?.is_none() {
                continue;
            }
            let way = Way {
                from: &from,
                from_path: source.path(),
                to,
                progress,
            };
            return self.carry(&way, descriptor, MAX_DEPTH).await;
        }
        Err(ImageError::NoSource {
            digest: descriptor.digest.clone(),
            target: target.familiar(),
        })
    }

    /// The manifest or index with all it names, which comes first.
    async fn carry(&self, way: &Way<'_>, descriptor: &Descriptor, depth: usize) -> Result<(), ImageError> {
        let Resolved { bytes, document, .. } = way.from.resolve(descriptor.digest.as_str()).await?;
        let media_type = document.media_type().to_owned();
        match document {
            Document::Index(_) if depth == 0 => {
                return Err(ImageError::IndexTooDeep(descriptor.digest.clone()));
            }
            Document::Index(index) => {
                for named in &index.manifests {
                    Box::pin(self.carry(way, named, depth - 1)).await?;
                }
            }
            Document::Manifest(manifest) => {
                // A blob may be named twice; layers that registries do not hold stay where their addresses point.
                let blobs: BTreeMap<_, _> = manifest
                    .layers
                    .iter()
                    .filter(|layer| layer.urls.is_empty())
                    .chain([&manifest.config])
                    .map(|blob| (blob.digest.clone(), blob))
                    .collect();
                let transfers: Vec<_> = blobs.into_values().map(|blob| way.blob(blob)).collect();
                futures_util::stream::iter(transfers)
                    .buffer_unordered(self.limits.uploads.max(1))
                    .try_collect::<()>()
                    .await?;
            }
        }
        let selector = descriptor.digest.as_str();
        way.to.push_manifest(selector, &media_type, bytes).await?;
        way.progress
            .emit(ProgressEvent::of(descriptor.digest.short(), "Pushed"));
        Ok(())
    }
}

impl Way<'_> {
    async fn blob(&self, blob: &Descriptor) -> Result<(), ImageError> {
        let id = blob.digest.short();
        if self.to.blob_exists(&blob.digest).await? {
            self.progress.emit(ProgressEvent::of(id, "Layer already exists"));
            return Ok(());
        }
        if self.to.mount_blob(&blob.digest, self.from_path).await? == MountResult::Mounted {
            let line = format!("Mounted from {}", self.from_path);
            self.progress.emit(ProgressEvent::of(id, line));
            return Ok(());
        }
        let failure = Failure::default();
        let source = |offset| Ok(relay::stream(self.from.clone(), blob, offset, None, &failure));
        let told = |sent| {
            let event = ProgressEvent::bytes(id, "Pushing", sent, blob.size);
            self.progress.emit(event);
        };
        let outcome = self.to.push_blob(blob, &source, &told).await;
        if let Some(reason) = failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(ImageError::Relay {
                digest: blob.digest.clone(),
                reason,
            });
        }
        outcome?;
        self.progress.emit(ProgressEvent::of(id, "Pushed"));
        Ok(())
    }
}
