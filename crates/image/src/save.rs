//! Archives of images: an OCI layout that is a docker-archive as well, as Docker ≥ 25 writes them.
//!
//! ```text
//! oci-layout  index.json  manifest.json        first, so that a reader of the stream knows what comes
//! blobs/sha256/<hex>                           manifests, configurations, layers (as kept, or uncompressed)
//! ```
//! The same images give the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use havre_oci::{Descriptor, Digest, Document, Index, MAX_DOCUMENT_SIZE, Manifest, Reference, media_type};
use havre_store::{Image, LayerTar, Lease, Store};
use rustix::io::Errno;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{ImageError, ImageService};

const COPY_BUFFER: usize = 512 << 10;
/// What the kernel copies at once, in bytes: as long, nobody asks whether it is still wanted.
const SPLICE: usize = 64 << 20;
const STREAM_CHUNK: usize = 256 << 10;
const STREAM_QUEUE: usize = 8;
/// containerd's name of an image in an index.
pub(crate) const ANNOTATION_NAME: &str = "io.containerd.image.name";
pub(crate) const ANNOTATION_REF: &str = "org.opencontainers.image.ref.name";

/// An image and the names it gets in the archive.
struct Chosen {
    image: Image,
    tags: Vec<Reference>,
}

/// A planned archive: everything is resolved, nothing is written yet.
pub struct Archive {
    store: Arc<Store>,
    _lease: Lease,
    documents: Vec<(String, Vec<u8>)>,
    blobs: BTreeMap<Digest, Blob>,
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
        self.write(Streamed(writer))
    }

    /// Writes the tar from the file's position on: layers are copied by the kernel, once. Stops with an error soon after
    /// it is cancelled. Blocking.
    pub fn write_to_file(self, file: File, cancel: CancellationToken) -> Result<(), ImageError> {
        self.write(Filed { file, cancel })
    }

    fn write(self, writer: impl Output) -> Result<(), ImageError> {
        let mut tar = Tar {
            writer,
            buffer: vec![0; COPY_BUFFER],
        };
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
    /// takes all its tags, an ID has none.
    pub async fn save(&self, names: &[String]) -> Result<Archive, ImageError> {
        let names = names.to_vec();
        self.blocking(move |service| service.plan_archive(&names)).await
    }

    fn plan_archive(&self, names: &[String]) -> Result<Archive, ImageError> {
        let mut chosen: Vec<Chosen> = Vec::new();
        for name in names {
            for (image, tag) in self.chosen(name)? {
                let index = chosen.iter().position(|other| other.image.id == image.id);
                let entry = match index {
                    Some(index) => &mut chosen[index],
                    None => {
                        chosen.push(Chosen {
                            image,
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
        for diff_id in chosen.iter().flat_map(|chosen| &chosen.image.layers) {
            lease.hold(diff_id);
            if !layers.contains(diff_id) {
                layers.push(diff_id.clone());
            }
        }
        self.pack_layers(layers)?;
        let mut blobs = BTreeMap::new();
        let (mut entries, mut manifests) = (Vec::new(), Vec::new());
        for Chosen { image, tags } in chosen {
            lease.hold(&image.id);
            let (manifest, bytes) = self.archive_manifest(&image, &lease, &mut blobs)?;
            let descriptor = Descriptor::of(manifest.media_type.clone(), &bytes);
            entries.push(ArchiveEntry {
                config: blob_path(&image.id),
                repo_tags: (!tags.is_empty()).then(|| tags.iter().map(Reference::familiar).collect()),
                layers: manifest
                    .layers
                    .iter()
                    .map(|layer| blob_path(&layer.digest))
                    .collect(),
            });
            blobs.insert(descriptor.digest.clone(), Blob::Bytes(bytes));
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
        let documents = vec![
            (
                "oci-layout".to_owned(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            ),
            ("index.json".to_owned(), Index::oci(manifests).to_bytes()),
            ("manifest.json".to_owned(), json(serde_json::to_vec(&entries))?),
        ];
        Ok(Archive {
            store: Arc::clone(&self.store),
            _lease: lease,
            documents,
            blobs,
        })
    }

    /// The images a name stands for, with the tag it gives them.
    fn chosen(&self, name: &str) -> Result<Vec<(Image, Option<Reference>)>, ImageError> {
        if let Ok(reference) = Reference::parse(name)
            && reference.is_name_only()
        {
            let mut found = Vec::new();
            for row in self.store.meta().references()? {
                let Ok(tag) = Reference::parse(&row.name) else {
                    continue;
                };
                if tag.repository() == reference.repository()
                    && let Some(image) = self.store.meta().find_image(&row.image)?
                {
                    found.push((image, Some(tag)));
                }
            }
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let found = self.find(name)?;
        Ok(vec![(
            found.image,
            found.reference.filter(|reference| reference.digest().is_none()),
        )])
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

/// Where an archive goes.
trait Output: Write {
    /// Takes so many bytes of a file from `offset` on without their passing through here, if it can.
    fn splice(&mut self, source: &File, offset: u64, size: u64) -> io::Result<bool>;
}

struct Streamed<W>(W);

struct Filed {
    file: File,
    cancel: CancellationToken,
}

impl Filed {
    fn check(&self) -> io::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("nobody waits for the archive any more"));
        }
        Ok(())
    }
}

impl<W: Write> Write for Streamed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Output for Streamed<W> {
    fn splice(&mut self, _: &File, _: u64, _: u64) -> io::Result<bool> {
        Ok(false)
    }
}

impl Write for Filed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output for Filed {
    fn splice(&mut self, source: &File, mut offset: u64, size: u64) -> io::Result<bool> {
        let end = offset + size;
        while offset < end {
            self.check()?;
            let want = usize::try_from(end - offset).map_or(SPLICE, |left| left.min(SPLICE));
            match rustix::fs::copy_file_range(source, Some(&mut offset), &self.file, None, want) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                // Two kinds of file systems, or one that can't: said at the first piece, when nothing is written.
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) if offset + size == end => {
                    return Ok(false);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(true)
    }
}

/// A tar of files and directories with nothing in their headers that changes.
struct Tar<W> {
    writer: W,
    buffer: Vec<u8>,
}

impl<W: Output> Tar<W> {
    fn header(&mut self, name: &str, kind: tar::EntryType, mode: u32, size: u64) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_path(name)?;
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.writer.write_all(header.as_bytes())
    }

    fn directory(&mut self, name: &str) -> io::Result<()> {
        self.header(name, tar::EntryType::Directory, 0o755, 0)
    }

    fn file(&mut self, name: &str, size: u64, reader: impl Read) -> io::Result<()> {
        self.header(name, tar::EntryType::Regular, 0o644, size)?;
        self.contents(name, size, reader)
    }

    fn contents(&mut self, name: &str, size: u64, mut reader: impl Read) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let want = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = reader.read(&mut self.buffer[..want])?;
            if count == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("{name} is shorter than {size} bytes"),
                ));
            }
            self.writer.write_all(&self.buffer[..count])?;
            left -= count as u64;
        }
        self.pad(size)
    }

    fn layer(&mut self, name: &str, size: u64, tar: LayerTar) -> io::Result<()> {
        self.header(name, tar::EntryType::Regular, 0o644, size)?;
        if let Some(range) = tar.range()
            && range.len == size
            && self.writer.splice(range.file, range.offset, size)?
        {
            return self.pad(size);
        }
        self.contents(name, size, tar)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = (512 - size % 512) % 512;
        self.writer
            .write_all(&[0; 512][..usize::try_from(padding).unwrap_or(0)])
    }

    fn finish(mut self) -> io::Result<()> {
        self.writer.write_all(&[0; 1024])?;
        self.writer.flush()
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
