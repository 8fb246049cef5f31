//! Push: the manifest an image came with when everything it names can be had, else one made of its layers.
//!
//! A layer gets to the registry in the cheapest way there is: found there, mounted from another repository, sent as it is
//! kept, forwarded from the registry it came from, compressed anew. Only the last changes its digest, and says so.

mod compress;
mod forward;
mod index;
mod layers;

use std::io::{self, Read, Seek as _, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use havre_oci::{Descriptor, Digest, Document, Manifest, Platform, Reference, media_type};
use havre_registry_client::{BodyStream, Credentials, Repository};
use havre_store::{Image, Store};
use tokio::sync::mpsc;

use crate::lookup::best_or_error;
use crate::{ImageError, ImageService, Progress, ProgressEvent};
use layers::Target;

/// What to push, and as whom.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// Every local tag of the repository (the reference must have none).
    pub all_tags: bool,
    /// Of an image of several platforms just this one.
    pub platform: Option<Platform>,
    pub credentials: Credentials,
}

/// One pushed tag (the `aux` object of Docker's push stream).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    pub tag: String,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Size of the manifest in bytes.
    pub size: u64,
}

/// The manifest an image came with, or was pushed with before.
struct KeptManifest {
    media_type: String,
    bytes: Vec<u8>,
    manifest: Manifest,
}

impl ImageService {
    /// Pushes a tag, or all local tags of a repository. Emits Docker's lines, "TAG: digest: … size: …" last.
    pub async fn push(
        &self,
        reference: &Reference,
        options: &PushOptions,
        progress: &dyn Progress,
    ) -> Result<Vec<Pushed>, ImageError> {
        if reference.digest().is_some() {
            return Err(ImageError::PushDigest);
        }
        if options.all_tags && reference.tag().is_some() {
            return Err(ImageError::AllTagsWithTag(reference.familiar()));
        }
        let line = format!("The push refers to repository [{}]", reference.repository());
        progress.emit(ProgressEvent::line(line));
        let tagged = {
            let reference = reference.clone();
            self.blocking(move |service| service.local_tags(&reference))
                .await?
        };
        if tagged.is_empty() {
            return Err(ImageError::NothingToPush(reference.familiar_name()));
        }
        let wanted = reference.clone().with_default_tag();
        let chosen: Vec<_> = tagged
            .into_iter()
            .filter(|(tag, _)| options.all_tags || *tag == wanted)
            .collect();
        if chosen.is_empty() {
            return Err(ImageError::NoSuchTag(wanted.familiar()));
        }
        let repository = self.client.repository(reference, &options.credentials);
        let mut pushed = Vec::new();
        for (tag, images) in chosen {
            let target = Target {
                repository: &repository,
                reference: &tag,
                credentials: &options.credentials,
                progress,
            };
            pushed.push(self.push_tag(&target, images, options.platform.as_ref()).await?);
        }
        Ok(pushed)
    }

    /// The tags of a repository, with their images.
    fn local_tags(&self, reference: &Reference) -> Result<Vec<(Reference, Vec<Image>)>, ImageError> {
        let meta = self.store.meta();
        let mut found = Vec::new();
        for row in meta.references()? {
            let Ok(name) = Reference::parse(&row.name) else {
                continue;
            };
            if name.repository() != reference.repository() {
                continue;
            }
            let images = self.images_of(&name)?;
            if !images.is_empty() {
                found.push((name, images));
            }
        }
        Ok(found)
    }

    /// Pushes what a tag stands for: one image, or an index of those for several platforms.
    async fn push_tag(
        &self,
        target: &Target<'_>,
        mut images: Vec<Image>,
        platform: Option<&Platform>,
    ) -> Result<Pushed, ImageError> {
        if let Some(wanted) = platform {
            images = vec![best_or_error(images, wanted, &target.reference.familiar())?];
        }
        let tag = target.reference.tag().unwrap_or("latest").to_owned();
        let descriptor = match images.as_slice() {
            [image] if platform.is_some() || !self.is_whole(target, image).await? => {
                self.push_image(target, image, Some(&tag)).await?
            }
            _ => self.push_index(target, &images, &tag).await?,
        };
        self.settle().await?;
        let (digest, size) = (descriptor.digest, descriptor.size);
        target.progress.emit(ProgressEvent::line(format!(
            "{tag}: digest: {digest} size: {size}"
        )));
        Ok(Pushed { tag, digest, size })
    }

    /// Pushes an image with its manifest, which gets a name if there is one. Its descriptor.
    async fn push_image(
        &self,
        target: &Target<'_>,
        image: &Image,
        name: Option<&str>,
    ) -> Result<Descriptor, ImageError> {
        let (repository, progress) = (target.repository, target.progress);
        let lease = self.lease();
        lease.hold(&image.id);
        for diff_id in &image.layers {
            lease.hold(diff_id);
        }
        for diff_id in image.layers.iter().rev() {
            progress.emit(ProgressEvent::of(diff_id.short(), "Preparing"));
        }
        let kept = {
            let image = image.clone();
            self.blocking(move |service| service.kept_manifest(&image))
                .await?
        };
        let kept = kept.filter(|kept| kept.manifest.layers.len() == image.layers.len());
        let named = kept.as_ref().map(|kept| kept.manifest.layers.as_slice());
        let layers = self.push_layers(target, image, named, &lease).await?;
        let config = self.config_descriptor(image).await?;
        let as_named = |kept: &KeptManifest| {
            let named = kept.manifest.layers.iter();
            named.zip(&layers).all(|(one, other)| one.digest == other.digest)
        };
        let (media_type, bytes) = match kept {
            Some(kept) if as_named(&kept) => (kept.media_type, kept.bytes),
            _ => {
                let layers = layers.iter().map(layers::in_docker_form).collect();
                let manifest = Manifest::docker(config.clone(), layers);
                (media_type::DOCKER_MANIFEST.to_owned(), manifest.to_bytes())
            }
        };
        if !repository.blob_exists(&image.id).await? {
            self.upload(repository, &config, &|_| {}).await?;
        }
        let size = bytes.len() as u64;
        let digest = match name {
            Some(name) => repository.push_manifest(name, &media_type, bytes.clone()).await?,
            None => {
                let digest = Digest::sha256_of(&bytes);
                let name = digest.to_string();
                repository
                    .push_manifest(&name, &media_type, bytes.clone())
                    .await?
            }
        };
        let descriptor = Descriptor::new(media_type, digest, size);
        {
            let repository = target.reference.repository();
            let (image, descriptor) = (image.clone(), descriptor.clone());
            self.blocking(move |service| {
                let meta = service.store.meta();
                let digest = descriptor.digest.clone();
                if image.manifest.is_none() {
                    // From now on the image has a manifest: the next push gives the same.
                    service.store.content().put(&bytes, &lease)?;
                    meta.put_image(&Image {
                        manifest: Some(descriptor),
                        ..image.clone()
                    })?;
                }
                for (diff_id, blob) in image.layers.iter().zip(&layers) {
                    service.seen_at(diff_id, &blob.digest, &repository)?;
                }
                Ok(meta.add_repo_digest(&repository, &digest, &image.id)?)
            })
            .await?;
        }
        Ok(descriptor)
    }

    async fn config_descriptor(&self, image: &Image) -> Result<Descriptor, ImageError> {
        let id = image.id.clone();
        self.blocking(move |service| {
            let size = service.store.content().size(&id);
            let size = size.ok_or_else(|| havre_store::StoreError::BlobNotFound { digest: id.clone() })?;
            Ok(Descriptor::new(media_type::DOCKER_CONFIG, id, size))
        })
        .await
    }

    /// The manifest the image came with.
    fn kept_manifest(&self, image: &Image) -> Result<Option<KeptManifest>, ImageError> {
        let Some(descriptor) = &image.manifest else {
            return Ok(None);
        };
        if !self.store.content().contains(&descriptor.digest) {
            return Ok(None);
        }
        let bytes = self
            .store
            .content()
            .read(&descriptor.digest, havre_oci::MAX_DOCUMENT_SIZE)?;
        Ok(match Document::parse(&bytes, Some(&descriptor.media_type)) {
            Ok(Document::Manifest(manifest)) if manifest.config.digest == image.id => Some(KeptManifest {
                media_type: manifest.media_type.clone(),
                bytes,
                manifest,
            }),
            _ => None,
        })
    }

    /// Sends a blob of the content store.
    pub(crate) async fn upload(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), ImageError> {
        let (store, digest) = (Arc::clone(&self.store), descriptor.digest.clone());
        let source = move |offset| open_blob(&store, &digest, offset);
        Ok(repository.push_blob(descriptor, &source, progress).await?)
    }
}

/// Bytes of one read.
const PIECE: usize = 256 << 10;
/// Pieces read ahead of an upload.
const QUEUE: usize = 4;

/// Opens a blob from an offset: a file of the content store, or a layer's uncompressed archive.
fn open_blob(store: &Store, digest: &Digest, offset: u64) -> io::Result<BodyStream> {
    if store.content().contains(digest) {
        let mut file = store.content().open(digest).map_err(io::Error::other)?;
        file.seek(SeekFrom::Start(offset))?;
        return Ok(read_ahead(file));
    }
    let mut tar = store.layers().tar(digest).map_err(io::Error::other)?;
    io::copy(&mut tar.by_ref().take(offset), &mut io::sink())?;
    Ok(read_ahead(tar))
}

/// Reads on a blocking thread, a few pieces ahead.
fn read_ahead(mut reader: impl Read + Send + 'static) -> BodyStream {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let item = match reader.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => {
                    piece.truncate(count);
                    Ok(Bytes::from(piece))
                }
                Err(error) => Err(error),
            };
            let ended = item.is_err();
            // A receiver that is gone has given the upload up.
            if sender.blocking_send(item).is_err() || ended {
                return;
            }
        }
    });
    received(receiver)
}

/// What comes through a channel, as a stream.
fn received(receiver: mpsc::Receiver<io::Result<Bytes>>) -> BodyStream {
    Box::pin(futures_util::stream::unfold(
        receiver,
        |mut receiver| async move {
            let item = receiver.recv().await?;
            Some((item, receiver))
        },
    ))
}
