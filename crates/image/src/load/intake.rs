//! Reading an archive: layers into the store, documents aside.

use std::collections::HashMap;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use havre_oci::layer::{Entry, Kind, LayerError, Limits, Reader, Segment};
use havre_oci::{Compression, Descriptor, Digest, Digester, compression, media_type};
use havre_store::{ApplyError, Ingest, Lease, StoreError};
use tokio::sync::mpsc;

use crate::{ImageError, ImageService, KeepCompressed, ProgressEvent};

/// Largest document kept aside (a configuration).
const MAX_DOCUMENT: u64 = havre_oci::MAX_CONFIG_SIZE;
/// All documents together.
const MAX_DOCUMENTS: u64 = 128 << 20;
/// Entries of an archive: a layer and a few documents each.
const MAX_ENTRIES: u64 = 100_000;
/// Enough to see what an entry is.
const HEAD: usize = 512;
const TICK: Duration = Duration::from_millis(200);

/// What an archive holds, by normalised name.
#[derive(Default)]
pub(super) struct Intake {
    pub(super) documents: HashMap<String, Vec<u8>>,
    /// Diff IDs of the layers, which are in the store now.
    pub(super) layers: HashMap<String, Digest>,
    links: HashMap<String, String>,
    document_bytes: u64,
}

impl Intake {
    /// Follows links (old archives share layers by them) to the name of the thing itself.
    pub(super) fn real<'a>(&'a self, name: &'a str) -> &'a str {
        let mut at = name;
        for _ in 0..16 {
            match self.links.get(at) {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    }
}

/// `./a//b/../c` → `a/c`; `None` when it leads out.
pub(super) fn normalized(name: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The digest a name claims: `blobs/sha256/<hex>`, or `<hex>.tar` and `<hex>.tar.gz` as podman and skopeo write them.
fn claimed(name: &str) -> Option<Digest> {
    if let Some(rest) = name.strip_prefix("blobs/") {
        return rest.replacen('/', ":", 1).parse().ok();
    }
    let hex = name
        .strip_suffix(".tar")
        .or_else(|| name.strip_suffix(".tar.gz"))?;
    Digest::from_sha256_hex(hex).ok()
}

/// Whether these first bytes are those of a layer, and how it is compressed.
fn layer_kind(name: &str, head: &[u8]) -> Option<Compression> {
    let compression = Compression::detect(head);
    if compression != Compression::None {
        return Some(compression);
    }
    let is_tar = head.get(257..262) == Some(b"ustar");
    // An empty layer is nothing but zeros; very old tars have no magic, but their tools named layers so.
    let is_empty = head.len() == HEAD && head.iter().all(|byte| *byte == 0);
    let is_named = name.ends_with("layer.tar") || name.ends_with(".tar");
    (is_tar || is_empty || is_named).then_some(Compression::None)
}

impl ImageService {
    /// Reads the archive to its end.
    pub(super) fn take_in(
        &self,
        input: impl Read + Send,
        lease: &Lease,
        events: &mpsc::UnboundedSender<ProgressEvent>,
    ) -> Result<Intake, ImageError> {
        let limits = compression::Limits::default();
        let (_, decoder) = compression::detecting_decoder(input, limits).map_err(ImageError::Input)?;
        let limits = Limits {
            entries: MAX_ENTRIES,
            ..Limits::default()
        };
        let mut reader = Reader::new(decoder, limits, |_: Segment<'_>| Ok(()));
        let mut intake = Intake::default();
        let mut entry = Entry::default();
        while reader.next_entry(&mut entry).map_err(archive_error)? {
            let name = String::from_utf8_lossy(&entry.path).into_owned();
            match entry.kind {
                Kind::File => {
                    let contents = Contents {
                        reader: &mut reader,
                        chunk: Vec::new(),
                        at: 0,
                    };
                    self.take_file(&name, entry.size, contents, &mut intake, lease, events)?;
                }
                Kind::Symlink | Kind::Hardlink => {
                    let target = String::from_utf8_lossy(&entry.target).into_owned();
                    let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
                    let from = if entry.kind == Kind::Symlink {
                        format!("{dir}/{target}")
                    } else {
                        target
                    };
                    if let Some(target) = normalized(&from) {
                        intake.links.insert(name, target);
                    }
                }
                Kind::Dir => {}
                Kind::Char { .. } | Kind::Block { .. } | Kind::Fifo => {
                    return Err(ImageError::Archive(format!("{name:?} is a special file")));
                }
            }
        }
        reader.finish().map_err(archive_error)?;
        Ok(intake)
    }

    fn take_file<R: Read + Send, F: Record>(
        &self,
        name: &str,
        size: u64,
        mut contents: Contents<'_, R, F>,
        intake: &mut Intake,
        lease: &Lease,
        events: &mpsc::UnboundedSender<ProgressEvent>,
    ) -> Result<(), ImageError> {
        let mut head = Vec::with_capacity(HEAD);
        contents
            .by_ref()
            .take(HEAD as u64)
            .read_to_end(&mut head)
            .map_err(ImageError::Input)?;
        let Some(compression) = layer_kind(name, &head) else {
            if size > MAX_DOCUMENT {
                // Attestations and artifacts may lie beside images; what names them will miss them.
                return Ok(());
            }
            intake.document_bytes += size;
            if intake.document_bytes > MAX_DOCUMENTS {
                return Err(ImageError::Archive(format!(
                    "its documents are larger than {MAX_DOCUMENTS} bytes"
                )));
            }
            contents.read_to_end(&mut head).map_err(ImageError::Input)?;
            intake.documents.insert(name.to_owned(), head);
            return Ok(());
        };
        let contents = head.as_slice().chain(contents);
        let claimed = claimed(name);
        let layer = if compression == Compression::None {
            self.take_plain(name, claimed, contents, lease, events)?
        } else {
            self.take_compressed(name, claimed, compression, size, contents, lease, events)?
        };
        intake.layers.insert(name.to_owned(), layer);
        Ok(())
    }

    fn take_plain(
        &self,
        name: &str,
        claimed: Option<Digest>,
        contents: impl Read + Send,
        lease: &Lease,
        events: &mpsc::UnboundedSender<ProgressEvent>,
    ) -> Result<Digest, ImageError> {
        if let Some(diff_id) = &claimed {
            lease.hold(diff_id);
            if self.store.layers().find_sound(diff_id)?.is_some() {
                return Ok(diff_id.clone());
            }
        }
        self.unpack(name, claimed.as_ref(), contents, lease, events)
    }

    #[allow(clippy::too_many_arguments)]
    fn take_compressed(
        &self,
        name: &str,
        claimed: Option<Digest>,
        compression: Compression,
        size: u64,
        contents: impl Read + Send,
        lease: &Lease,
        events: &mpsc::UnboundedSender<ProgressEvent>,
    ) -> Result<Digest, ImageError> {
        let media_type = match compression {
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
            // Registries don't serve these: the layer counts, not this form of it.
            _ => "",
        };
        // `<hex>.tar.gz` names what is inside by some tools and the file by others: only `blobs/` says which.
        let digest = claimed.filter(|_| name.starts_with("blobs/") && !media_type.is_empty());
        let Some(digest) = digest else {
            let decoder = decode(contents, compression)?;
            return self.unpack(name, None, decoder, lease, events);
        };
        let blob = Descriptor::new(media_type, digest, size);
        lease.hold(&blob.digest);
        let keep = self.keep != KeepCompressed::Never;
        if let Some(diff_id) = self.store.meta().layer_of_blob(&blob.digest)? {
            lease.hold(&diff_id);
            let kept = !keep || self.store.content().contains(&blob.digest);
            if kept && self.store.layers().find_sound(&diff_id)?.is_some() {
                return Ok(diff_id);
            }
        }
        let sink = if keep && !self.store.content().contains(&blob.digest) {
            let mut ingest = self.store.content().ingest(&blob.digest, Some(size), lease)?;
            ingest.restart()?;
            Sink::Ingest(Box::new(ingest))
        } else {
            Sink::Digester(Box::new(Digester::new(blob.digest.algorithm())))
        };
        let mut tee = Tee {
            reader: contents,
            sink,
            failed: None,
        };
        let unpacked = self.unpack(name, None, decode(&mut tee, compression)?, lease, events);
        if let Some(error) = tee.failed.take() {
            return Err(error.into());
        }
        let diff_id = unpacked?;
        // What the decoder had no use for belongs to the blob all the same.
        io::copy(&mut tee, &mut io::sink()).map_err(ImageError::Input)?;
        if let Some(error) = tee.failed {
            return Err(error.into());
        }
        tee.sink.finish(&blob.digest)?;
        self.remember(&diff_id, &blob, None, None)?;
        Ok(diff_id)
    }

    fn unpack(
        &self,
        name: &str,
        expected: Option<&Digest>,
        tar: impl Read + Send,
        lease: &Lease,
        events: &mpsc::UnboundedSender<ProgressEvent>,
    ) -> Result<Digest, ImageError> {
        let id = expected.map_or_else(|| short_name(name), |digest| digest.short().to_owned());
        let mut shown = Instant::now();
        let mut tell = |done: u64| {
            if shown.elapsed() >= TICK {
                shown = Instant::now();
                // Nobody listening is no reason to stop.
                let _ = events.send(ProgressEvent::bytes(id.clone(), "Loading layer", done, 0));
            }
        };
        let limits = havre_store::Limits::default();
        let applied = self
            .store
            .layers()
            .apply(tar, expected, &limits, &mut tell, lease);
        let layer = applied.map_err(|error| match error {
            ApplyError::Store(error) => ImageError::Store(error),
            ApplyError::Read(error) => ImageError::Input(error),
            source => ImageError::Layer {
                digest: expected.cloned(),
                source,
            },
        })?;
        Ok(layer.diff_id)
    }
}

/// Something short to show for a layer whose digest isn't known before it has been read.
fn short_name(name: &str) -> String {
    let base = name.strip_suffix("/layer.tar").unwrap_or(name);
    let base = base.rsplit('/').next().unwrap_or(base);
    base.chars().take(12).collect()
}

fn decode<'a>(
    reader: impl Read + Send + 'a,
    compression: Compression,
) -> Result<Box<dyn Read + Send + 'a>, ImageError> {
    compression::decoder(reader, compression, compression::Limits::default()).map_err(ImageError::Input)
}

fn archive_error(error: LayerError) -> ImageError {
    match error {
        LayerError::Read(error) => ImageError::Input(error),
        other => ImageError::Archive(other.to_string()),
    }
}

/// What the archive reader tells segments to.
trait Record: FnMut(Segment<'_>) -> io::Result<()> + Send {}
impl<F: FnMut(Segment<'_>) -> io::Result<()> + Send> Record for F {}

/// The contents of the current entry.
struct Contents<'a, R, F> {
    reader: &'a mut Reader<R, F>,
    chunk: Vec<u8>,
    at: usize,
}

impl<R: Read, F: Record> Read for Contents<'_, R, F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            let chunk = self.reader.next_chunk().map_err(|error| match error {
                LayerError::Read(error) => error,
                other => io::Error::new(io::ErrorKind::InvalidData, other),
            })?;
            let Some(chunk) = chunk else { return Ok(0) };
            // Large reads take the piece directly.
            if chunk.len() <= buf.len() {
                buf[..chunk.len()].copy_from_slice(chunk);
                return Ok(chunk.len());
            }
            self.chunk.clear();
            self.chunk.extend_from_slice(chunk);
            self.at = 0;
        }
        let count = buf.len().min(self.chunk.len() - self.at);
        buf[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Where the compressed bytes go.
enum Sink {
    /// They are kept.
    Ingest(Box<Ingest>),
    /// They are only verified.
    Digester(Box<Digester>),
}

impl Sink {
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        match self {
            Self::Ingest(ingest) => ingest.write_all(bytes),
            Self::Digester(digester) => {
                digester.update(bytes);
                Ok(())
            }
        }
    }

    /// Verifies what came.
    fn finish(self, expected: &Digest) -> Result<(), StoreError> {
        match self {
            Self::Ingest(ingest) => ingest.commit(),
            Self::Digester(digester) => {
                let actual = digester.finish();
                if actual == *expected {
                    return Ok(());
                }
                Err(StoreError::DigestMismatch {
                    expected: expected.clone(),
                    actual,
                })
            }
        }
    }
}

/// Copies what is read into a sink.
struct Tee<R> {
    reader: R,
    sink: Sink,
    /// Why the sink took no more: more telling than what the decoder makes of it.
    failed: Option<StoreError>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.failed.is_some() {
            return Err(io::Error::other("the blob cannot be kept"));
        }
        let count = self.reader.read(buf)?;
        if let Err(error) = self.sink.write_all(&buf[..count]) {
            self.failed = Some(error);
            return Err(io::Error::other("the blob cannot be kept"));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(normalized("./a//b/../c").as_deref(), Some("a/c"));
        assert_eq!(normalized("a/../../etc/passwd"), None);
        let hex = "ab".repeat(32);
        let digest = Digest::from_sha256_hex(&hex).ok();
        assert_eq!(claimed(&format!("blobs/sha256/{hex}")), digest);
        assert_eq!(claimed(&format!("{hex}.tar")), digest);
        assert_eq!(claimed(&format!("{hex}/layer.tar")), None);
        assert_eq!(claimed("blobs/sha256/../x"), None);
    }

    #[test]
    fn kinds() {
        let mut tar = vec![0; HEAD];
        assert_eq!(layer_kind("blobs/sha256/x", &tar), Some(Compression::None));
        tar[257..262].copy_from_slice(b"ustar");
        tar[0] = b'a';
        assert_eq!(layer_kind("blobs/sha256/x", &tar), Some(Compression::None));
        assert_eq!(
            layer_kind("x", &[0x1f, 0x8b, 8, 0, 0, 0]),
            Some(Compression::Gzip)
        );
        assert_eq!(layer_kind("manifest.json", b"[{\"Config\""), None);
    }
}
