//! Archives of images: an OCI layout that is a docker-archive as well, as Docker ≥ 25 writes them.
//!
//! ```text
//! oci-layout  index.json  manifest.json        first, so that a reader of the stream knows what comes
//! blobs/sha256/<hex>                           manifests, configurations, layers (as kept, or uncompressed)
//! ```
//! The same images give the same bytes.

mod output;
mod packed;

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use havre_oci::compression::Pool;
use havre_oci::{
    Descriptor, Digest, Document, Index, MAX_DOCUMENT_SIZE, Manifest, Platform, Reference, media_type,
};
use havre_store::{Image, Lease, Store};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::output::{Filed, Output, Streamed, Tar};
use crate::options::Packing;
use crate::{ImageError, ImageService};

const COPY_BUFFER: usize = 512 << 10;
const STREAM_CHUNK: usize = 256 << 10;
const STREAM_QUEUE: usize = 8;
/// containerd's name of an image in an index.
pub(crate) const ANNOTATION_NAME: &str = "io.containerd.image.name";
pub(crate) const ANNOTATION_REF: &str = "org.opencontainers.image.ref.name";

/// What of the images goes into an archive, and in which form.
#[derive(Debug, Clone, Default)]
pub struct SaveOptions {
    /// Of names that stand for images of several platforms just this one.
    pub platform: Option<Platform>,
    /// Images that whoever loads the archive has: their layers are left out.
    pub since: Vec<String>,
    /// The archive as a whole is compressed.
    pub packing: Option<Packing>,
}

/// In the annotations of an index: the images whose layers an archive leaves out.
pub(crate) const ANNOTATION_SINCE: &str = "havre.since";

/// An image and the names it gets in the archive.
struct Chosen {
    image: Image,
    /// Its name's images for other platforms.
    others: Vec<Image>,
    tags: Vec<Reference>,
}

/// An image, those for other platforms of the same name, and the tag.
type Named = (Image, Vec<Image>, Option<Reference>);

/// A planned archive: everything is resolved, nothing is written yet.
pub struct Archive {
    store: Arc<Store>,
    _lease: Lease,
    documents: Vec<(String, Vec<u8>)>,
    blobs: BTreeMap<Digest, Blob>,
    packing: Option<(Packing, Pool)>,
}

enum Blob {
    Bytes(Vec<u8>),
    /// A file of the content store.
    Kept(u64),
    /// The uncompressed archive of a layer.
    Layer(u64),
}

/// One image in `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ArchiveEntry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Archive {
    /// Writes the tar. Blocking.
    pub fn write_to(self, writer: impl Write) -> Result<(), ImageError> {
        match self.packing.clone() {
            Some((packing, pool)) => packed::write(self, packing, &pool, writer),
            None => self.write(Streamed(writer)),
        }
    }

    /// Writes the tar from the file's position on: layers are copied by the kernel, once. Stops with an error soon after
    /// it is cancelled. Blocking.
    pub fn write_to_file(self, file: File, cancel: CancellationToken) -> Result<(), ImageError> {
        let filed = Filed { file, cancel };
        match self.packing.clone() {
            Some((packing, pool)) => packed::write(self, packing, &pool, filed),
            None => self.write(filed),
        }
    }

    fn write(self, writer: impl Output) -> Result<(), ImageError> {
        let mut tar = Tar::new(writer);
        for (name, bytes) in &self.documents {
            tar.file(name, bytes.len() as u64, bytes.as_slice())
                .map_err(ImageError::Output)?;
        }
        tar.directory("blobs/").map_err(ImageError::Output)?;
        let mut algorithm = None;
        for (digest, blob) in &self.blobs {
            if algorithm != Some(digest.algorithm()) {
                algorithm = Some(digest.algorithm());
                tar.directory(&format!("blobs/{}/", digest.algorithm()))
                    .map_err(ImageError::Output)?;
            }
            let name = blob_path(digest);
            match blob {
                Blob::Bytes(bytes) => tar.file(&name, bytes.len() as u64, bytes.as_slice()),
                Blob::Kept(size) => tar.file(&name, *size, self.store.content().open(digest)?),
                Blob::Layer(size) => tar.layer(&name, *size, self.store.layers().tar(digest)?),
            }
            .map_err(ImageError::Output)?;
        }
        tar.finish().map_err(ImageError::Output)
    }

    /// The tar as a stream, made on a blocking thread with bounded buffers. Dropping it stops the work.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
        tokio::task::spawn_blocking(move || {
            let mut writer = ChannelWriter {
                sender,
                buffer: BytesMut::with_capacity(STREAM_CHUNK),
            };
            let outcome = self.write_to(&mut writer);
            let outcome = outcome.map_err(io::Error::other).and_then(|()| writer.flush());
            if let Err(error) = outcome {
                // A receiver that is gone doesn't want to know.
                let _ = writer.sender.blocking_send(Err(error));
            }
        });
        futures_util::stream::unfold(receiver, |mut receiver| async move {
            let item = receiver.recv().await?;
            Some((item, receiver))
        })
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

impl ImageService {
    /// Plans an archive of the named images, in the form of Docker ≥ 25. A reference keeps its tag, a repository name
    /// takes all its tags, an ID has none. Names that stand for images of several platforms bring all of them, or the one that is
    /// asked for.
    pub async fn save(&self, names: &[String], options: &SaveOptions) -> Result<Archive, ImageError> {
        let (names, options) = (names.to_vec(), options.clone());
        self.blocking(move |service| service.plan_archive(&names, &options))
            .await
    }

    fn plan_archive(&self, names: &[String], options: &SaveOptions) -> Result<Archive, ImageError> {
        let platform = options.platform.as_ref();
        let mut since = HashSet::new();
        let mut bases = Vec::new();
        for name in &options.since {
            let image = self.find_on(name, platform)?.image;
            bases.push(format!("{name} ({})", image.id));
            since.extend(image.layers);
        }
        let mut chosen: Vec<Chosen> = Vec::new();
        for name in names {
            for (image, others, tag) in self.chosen(name, platform)? {
                let same = |chosen: &Chosen| chosen.image.id == image.id && chosen.others == others;
                let entry = match chosen.iter().position(same) {
                    Some(index) => &mut chosen[index],
                    None => {
                        chosen.push(Chosen {
                            image,
                            others,
                            tags: Vec::new(),
                        });
                        chosen.last_mut().expect("one was just pushed")
                    }
                };
                if let Some(tag) = tag.filter(|tag| !entry.tags.contains(tag)) {
                    entry.tags.push(tag);
                }
            }
        }
        let lease = self.lease();
        let mut layers: Vec<Digest> = Vec::new();
        let images = chosen
            .iter()
            .flat_map(|chosen| [&chosen.image].into_iter().chain(&chosen.others));
        for diff_id in images.flat_map(|image| &image.layers) {
            lease.hold(diff_id);
            if !layers.contains(diff_id) && !since.contains(diff_id) {
                layers.push(diff_id.clone());
            }
        }
        self.pack_layers(layers)?;
        let mut blobs = BTreeMap::new();
        let (mut entries, mut manifests) = (Vec::new(), Vec::new());
        for Chosen { image, others, tags } in chosen {
            let (manifest, mut descriptor) = self.archive_image(&image, &since, &lease, &mut blobs)?;
            entries.push(ArchiveEntry {
                config: blob_path(&image.id),
                repo_tags: (!tags.is_empty()).then(|| tags.iter().map(Reference::familiar).collect()),
                layers: manifest
                    .layers
                    .iter()
                    .map(|layer| blob_path(&layer.digest))
                    .collect(),
            });
            if !others.is_empty() {
                descriptor.platform = Some(image.platform.clone());
                let mut platforms = vec![descriptor];
                for other in &others {
                    let (_, mut descriptor) = self.archive_image(other, &since, &lease, &mut blobs)?;
                    descriptor.platform = Some(other.platform.clone());
                    platforms.push(descriptor);
                }
                let bytes = Index::oci(platforms).to_bytes();
                descriptor = Descriptor::of(media_type::OCI_INDEX, &bytes);
                blobs.insert(descriptor.digest.clone(), Blob::Bytes(bytes));
            }
            let mut named: Vec<Descriptor> = tags
                .iter()
                .map(|tag| {
                    let mut descriptor = descriptor.clone();
                    descriptor
                        .annotations
                        .insert(ANNOTATION_NAME.to_owned(), tag.canonical());
                    let short = tag.tag().unwrap_or_default().to_owned();
                    descriptor.annotations.insert(ANNOTATION_REF.to_owned(), short);
                    descriptor
                })
                .collect();
            if named.is_empty() {
                named.push(descriptor);
            }
            manifests.extend(named);
        }
        let json =
            |value: serde_json::Result<Vec<u8>>| value.map_err(|error| ImageError::Output(error.into()));
        let mut index = Index::oci(manifests);
        if !bases.is_empty() {
            index
                .annotations
                .insert(ANNOTATION_SINCE.to_owned(), bases.join(", "));
        }
        let documents = vec![
            (
                "oci-layout".to_owned(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            ),
            ("index.json".to_owned(), index.to_bytes()),
            ("manifest.json".to_owned(), json(serde_json::to_vec(&entries))?),
        ];
        Ok(Archive {
            store: Arc::clone(&self.store),
            _lease: lease,
            documents,
            blobs,
            packing: options.packing.map(|packing| (packing, self.packers.clone())),
        })
    }

    /// The images a name stands for, each with those for other platforms, and with the tag it gives them.
    fn chosen(&self, name: &str, platform: Option<&Platform>) -> Result<Vec<Named>, ImageError> {
        if let Ok(reference) = Reference::parse(name)
            && reference.is_name_only()
        {
            let mut found = Vec::new();
            for row in self.store.meta().references()? {
                let Ok(tag) = Reference::parse(&row.name) else {
                    continue;
                };
                if tag.repository() == reference.repository() {
                    found.push(self.named(&row.name, platform)?);
                }
            }
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(vec![self.named(name, platform)?])
    }

    fn named(&self, name: &str, platform: Option<&Platform>) -> Result<Named, ImageError> {
        let found = self.find_on(name, platform)?;
        let tag = found.reference.filter(|reference| reference.digest().is_none());
        let others = match (&tag, platform) {
            (Some(tag), None) => self.images_of(tag)?.split_off(1),
            _ => Vec::new(),
        };
        Ok((found.image, others, tag))
    }

    /// Puts an image's documents and layers into an archive, but for the layers that are not wanted.
    fn archive_image(
        &self,
        image: &Image,
        since: &HashSet<Digest>,
        lease: &Lease,
        blobs: &mut BTreeMap<Digest, Blob>,
    ) -> Result<(Manifest, Descriptor), ImageError> {
        lease.hold(&image.id);
        let (manifest, bytes) = self.archive_manifest(image, lease, blobs)?;
        for (layer, diff_id) in manifest.layers.iter().zip(&image.layers) {
            if since.contains(diff_id) {
                blobs.remove(&layer.digest);
            }
        }
        let descriptor = Descriptor::of(manifest.media_type.clone(), &bytes);
        blobs.insert(descriptor.digest.clone(), Blob::Bytes(bytes));
        Ok((manifest, descriptor))
    }

    /// The manifest of an image in an archive: its own when all its blobs are here, else one of what is here.
    fn archive_manifest(
        &self,
        image: &Image,
        lease: &Lease,
        blobs: &mut BTreeMap<Digest, Blob>,
    ) -> Result<(Manifest, Vec<u8>), ImageError> {
        let content = self.store.content();
        let config_size = content.size(&image.id);
        let config_size = config_size.ok_or_else(|| havre_store::StoreError::BlobNotFound {
            digest: image.id.clone(),
        })?;
        blobs.insert(image.id.clone(), Blob::Kept(config_size));
        if let Some(descriptor) = &image.manifest
            && content.contains(&descriptor.digest)
        {
            let bytes = content.read(&descriptor.digest, MAX_DOCUMENT_SIZE)?;
            if let Ok(Document::Manifest(manifest)) = Document::parse(&bytes, Some(&descriptor.media_type))
                && manifest.config.digest == image.id
                && descriptor.digest == Digest::sha256_of(&bytes)
            {
                for layer in &manifest.layers {
                    lease.hold(&layer.digest);
                }
                if manifest.layers.iter().all(|layer| self.has_blob(&layer.digest)) {
                    for layer in &manifest.layers {
                        let kept = content.contains(&layer.digest);
                        let blob = if kept {
                            Blob::Kept(layer.size)
                        } else {
                            Blob::Layer(layer.size)
                        };
                        blobs.insert(layer.digest.clone(), blob);
                    }
                    return Ok((manifest, bytes));
                }
            }
        }
        let mut layers = Vec::new();
        for diff_id in &image.layers {
            lease.hold(diff_id);
            let kept = self.store.meta().layer_blobs(diff_id)?;
            let kept = kept.into_iter().find(|blob| {
                lease.hold(&blob.digest);
                content.contains(&blob.digest)
            });
            let descriptor = match kept {
                Some(blob) => {
                    blobs.insert(blob.digest.clone(), Blob::Kept(blob.size));
                    let media_type = match media_type::layer_compression(&blob.media_type) {
                        Some(havre_oci::Compression::None) => media_type::OCI_LAYER,
                        Some(havre_oci::Compression::Zstd) => media_type::OCI_LAYER_ZSTD,
                        _ => media_type::OCI_LAYER_GZIP,
                    };
                    Descriptor::new(media_type, blob.digest, blob.size)
                }
                None => {
                    let layer = self.store.layers().find(diff_id)?;
                    let layer = layer.ok_or_else(|| ImageError::MissingLayer {
                        diff_id: diff_id.clone(),
                    })?;
                    blobs.insert(diff_id.clone(), Blob::Layer(layer.tar_size));
                    Descriptor::new(media_type::OCI_LAYER, diff_id.clone(), layer.tar_size)
                }
            };
            layers.push(descriptor);
        }
        let config = Descriptor::new(media_type::OCI_CONFIG, image.id.clone(), config_size);
        let manifest = Manifest::oci(config, layers);
        let bytes = manifest.to_bytes();
        Ok((manifest, bytes))
    }
}

/// Gathers writes into chunks for a stream.
struct ChannelWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: BytesMut,
}

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(STREAM_CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        if self.buffer.len() == STREAM_CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(STREAM_CHUNK)).freeze();
        self.sender
            .blocking_send(Ok(chunk))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
