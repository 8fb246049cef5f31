//! Immutable blobs by digest, and the partial downloads that become blobs.

mod check;
mod ingest;
mod writer;

pub use ingest::{Ingest, IngestReader, VerifiedIngest};
pub use writer::ContentWriter;

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use havre_oci::Digest;

use crate::layout::{STAGED_BLOB, STAGED_LAYER};
use crate::store::Core;
use crate::sync::Published;
use crate::{Lease, Result, StoreError};

/// Immutable blobs, each a file named by its digest.
#[derive(Debug)]
pub struct ContentStore {
    core: Arc<Core>,
    /// Blobs being written.
    active: Arc<Active>,
}

/// The digests being written, each by one [`Ingest`].
#[derive(Debug, Default)]
struct Active(Mutex<HashSet<Digest>>);

impl Active {
    fn set(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ContentStore {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            active: Arc::default(),
        }
    }

    /// Whether the blob is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.size(digest).is_some()
    }

    /// Its size in bytes, if it is there.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        let status = fs::symlink_metadata(self.core.layout.blob(digest)).ok()?;
        status.is_file().then_some(status.len())
    }

    /// Opens it for reading.
    pub fn open(&self, digest: &Digest) -> Result<fs::File> {
        let path = self.core.layout.blob(digest);
        fs::File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => StoreError::BlobNotFound {
                digest: digest.clone(),
            },
            _ => StoreError::io("open", &path, error),
        })
    }

    /// Reads all of it, if it has no more than `limit` bytes.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let file = self.open(digest)?;
        let path = file.path().to_path_buf();
        let size = file.metadata().map_err(StoreError::at("open", &path))?.len();
        if size > limit {
            return Err(StoreError::BlobTooLarge {
                digest: digest.clone(),
                size,
                limit,
            });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(StoreError::at("read", &path))?;
        Ok(bytes)
    }

    /// Stores bytes under their SHA-256 digest.
    pub fn put(&self, bytes: &[u8], lease: &Lease) -> Result<Digest> {
        let digest = Digest::sha256_of(bytes);
        lease.hold(&digest);
        if self.contains(&digest) {
            return Ok(digest);
        }
        let mut writer = self.create(lease)?;
        writer.append(bytes)?;
        writer.finish().map(|(digest, _)| digest)
    }

    /// Begins writing a blob whose digest (SHA-256) will be known at its end. Not resumable.
    pub fn create(&self, lease: &Lease) -> Result<ContentWriter> {
        ContentWriter::create(self.core.clone(), lease.clone())
    }

    /// Begins, or continues, writing the blob `expected` of `size` bytes if that is known. One writer per blob at a time
    /// ([`StoreError::IngestBusy`]).
    ///
    /// A size the file system has no room for is refused at once ([`StoreError::NoSpace`]).
    pub fn ingest(&self, expected: &Digest, size: Option<u64>, lease: &Lease) -> Result<Ingest> {
        lease.hold(expected);
        if !self.active.set().insert(expected.clone()) {
            return Err(StoreError::IngestBusy {
                digest: expected.clone(),
            });
        }
        Ingest::open(
            self.core.clone(),
            ingest::Slot::new(self.active.clone(), expected.clone()),
            size,
        )
    }

    /// Removes the blob; the bytes freed, 0 if it wasn't there. Only for blobs known to be held by nothing.
    pub fn remove(&self, digest: &Digest) -> Result<u64> {
        let size = self.size(digest).unwrap_or(0);
        let removed = self.core.trash.discard(&self.core.layout.blob(digest))?;
        Ok(if removed { size } else { 0 })
    }

    /// All blobs with their sizes in bytes, in no order.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>> {
        let mut blobs = Vec::new();
        for algorithm in directory(&self.core.layout.content())? {
            for shelf in directory(&algorithm.path())? {
                for blob in directory(&shelf.path())? {
                    let name = format!("{}:{}", lossy(&algorithm), lossy(&blob));
                    // Foreign files aren't ours to judge.
                    let Ok(digest) = name.parse() else { continue };
                    let size = blob.metadata().map(|status| status.len());
                    blobs.push((digest, size.map_err(StoreError::at("query", blob.path()))?));
                }
            }
        }
        Ok(blobs)
    }

    /// All partial downloads with their sizes in bytes.
    pub(crate) fn ingests(&self) -> Result<Vec<(Digest, u64)>> {
        let mut ingests = Vec::new();
        for entry in directory(&self.core.layout.ingests())? {
            let name = lossy(&entry);
            let Ok(digest) = name.replacen('-', ":", 1).parse::<Digest>() else {
                continue;
            };
            ingests.push((digest, entry.metadata().map_or(0, |status| status.len())));
        }
        Ok(ingests)
    }

    /// Removes a partial download nobody is writing; the bytes freed.
    pub(crate) fn remove_ingest(&self, digest: &Digest) -> Result<u64> {
        let active = self.active.set();
        if active.contains(digest) {
            return Ok(0);
        }
        let path = self.core.layout.ingest(digest);
        let size = fs::symlink_metadata(&path).map_or(0, |status| status.len());
        Ok(if self.core.trash.discard(&path)? { size } else { 0 })
    }

    /// Removes what a crash left half-made. Partial downloads stay: they are resumed.
    pub(crate) fn sweep(&self) -> Result<()> {
        for entry in directory(&self.core.layout.ingests())? {
            let name = lossy(&entry);
            if name.starts_with(STAGED_BLOB) || name.starts_with(STAGED_LAYER) {
                self.core.trash.discard(&entry.path())?;
            }
        }
        Ok(())
    }
}

impl Core {
    /// Moves a complete, verified file to where its digest says.
    fn publish_blob(&self, staged: &Path, digest: &Digest) -> Result<()> {
        let path = self.layout.blob(digest);
        let shelf = path.parent().unwrap_or(&path);
        fs::create_dir_all(shelf).map_err(StoreError::at("create", shelf))?;
        fs::rename(staged, &path).map_err(StoreError::at("create", &path))?;
        self.sync.soon(Published::Few(path));
        Ok(())
    }
}

/// The entries of a directory of the store; none if it doesn't exist.
fn directory(path: &Path) -> Result<Vec<fs::DirEntry>> {
    match fs::read_dir(path) {
        Ok(entries) => entries
            .collect::<Result<_, _>>()
            .map_err(StoreError::at("read", path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StoreError::io("read", path, error)),
    }
}

fn lossy(entry: &fs::DirEntry) -> String {
    entry.file_name().to_string_lossy().into_owned()
}
