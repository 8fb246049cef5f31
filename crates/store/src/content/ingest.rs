//! A blob being written, and readers that follow it.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use havre_oci::{Digest, Digester};

use super::Active;
use crate::error::is_no_space;
use crate::store::Core;
use crate::{Result, StoreError};

/// Largest blob whose size nobody announced, in bytes.
const MAX_UNANNOUNCED: u64 = 1 << 40;

/// The right to write one blob.
#[derive(Debug)]
pub(super) struct Slot {
    active: Arc<Active>,
    digest: Digest,
}

impl Slot {
    pub(super) fn new(active: Arc<Active>, digest: Digest) -> Self {
        Self { active, digest }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.active.set().remove(&self.digest);
    }
}

/// A blob being written. Dropping it keeps what came for a later [`ContentStore::ingest`](crate::ContentStore::ingest);
/// tail readers then see [`StoreError::IngestAborted`].
#[derive(Debug)]
pub struct Ingest {
    core: Arc<Core>,
    file: fs::File,
    digester: Digester,
    written: u64,
    size: Option<u64>,
    progress: Arc<Progress>,
    /// The partial file is worthless and goes when this value is dropped.
    spoilt: bool,
    // Last: the file is settled before another may write it.
    slot: Slot,
}

/// What tail readers wait for.
#[derive(Debug)]
struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy)]
struct State {
    written: u64,
    /// Counts restarts: a reader of an earlier attempt has read bytes that are no more.
    attempt: u64,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Writing,
    Committed,
    Aborted,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

impl Ingest {
    pub(super) fn open(core: Arc<Core>, slot: Slot, size: Option<u64>) -> Result<Self> {
        let path = core.layout.ingest(&slot.digest);
        let mut options = fs::OpenOptions::new();
        options.read(true).append(true).create(true);
        fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(StoreError::at("create", &path))?;
        let progress = Progress {
            state: Mutex::new(State {
                written: 0,
                attempt: 0,
                phase: Phase::Writing,
            }),
            changed: Condvar::new(),
        };
        let mut ingest = Self {
            core,
            file,
            digester: Digester::new(slot.digest.algorithm()),
            written: 0,
            size,
            progress: Arc::new(progress),
            spoilt: false,
            slot,
        };
        ingest.resume()?;
        ingest.check_room()?;
        Ok(ingest)
    }

    /// Hashes what an earlier attempt left.
    fn resume(&mut self) -> Result<()> {
        let path = self.file.path().to_path_buf();
        let length = self
            .file
            .metadata()
            .map_err(StoreError::at("query", &path))?
            .len();
        if length > self.size.unwrap_or(MAX_UNANNOUNCED) {
            return self.restart();
        }
        let mut left = fs::File::open(&path).map_err(StoreError::at("open", &path))?;
        self.written = io::copy(&mut left, &mut self.digester).map_err(StoreError::at("read", &path))?;
        let written = self.written;
        self.progress.change(|state| state.written = written);
        Ok(())
    }

    fn check_room(&mut self) -> Result<()> {
        let Some(size) = self.size else { return Ok(()) };
        let Ok(status) = rustix::fs::fstatvfs(self.file.file().as_fd()) else {
            return Ok(());
        };
        let room = status.f_bfree.saturating_mul(status.f_frsize);
        if status.f_blocks > 0 && size - self.written > room {
            let reason = format!("{} bytes are needed, {room} are free", size - self.written);
            let source = io::Error::new(io::ErrorKind::StorageFull, reason);
            self.spoilt = self.written == 0;
            return Err(StoreError::NoSpace {
                path: self.file.path().to_path_buf(),
                source,
            });
        }
        Ok(())
    }

    /// The digest the finished blob must have.
    pub fn digest(&self) -> &Digest {
        &self.slot.digest
    }

    /// Bytes already there: where a resumed transfer continues.
    pub fn offset(&self) -> u64 {
        self.written
    }

    /// Appends. Refuses to go beyond the announced size. When the disk is full, what came is given back.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        let limit = self.size.unwrap_or(MAX_UNANNOUNCED);
        let length = self.written.saturating_add(bytes.len() as u64);
        if length > limit {
            let digest = self.slot.digest.clone();
            return Err(StoreError::SizeMismatch {
                digest,
                expected: limit,
                actual: length,
            });
        }
        if let Err(error) = self.file.write_all(bytes) {
            // A piece may have been written: the file must agree with what was hashed.
            self.spoilt = is_no_space(&error) || self.file.set_len(self.written).is_err();
            return Err(StoreError::io("write", self.file.path(), error));
        }
        self.digester.update(bytes);
        self.written = length;
        self.progress.change(|state| state.written = length);
        Ok(())
    }

    /// Throws away what is there and begins at offset 0. Tail readers that already read fail.
    pub fn restart(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .map_err(StoreError::at("truncate", self.file.path()))?;
        self.digester = Digester::new(self.slot.digest.algorithm());
        self.written = 0;
        self.progress.change(|state| {
            state.written = 0;
            state.attempt += 1;
        });
        Ok(())
    }

    /// A reader of everything from offset 0 that waits for bytes to come, ends when the ingest is committed and fails when
    /// it is dropped or discarded.
    pub fn tail(&self) -> Result<IngestReader> {
        let path = self.file.path();
        let file = fs::File::open(path).map_err(StoreError::at("open", path))?;
        let attempt = self.progress.state().attempt;
        let digest = self.slot.digest.clone();
        Ok(IngestReader {
            file,
            position: 0,
            attempt,
            progress: self.progress.clone(),
            digest,
        })
    }

    /// Verifies size and digest and publishes the blob. On a mismatch of the digest the partial file is removed; if bytes
    /// are missing it stays, to be resumed.
    pub fn commit(self) -> Result<()> {
        self.verify()?.publish()
    }

    /// Verifies size and digest, as [`commit`](Self::commit) does: tail readers see the end of a sound blob. Whether it is
    /// worth keeping is decided later.
    pub fn verify(mut self) -> Result<VerifiedIngest> {
        let digest = self.slot.digest.clone();
        if let Some(expected) = self.size.filter(|size| *size != self.written) {
            return Err(StoreError::SizeMismatch {
                digest,
                expected,
                actual: self.written,
            });
        }
        let digester = std::mem::replace(&mut self.digester, Digester::new(digest.algorithm()));
        let actual = digester.finish();
        if actual != digest {
            self.spoilt = true;
            return Err(StoreError::DigestMismatch {
                expected: digest,
                actual,
            });
        }
        self.progress.change(|state| state.phase = Phase::Committed);
        Ok(VerifiedIngest(self))
    }

    /// Gives up and removes what came.
    pub fn discard(mut self) -> Result<()> {
        let path = self.file.path();
        let removed = fs::remove_file(path).map_err(StoreError::at("remove", path));
        self.spoilt = removed.is_err();
        removed
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if self.spoilt {
            let _ = fs::remove_file(self.file.path());
        }
        self.progress.change(|state| {
            if state.phase == Phase::Writing {
                state.phase = Phase::Aborted;
            }
        });
    }
}

/// A complete and verified blob that is not published. Dropping it keeps the file for a later
/// [`ContentStore::ingest`](crate::ContentStore::ingest), which then lacks no byte.
#[derive(Debug)]
pub struct VerifiedIngest(Ingest);

impl VerifiedIngest {
    /// Makes it a blob of the content store.
    pub fn publish(self) -> Result<()> {
        self.0.core.publish_blob(self.0.file.path(), &self.0.slot.digest)
    }

    /// Gives it up. Its bytes need never have reached the disk; the space comes back in the background.
    pub fn discard(self) -> Result<()> {
        self.0.core.trash.discard(self.0.file.path()).map(drop)
    }
}

/// Follows an [`Ingest`] from its first byte; blocks where the writer hasn't come yet.
#[derive(Debug)]
pub struct IngestReader {
    file: fs::File,
    position: u64,
    attempt: u64,
    progress: Arc<Progress>,
    digest: Digest,
}

impl Read for IngestReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let aborted = || {
            io::Error::other(StoreError::IngestAborted {
                digest: self.digest.clone(),
            })
        };
        let mut state = self.progress.state();
        let there = loop {
            if state.attempt != self.attempt {
                if self.position > 0 {
                    return Err(aborted());
                }
                self.attempt = state.attempt;
            }
            if state.phase == Phase::Aborted {
                return Err(aborted());
            }
            if state.written > self.position {
                break state.written - self.position;
            }
            if state.phase == Phase::Committed || buf.is_empty() {
                return Ok(0);
            }
            state = self
                .progress
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        let length = buf.len().min(usize::try_from(there).unwrap_or(usize::MAX));
        let read = self.file.file().read_at(&mut buf[..length], self.position)?;
        if read == 0 {
            // Truncated meanwhile: a restart.
            return Err(aborted());
        }
        self.position += read as u64;
        // The restart may have happened while reading; the bytes may be of either attempt.
        let state = self.progress.state();
        if state.attempt != self.attempt {
            return Err(io::Error::other(StoreError::IngestAborted {
                digest: self.digest.clone(),
            }));
        }
        Ok(read)
    }
}
