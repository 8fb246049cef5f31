//! What a manifest names, from repository to repository: found there, mounted, or passed through.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use futures_util::{StreamExt as _, TryStreamExt as _};
use havre_oci::{Descriptor, Digest, Document, Platform, Reference};
use havre_registry_client::{MountResult, Repository, Resolved};

use super::{Access, Source, selector};
use crate::relay::{self, Failure};
use crate::{ImageError, ImageService, Progress, ProgressEvent};

/// Indexes in indexes are followed so deep.
const MAX_DEPTH: usize = 4;

/// From repository to repository.
struct Way<'a> {
    from: &'a Repository,
    /// The path of `from`, if it is in the same registry: what is there need not be sent.
    mount: Option<&'a str>,
    to: &'a Repository,
    progress: &'a dyn Progress,
}

/// What is copied of an image.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// Of an index the manifest for this platform; else all.
    pub platform: Option<Platform>,
    /// What refers to it as well: signatures, SBOMs and the like.
    pub referrers: bool,
}

/// Whether a repository has a manifest; said so if it has.
async fn is_there(
    to: &Repository,
    descriptor: &Descriptor,
    progress: &dyn Progress,
) -> Result<bool, ImageError> {
    let there = to.head_manifest(descriptor.digest.as_str()).await?.is_some();
    if there {
        let id = descriptor.digest.short();
        progress.emit(ProgressEvent::of(id, "Manifest already exists"));
    }
    Ok(there)
}

impl ImageService {
    /// Copies an image, with all its platforms, from repository to repository; its descriptor. Blobs that the target's
    /// registry can take from the source's repository are not sent.
    pub async fn copy(
        &self,
        source: &Source,
        target: &Reference,
        access: &Access,
        options: &CopyOptions,
        progress: &dyn Progress,
    ) -> Result<Descriptor, ImageError> {
        if target.digest().is_some() {
            return Err(ImageError::PushDigest);
        }
        let from = self.repository(&source.reference, &source.access);
        let to = self.repository(target, access);
        let top = from.resolve(&selector(&source.reference)).await?;
        let found = match (&options.platform, &top.document) {
            (Some(platform), Document::Index(index)) => {
                let descriptor = platform
                    .select(index)
                    .ok_or_else(|| ImageError::NoMatchingManifest {
                        platform: platform.to_string(),
                    })?;
                from.resolve(descriptor.digest.as_str()).await?
            }
            _ => top,
        };
        let way = Way {
            from: &from,
            mount: (source.reference.domain() == target.domain()).then(|| source.reference.path()),
            to: &to,
            progress,
        };
        if source.reference.repository() != target.repository() {
            if !is_there(&to, &found.descriptor, progress).await? {
                self.carry(&way, &found.descriptor, MAX_DEPTH).await?;
            }
            if options.referrers {
                let mut subjects = vec![found.descriptor.digest.clone()];
                if let Document::Index(index) = &found.document {
                    subjects.extend(index.manifests.iter().map(|named| named.digest.clone()));
                }
                for subject in subjects {
                    self.carry_referrers(&way, &subject, MAX_DEPTH).await?;
                }
            }
        }
        let media_type = found.document.media_type();
        to.push_manifest(&selector(target), media_type, found.bytes)
            .await?;
        Ok(found.descriptor)
    }

    /// What refers to a manifest, and to that in turn.
    async fn carry_referrers(&self, way: &Way<'_>, subject: &Digest, depth: usize) -> Result<(), ImageError> {
        for referrer in way.from.referrers(subject).await? {
            if !is_there(way.to, &referrer, way.progress).await? {
                self.carry(way, &referrer, MAX_DEPTH).await?;
            }
            if depth > 0 {
                Box::pin(self.carry_referrers(way, &referrer.digest, depth - 1)).await?;
            }
        }
        Ok(())
    }

    /// Brings a manifest, with all it names, to a repository from the first of `sources` that has it.
    pub(super) async fn bring(
        &self,
        target: &Reference,
        to: &Repository,
        descriptor: &Descriptor,
        sources: &[Source],
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        if is_there(to, descriptor, progress).await? {
            return Ok(());
        }
        let mut asked = vec![target.repository()];
        for Source { reference, access } in sources {
            if asked.contains(&reference.repository()) {
                continue;
            }
            asked.push(reference.repository());
            let from = self.repository(reference, access);
            if from.head_manifest(descriptor.digest.as_str()).await?.is_none() {
                continue;
            }
            let way = Way {
                from: &from,
                mount: (reference.domain() == target.domain()).then(|| reference.path()),
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
                    if !is_there(way.to, named, way.progress).await? {
                        Box::pin(self.carry(way, named, depth - 1)).await?;
                    }
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
        if let Some(path) = self.mount
            && self.to.mount_blob(&blob.digest, path).await? == MountResult::Mounted
        {
            let line = format!("Mounted from {path}");
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
