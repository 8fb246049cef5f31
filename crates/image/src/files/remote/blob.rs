//! The bytes of a blob where they lie, for blocking readers.

use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fs_err as fs;
use havre_oci::{Descriptor, Digester};
use havre_registry_client::{BlobStream, RegistryError, Repository, Source};
use tokio::runtime::Handle;

use crate::ImageError;

/// Bytes that are asked for at a place nobody was reading at.
const FIRST: u64 = 32 << 10;
/// Bytes that are asked for at once of what is read in order.
const MOST: u64 = 2 << 20;

/// How long a registry is waited for before it is asked again whether anybody still does.
const PATIENCE: Duration = Duration::from_millis(100);

/// A blob of a registry, or one that is kept here.
#[derive(Clone)]
pub(super) struct Blob {
    pub(super) descriptor: Descriptor,
    origin: Origin,
    /// Set when nobody waits for what is read any more.
    left: Arc<AtomicBool>,
    /// Set while nobody needs this blob, and others may be.
    unwanted: Arc<AtomicBool>,
    /// Bytes that came.
    read: Arc<AtomicU64>,
}

#[derive(Clone)]
enum Origin {
    Registry { repository: Repository, runtime: Handle },
    Kept(Arc<fs::File>),
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Blob").field(&self.descriptor.digest).finish()
    }
}

/// An error on its way through interfaces that know those of the system only; [`unwrapped`] finds it again.
fn wrapped(error: impl Into<ImageError>) -> io::Error {
    io::Error::other(error.into())
}

/// What a reader of a blob failed with.
pub(crate) fn unwrapped(error: io::Error, other: impl FnOnce(io::Error) -> ImageError) -> ImageError {
    if !error.get_ref().is_some_and(|inner| inner.is::<ImageError>()) {
        return other(error);
    }
    match error.into_inner().map(|inner| inner.downcast::<ImageError>()) {
        Some(Ok(error)) => *error,
        _ => ImageError::Interrupted,
    }
}

impl Blob {
    /// Of a registry; to be read on threads that may block, with the runtime of whoever calls this.
    pub(super) fn of_registry(descriptor: Descriptor, repository: Repository, left: Arc<AtomicBool>) -> Self {
        let runtime = Handle::current();
        Self {
            descriptor,
            origin: Origin::Registry { repository, runtime },
            left,
            unwanted: Arc::default(),
            read: Arc::default(),
        }
    }

    /// One that is kept here.
    pub(super) fn kept(descriptor: Descriptor, file: fs::File) -> Self {
        Self {
            descriptor,
            origin: Origin::Kept(Arc::new(file)),
            left: Arc::default(),
            unwanted: Arc::default(),
            read: Arc::default(),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.descriptor.size
    }

    /// Bytes that were read of it, as often as they were.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// All bytes in order.
    pub(super) fn whole(&self) -> Whole {
        Whole(Arc::new(Mutex::new(Ordered {
            blob: self.clone(),
            position: 0,
            stream: None,
            piece: Bytes::new(),
            digester: Some(Digester::new(self.descriptor.digest.algorithm())),
        })))
    }

    /// The bytes in `range`; [`None`] if the registry would send others with them.
    fn part(&self, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::with_capacity(usize::try_from(range.end - range.start).unwrap_or(0));
        let (repository, runtime) = match &self.origin {
            Origin::Kept(file) => {
                bytes.resize(bytes.capacity(), 0);
                file.file().read_exact_at(&mut bytes, range.start)?;
                return Ok(Some(bytes));
            }
            Origin::Registry { repository, runtime } => (repository, runtime),
        };
        let came = self.wait(runtime, async {
            let mut stream = repository.fetch_range(&self.descriptor, range).await?;
            while let Some(piece) = stream.next().await? {
                bytes.extend_from_slice(&piece);
            }
            Ok(())
        })?;
        self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        match came {
            Ok(()) => Ok(Some(bytes)),
            Err(RegistryError::NoRanges { .. }) => Ok(None),
            Err(error) => Err(wrapped(error)),
        }
    }

    /// What ends the reading of this blob while it is set.
    pub(super) fn unwanted(&self) -> &Arc<AtomicBool> {
        &self.unwanted
    }

    /// Waits for what the registry sends, as long as somebody wants it.
    fn wait<T>(
        &self,
        runtime: &Handle,
        coming: impl Future<Output = Result<T, RegistryError>>,
    ) -> io::Result<Result<T, RegistryError>> {
        runtime.block_on(async {
            let mut coming = pin!(coming);
            loop {
                if self.left.load(Ordering::Relaxed) || self.unwanted.load(Ordering::Relaxed) {
                    return Err(wrapped(ImageError::Interrupted));
                }
                if let Ok(came) = tokio::time::timeout(PATIENCE, &mut coming).await {
                    return Ok(came);
                }
            }
        })
    }
}

/// A blob from its beginning, hashed as it comes. Clones are the same reader.
#[derive(Clone)]
pub(super) struct Whole(Arc<Mutex<Ordered>>);

struct Ordered {
    blob: Blob,
    position: u64,
    stream: Option<BlobStream>,
    piece: Bytes,
    /// Until all bytes came, and were right.
    digester: Option<Digester>,
}

impl Whole {
    /// Reads what nobody read, and says whether all of it is what the digest says.
    pub(super) fn verify(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(drop)
    }
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(buffer)
    }
}

impl Read for Ordered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self {
            blob, stream, piece, ..
        } = self;
        let left = blob.descriptor.size - self.position;
        let count = match &blob.origin {
            Origin::Kept(file) => {
                let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                file.file().read_at(&mut buffer[..room], self.position)?
            }
            Origin::Registry { repository, runtime } => {
                if piece.is_empty() && left > 0 {
                    let came = blob.wait(runtime, async {
                        let stream = match stream {
                            Some(stream) => stream,
                            none => {
                                none.insert(repository.fetch_blob(&blob.descriptor, 0, Source::Any).await?)
                            }
                        };
                        stream.next().await
                    })?;
                    *piece = came.map_err(wrapped)?.unwrap_or_default();
                    blob.read.fetch_add(piece.len() as u64, Ordering::Relaxed);
                }
                let count = piece.len().min(buffer.len());
                buffer[..count].copy_from_slice(&piece.split_to(count));
                count
            }
        };
        self.position += count as u64;
        if let Some(digester) = &mut self.digester {
            digester.update(&buffer[..count]);
        }
        if self.position == self.blob.descriptor.size
            && let Some(digester) = self.digester.take()
            && digester.finish() != self.blob.descriptor.digest
        {
            return Err(wrapped(ImageError::LayerVerification(
                self.blob.descriptor.digest.clone(),
            )));
        }
        Ok(count)
    }
}

/// Parts of a blob, read ahead where they are read in order. Nothing of it can be verified by the blob's digest.
#[derive(Debug)]
pub(super) struct Windows {
    blob: Blob,
    start: u64,
    bytes: Vec<u8>,
    /// So much was asked for last.
    length: u64,
}

impl Windows {
    pub(super) fn new(blob: Blob) -> Self {
        Self {
            blob,
            start: 0,
            bytes: Vec::new(),
            length: FIRST,
        }
    }

    /// Whether the blob can be read so; reads its first bytes, and gives them.
    pub(super) fn begin(&mut self) -> io::Result<Option<&[u8]>> {
        match self.blob.part(0..FIRST.min(self.blob.size()))? {
            Some(bytes) => self.bytes = bytes,
            None => return Ok(None),
        }
        Ok(Some(&self.bytes))
    }

    /// Some bytes at `position`; none at the end. Of what has to be asked for, about `wanted` are.
    fn at(&mut self, position: u64, wanted: u64) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        if position < self.start || position >= end {
            let size = self.blob.size();
            if position >= size {
                return Ok(&[]);
            }
            self.length = match position == end {
                true => self.length * 2,
                false => wanted,
            }
            .clamp(FIRST, MOST);
            let range = position..size.min(position + self.length);
            self.bytes.clear();
            self.bytes = self.blob.part(range)?.ok_or_else(|| {
                io::Error::other("the registry served parts of the blob a moment ago, and doesn't any more")
            })?;
            self.start = position;
        }
        let from = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        Ok(&self.bytes[from..])
    }
}

/// A reader of some windows from a place on. Several may read by turns.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) windows: Arc<Mutex<Windows>>,
    pub(super) position: u64,
    /// Where it ends.
    pub(super) end: u64,
    /// So many bytes are wanted in all likelihood.
    pub(super) wanted: u64,
}

impl Part {
    pub(super) fn skip(&mut self, bytes: u64) {
        self.position = self.position.saturating_add(bytes).min(self.end);
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end - self.position;
        if left == 0 {
            return Ok(0);
        }
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = windows.at(self.position, self.wanted.min(left))?;
        let count = bytes
            .len()
            .min(buffer.len())
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn kept(bytes: &[u8], digest: Option<&[u8]>) -> Blob {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut descriptor = Descriptor::of("x", digest.unwrap_or(bytes));
        descriptor.size = bytes.len() as u64;
        Blob::kept(descriptor, fs::File::from_parts(file, "blob"))
    }

    #[test]
    fn a_whole_blob_is_verified_at_its_end() {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut whole = kept(&bytes, None).whole();
        let mut some = [0; 1000];
        whole.read_exact(&mut some).unwrap();
        whole.verify().unwrap();
        let error = kept(&bytes, Some(b"other")).whole().verify().unwrap_err();
        let error = unwrapped(error, ImageError::Input);
        assert!(matches!(error, ImageError::LayerVerification(_)), "{error}");
    }

    #[test]
    fn parts_are_what_lies_there_however_they_are_read() {
        let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let blob = kept(&bytes, None);
        let mut windows = Windows::new(blob);
        assert_eq!(windows.begin().unwrap().unwrap(), &bytes[..FIRST as usize]);
        let windows = Arc::new(Mutex::new(windows));
        let end = bytes.len() as u64;
        for (start, length) in [
            (0, 10),
            (40_000, 3_000_000),
            (5, 70_000),
            (end - 3, 3),
            (end, 0),
            (3_999_000, 1000),
        ] {
            let mut part = Part {
                windows: Arc::clone(&windows),
                position: start,
                end: start + length,
                wanted: length,
            };
            let mut got = Vec::new();
            part.read_to_end(&mut got).unwrap();
            assert!(
                got == bytes[start as usize..(start + length) as usize],
                "{start}+{length}"
            );
        }
        let mut part = Part {
            windows,
            position: 10,
            end: 100,
            wanted: 1,
        };
        part.skip(1000);
        assert_eq!(part.read(&mut [0; 4]).unwrap(), 0);
    }
}
