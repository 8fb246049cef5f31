//! The layers of a push: found at the registry, mounted from another repository, or sent.

use std::io::{self, Read, Write};

use futures_util::{StreamExt as _, TryStreamExt as _};
use havre_oci::{Compression, Descriptor, Digest, Manifest, Reference, compression, media_type};
use havre_registry_client::{MountResult, Repository};
use havre_store::{Image, Lease};

use crate::{ImageError, ImageService, Progress, ProgressEvent};

/// Repositories asked to lend a blob.
const MAX_MOUNTS: usize = 4;
const COPY_BUFFER: usize = 256 << 10;

/// How a blob came to be at the registry.
enum Arrival {
    Exists,
    Mounted(String),
    /// Neither there nor lent.
    Absent,
}

impl ImageService {
    /// Pushes the layers as the kept manifest names them; `None` when one of them can be had in that form no more.
    pub(super) async fn push_kept(
        &self,
        repository: &Repository,
        reference: &Reference,
        image: &Image,
        kept: Option<(String, Vec<u8>, Manifest)>,
        progress: &dyn Progress,
    ) -> Result<Option<(String, Vec<u8>)>, ImageError> {
        let Some((media_type, bytes, manifest)) = kept else {
            return Ok(None);
        };
        if manifest.layers.len() != image.layers.len() {
            return Ok(None);
        }
        let lenders = self.lenders(reference, image).await?;
        // Collected: a closure over borrowed pairs inside the stream would keep this future from being `Send`.
        let pushes: Vec<_> = manifest
            .layers
            .iter()
            .zip(&image.layers)
            .rev()
            .map(|(blob, diff_id)| self.push_blob_as_is(repository, blob, diff_id, &lenders, progress))
            .collect();
        let present: Vec<bool> = futures_util::stream::iter(pushes)
            .buffered(self.limits.uploads.max(1))
            .try_collect()
            .await?;
        Ok(present
            .into_iter()
            .all(|present| present)
            .then_some((media_type, bytes)))
    }

    /// Whether the blob is at the registry afterwards.
    async fn push_blob_as_is(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        diff_id: &Digest,
        lenders: &[String],
        progress: &dyn Progress,
    ) -> Result<bool, ImageError> {
        // Layers that registries do not hold stay where their addresses point.
        if media_type::is_nondistributable(&blob.media_type) && !blob.urls.is_empty() {
            progress.emit(ProgressEvent::of(diff_id.short(), "Skipped foreign layer"));
            return Ok(true);
        }
        let arrival = self.arrival(repository, &blob.digest, lenders).await?;
        if self.announce(diff_id, &arrival, progress) {
            return Ok(true);
        }
        if !self.has_blob(&blob.digest) {
            return Ok(false);
        }
        self.send(repository, blob, diff_id, progress).await?;
        Ok(true)
    }

    /// Whether the blob arrived without being sent; says so.
    fn announce(&self, diff_id: &Digest, arrival: &Arrival, progress: &dyn Progress) -> bool {
        let status = match arrival {
            Arrival::Exists => "Layer already exists".to_owned(),
            Arrival::Mounted(from) => format!("Mounted from {from}"),
            Arrival::Absent => return false,
        };
        progress.emit(ProgressEvent::of(diff_id.short(), status));
        true
    }

    async fn send(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        diff_id: &Digest,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        let id = diff_id.short();
        progress.emit(ProgressEvent::bytes(id, "Pushing", 0, blob.size));
        let told = |sent| progress.emit(ProgressEvent::bytes(id, "Pushing", sent, blob.size));
        self.upload(repository, blob, &told).await?;
        progress.emit(ProgressEvent::of(id, "Pushed"));
        Ok(())
    }

    async fn arrival(
        &self,
        repository: &Repository,
        blob: &Digest,
        lenders: &[String],
    ) -> Result<Arrival, ImageError> {
        if repository.blob_exists(blob).await? {
            return Ok(Arrival::Exists);
        }
        for from in lenders {
            if repository.mount_blob(blob, from).await? == MountResult::Mounted {
                return Ok(Arrival::Mounted(from.clone()));
            }
        }
        Ok(Arrival::Absent)
    }

    /// Repositories of the same registry that images with layers of this one came from or went to.
    async fn lenders(&self, reference: &Reference, image: &Image) -> Result<Vec<String>, ImageError> {
        let (reference, image) = (reference.clone(), image.clone());
        self.blocking(move |service| {
            let meta = service.store.meta();
            let domain = format!("{}/", reference.domain());
            let mut lenders: Vec<String> = Vec::new();
            for known in meta.all_repo_digests()? {
                let Some(path) = known.repository.strip_prefix(&domain) else {
                    continue;
                };
                if path == reference.path() || lenders.iter().any(|lender| lender == path) {
                    continue;
                }
                let related = match meta.find_image(&known.image)? {
                    Some(other) => other.layers.iter().any(|layer| image.layers.contains(layer)),
                    None => false,
                };
                if related {
                    lenders.push(path.to_owned());
                }
                if lenders.len() == MAX_MOUNTS {
                    break;
                }
            }
            Ok(lenders)
        })
        .await
    }

    /// Pushes every layer in whatever compressed form can be had, making one where there is none. Their descriptors, from
    /// the bottom, in Docker's media types.
    pub(super) async fn push_layers(
        &self,
        repository: &Repository,
        reference: &Reference,
        image: &Image,
        lease: &Lease,
        progress: &dyn Progress,
    ) -> Result<Vec<Descriptor>, ImageError> {
        let lenders = self.lenders(reference, image).await?;
        let pushes: Vec<_> = image
            .layers
            .iter()
            .enumerate()
            .rev()
            .map(|(index, diff_id)| {
                let lenders = &lenders;
                async move {
                    let blob = self
                        .push_layer(repository, diff_id, lenders, lease, progress)
                        .await?;
                    Ok::<_, ImageError>((index, blob))
                }
            })
            .collect();
        let mut pushed: Vec<(usize, Descriptor)> = futures_util::stream::iter(pushes)
            .buffer_unordered(self.limits.uploads.max(1))
            .try_collect()
            .await?;
        pushed.sort_by_key(|(index, _)| *index);
        Ok(pushed.into_iter().map(|(_, blob)| blob).collect())
    }

    async fn push_layer(
        &self,
        repository: &Repository,
        diff_id: &Digest,
        lenders: &[String],
        lease: &Lease,
        progress: &dyn Progress,
    ) -> Result<Descriptor, ImageError> {
        let known = {
            let diff_id = diff_id.clone();
            self.blocking(move |service| Ok(service.store.meta().layer_blobs(&diff_id)?))
                .await?
        };
        // A form the registry has costs nothing, whether or not its bytes are here.
        for blob in known.iter().filter(|blob| media_type::is_layer(&blob.media_type)) {
            let arrival = self.arrival(repository, &blob.digest, lenders).await?;
            if self.announce(diff_id, &arrival, progress) {
                return Ok(in_docker_form(blob));
            }
        }
        let here = known
            .into_iter()
            .find(|blob| self.store.content().contains(&blob.digest));
        let blob = match here {
            Some(blob) => blob,
            None => {
                let _turn = self.flights.enter(diff_id, |_| {}).await;
                progress.emit(ProgressEvent::of(diff_id.short(), "Waiting"));
                let (diff_id, lease) = (diff_id.clone(), lease.clone());
                self.work(move |service| service.compress(&diff_id, &lease))
                    .await?
            }
        };
        lease.hold(&blob.digest);
        if repository.blob_exists(&blob.digest).await? {
            self.announce(diff_id, &Arrival::Exists, progress);
        } else {
            self.send(repository, &blob, diff_id, progress).await?;
        }
        Ok(in_docker_form(&blob))
    }

    /// Makes the gzip form of a layer, always with the same bytes, and remembers it.
    pub(crate) fn compress(&self, diff_id: &Digest, lease: &Lease) -> Result<Descriptor, ImageError> {
        let known = self.store.meta().layer_blobs(diff_id)?;
        if let Some(blob) = known
            .into_iter()
            .find(|blob| self.store.content().contains(&blob.digest))
        {
            return Ok(blob);
        }
        let failed = |error: io::Error| ImageError::Compress {
            diff_id: diff_id.clone(),
            source: error,
        };
        let mut tar = self.store.layers().tar(diff_id)?;
        let writer = self.store.content().create(lease)?;
        let mut encoder = compression::encoder(writer, Compression::Gzip, None).map_err(failed)?;
        let mut buffer = vec![0; COPY_BUFFER];
        loop {
            let count = tar.read(&mut buffer).map_err(failed)?;
            if count == 0 {
                break;
            }
            encoder.write_all(&buffer[..count]).map_err(failed)?;
        }
        let (digest, size) = encoder.finish().map_err(failed)?.finish()?;
        let blob = Descriptor::new(media_type::DOCKER_LAYER_GZIP, digest, size);
        self.store.meta().add_layer_blob(diff_id, &blob)?;
        Ok(blob)
    }
}

/// The descriptor as a Docker manifest names it.
fn in_docker_form(blob: &Descriptor) -> Descriptor {
    let media_type = match media_type::layer_compression(&blob.media_type) {
        Some(Compression::None) => media_type::DOCKER_LAYER,
        Some(Compression::Zstd) => media_type::DOCKER_LAYER_ZSTD,
        _ => media_type::DOCKER_LAYER_GZIP,
    };
    Descriptor::new(media_type, blob.digest.clone(), blob.size)
}
