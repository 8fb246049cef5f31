//! The layers of a push: found at the registry, mounted from another repository, sent, forwarded or compressed.

use std::cmp::Reverse;

use futures_util::{StreamExt as _, TryStreamExt as _};
use havre_oci::{Compression, Descriptor, Digest, Reference, media_type};
use havre_registry_client::{Credentials, MountResult, Repository};
use havre_store::{Image, Lease};

use crate::{ImageError, ImageService, Progress, ProgressEvent, origin};

/// Repositories asked to lend a blob.
const MAX_MOUNTS: usize = 4;

/// Where a push goes, as whom.
pub(super) struct Target<'a> {
    pub(super) repository: &'a Repository,
    pub(super) reference: &'a Reference,
    pub(super) credentials: &'a Credentials,
    pub(super) progress: &'a dyn Progress,
}

/// How a blob came to be at the registry.
enum Arrival {
    Exists,
    Mounted(String),
    /// Neither there nor lent.
    Absent,
}

impl ImageService {
    /// Brings every layer to the registry, if possible in the form `named` gives it (from the bottom, as the image's layers).
    /// What they are there, from the bottom.
    pub(super) async fn push_layers(
        &self,
        target: &Target<'_>,
        image: &Image,
        named: Option<&[Descriptor]>,
        lease: &Lease,
    ) -> Result<Vec<Descriptor>, ImageError> {
        let lenders = self.lenders(target.reference, image).await?;
        // The largest first: what is last is short, and the registry's flush of it, too.
        let mut order: Vec<usize> = (0..image.layers.len()).rev().collect();
        let sizes = self.tar_sizes(image).await?;
        order.sort_by_key(|index| Reverse(sizes[*index]));
        // Collected: a closure over borrowed pairs inside the stream would keep this future from being `Send`.
        let pushes: Vec<_> = order
            .into_iter()
            .map(|index| {
                let (diff_id, lenders) = (&image.layers[index], &lenders);
                let named = named.and_then(|named| named.get(index));
                async move {
                    let blob = self.push_layer(target, diff_id, named, lenders, lease).await?;
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

    /// Bytes of each layer's archive, as far as the store has it.
    async fn tar_sizes(&self, image: &Image) -> Result<Vec<u64>, ImageError> {
        let layers = image.layers.clone();
        self.blocking(move |service| {
            let size = |diff_id| {
                Ok(service
                    .store
                    .layers()
                    .find(diff_id)?
                    .map_or(0, |layer| layer.tar_size))
            };
            layers.iter().map(size).collect()
        })
        .await
    }

    async fn push_layer(
        &self,
        target: &Target<'_>,
        diff_id: &Digest,
        named: Option<&Descriptor>,
        lenders: &[String],
        lease: &Lease,
    ) -> Result<Descriptor, ImageError> {
        let progress = target.progress;
        // Layers that registries do not hold stay where their addresses point.
        if let Some(blob) = named
            && is_elsewhere(blob)
        {
            progress.emit(ProgressEvent::of(diff_id.short(), "Skipped foreign layer"));
            return Ok(blob.clone());
        }
        let forms = self.forms(diff_id, named, lease).await?;
        // A form the registry has costs nothing, whether or not its bytes are here.
        for blob in &forms {
            let own = own_lenders(target.reference, blob);
            let lenders: Vec<&str> = own.iter().chain(lenders).map(String::as_str).collect();
            let arrival = self.arrival(target.repository, &blob.digest, &lenders).await?;
            if self.announce(diff_id, &arrival, progress) {
                self.tell_change(diff_id, named, blob, progress);
                return Ok(blob.clone());
            }
        }
        if let Some(blob) = forms.iter().find(|blob| self.has_blob(&blob.digest)) {
            self.send(target.repository, blob, diff_id, progress).await?;
            self.tell_change(diff_id, named, blob, progress);
            return Ok(blob.clone());
        }
        for blob in &forms {
            // Making it again gives the same and needs no network.
            if !origin::is_made_by(blob, &self.packing) && self.forward(target, diff_id, blob).await? {
                self.tell_change(diff_id, named, blob, progress);
                return Ok(blob.clone());
            }
        }
        let blob = self.push_compressed(target, diff_id, lease).await?;
        lease.hold(&blob.digest);
        self.tell_change(diff_id, named, &blob, progress);
        Ok(blob)
    }

    /// The compressed forms known of a layer, the wanted one first.
    async fn forms(
        &self,
        diff_id: &Digest,
        named: Option<&Descriptor>,
        lease: &Lease,
    ) -> Result<Vec<Descriptor>, ImageError> {
        let known = {
            let diff_id = diff_id.clone();
            self.blocking(move |service| Ok(service.store.meta().layer_blobs(&diff_id)?))
                .await?
        };
        let mut forms: Vec<Descriptor> = known
            .into_iter()
            .filter(|blob| media_type::is_layer(&blob.media_type))
            .collect();
        if let Some(named) = named {
            match forms.iter().position(|blob| blob.digest == named.digest) {
                Some(index) => forms[..=index].rotate_right(1),
                None => forms.insert(0, named.clone()),
            }
        }
        for blob in &forms {
            lease.hold(&blob.digest);
        }
        Ok(forms)
    }

    /// A layer that arrives in another form than its manifest names gives the image another digest: that is said.
    fn tell_change(
        &self,
        diff_id: &Digest,
        named: Option<&Descriptor>,
        blob: &Descriptor,
        progress: &dyn Progress,
    ) {
        if let Some(named) = named.filter(|named| named.digest != blob.digest) {
            progress.emit(ProgressEvent::line(format!(
                "Layer {} goes in another compressed form: its digest changes from {} to {}",
                diff_id.short(),
                named.digest,
                blob.digest
            )));
        }
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
        self.store.touch_compressed(&blob.digest)?;
        progress.emit(ProgressEvent::of(id, "Pushed"));
        Ok(())
    }

    async fn arrival(
        &self,
        repository: &Repository,
        blob: &Digest,
        lenders: &[&str],
    ) -> Result<Arrival, ImageError> {
        if repository.blob_exists(blob).await? {
            return Ok(Arrival::Exists);
        }
        for from in lenders {
            if repository.mount_blob(blob, from).await? == MountResult::Mounted {
                return Ok(Arrival::Mounted((*from).to_owned()));
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
}

/// Whether registries need not hold the layer.
fn is_elsewhere(blob: &Descriptor) -> bool {
    media_type::is_nondistributable(&blob.media_type) && !blob.urls.is_empty()
}

/// Repositories of the target's registry that are known to have the blob.
fn own_lenders(target: &Reference, blob: &Descriptor) -> Vec<String> {
    origin::repositories(blob)
        .iter()
        .filter(|from| from.domain() == target.domain() && from.path() != target.path())
        .take(MAX_MOUNTS)
        .map(|from| from.path().to_owned())
        .collect()
}

/// The descriptor as a Docker manifest names it.
pub(super) fn in_docker_form(blob: &Descriptor) -> Descriptor {
    if is_elsewhere(blob) {
        return blob.clone();
    }
    let media_type = match media_type::layer_compression(&blob.media_type) {
        Some(Compression::None) => media_type::DOCKER_LAYER,
        Some(Compression::Zstd) => media_type::DOCKER_LAYER_ZSTD,
        _ => media_type::DOCKER_LAYER_GZIP,
    };
    Descriptor::new(media_type, blob.digest.clone(), blob.size)
}
