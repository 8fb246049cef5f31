//! Uploads: bytes that become a blob when all are there and their digest is right.
//!
//! How the bytes are kept until then is the storage's: as [files] that grow, or as [parts] of an object. The
//! digest is computed while bytes come; of what this process did not see from the beginning, it is noted or read once more.

mod files;
mod parts;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use havre_oci::{Algorithm, Digest, Digester};

pub(crate) use files::FileUploads;
pub(crate) use parts::PartUploads;

use crate::blobs::{insert_blob, lock_bytes};
use crate::name::RepositoryName;
use crate::storage::Contents;
use crate::{RegistryStore, Result, StoreError};

/// An upload under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Names it within its repository.
    pub id: String,
    /// Bytes that are there.
    pub size: u64,
}

/// Names an upload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) name: RepositoryName,
    pub(crate) id: String,
}

/// How the bytes of uploads are kept.
pub(crate) trait Uploads: fmt::Debug + Send + Sync {
    fn begin(&self, key: &Key) -> Result<()>;

    /// How many bytes are there.
    fn size(&self, key: &Key) -> Result<u64>;

    /// Opens it for its one writer.
    fn open(&self, key: &Key) -> Result<Box<dyn Pending>>;

    /// Those that nobody went on with since `limit` (milliseconds since 1970), with their bytes.
    fn abandoned(&self, limit: i64) -> Result<Vec<(Key, u64)>>;
}

/// The bytes of an upload in the hands of its writer. What was written stays when it is dropped, or most of it.
pub(crate) trait Pending: fmt::Debug + Send {
    /// How many bytes are there.
    fn size(&self) -> u64;

    /// The digest of all of them, where it was noted.
    fn noted(&self) -> Option<&Digest>;

    /// A file in which what was written can be read at once, if there is one.
    fn file(&self) -> io::Result<Option<File>> {
        Ok(None)
    }

    /// Adds bytes. After an error how many are there is not known.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Lets others go on, from here.
    fn pause(&mut self, digest: Option<&Digest>) -> Result<()>;

    /// Nothing comes any more; the bytes survive a power cut.
    fn seal(&mut self) -> Result<()>;

    /// All bytes of what is sealed.
    fn read(&self) -> Result<Contents>;

    /// Makes a blob of what is sealed. With the bytes on their way already it may be called again.
    fn publish(&mut self, digest: &Digest) -> Result<()>;

    /// Whether publishing takes so long that nobody should wait for it.
    fn is_slow(&self) -> bool;

    /// Removes what is left.
    fn discard(&mut self) -> Result<()>;
}

/// What this process knows of uploads.
#[derive(Debug, Default)]
pub(crate) struct Open(Mutex<HashMap<Key, Progress>>);

/// An upload that nobody writes to in this moment has its digester here.
#[expect(
    clippy::large_enum_variant,
    reason = "there are as many as uploads under way, and most are idle"
)]
#[derive(Debug)]
enum Progress {
    Idle(Hashed),
    Busy,
}

/// A digester, and of how many bytes from the first.
#[derive(Debug)]
struct Hashed {
    digester: Digester,
    bytes: u64,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one writer of an upload. What it wrote stays when it is dropped.
#[derive(Debug)]
pub struct Appending {
    store: RegistryStore,
    key: Key,
    pending: Box<dyn Pending>,
    hashed: Option<Hashed>,
    /// Nothing is left to go on with.
    ended: bool,
    paused: bool,
}

impl RegistryStore {
    /// Begins an upload, whose digest will probably be of that algorithm.
    pub fn begin_upload(&self, name: &RepositoryName, algorithm: Algorithm) -> Result<Upload> {
        let key = Key {
            name: name.clone(),
            id: new_id(),
        };
        self.0.uploads.begin(&key)?;
        let id = key.id.clone();
        let hashed = Hashed {
            digester: Digester::new(algorithm),
            bytes: 0,
        };
        self.0.open.lock().insert(key, Progress::Idle(hashed));
        Ok(Upload { id, size: 0 })
    }

    /// How far an upload is.
    pub fn upload(&self, name: &RepositoryName, id: &str) -> Result<Upload> {
        let key = key(name, id)?;
        let size = self.0.uploads.size(&key)?;
        Ok(Upload { id: key.id, size })
    }

    /// Goes on with an upload. With `begins`, the next byte must have that place.
    pub fn append(&self, name: &RepositoryName, id: &str, begins: Option<u64>) -> Result<Appending> {
        let key = key(name, id)?;
        let known = self.0.open.lock().insert(key.clone(), Progress::Busy);
        let hashed = match known {
            Some(Progress::Busy) => return Err(StoreError::UploadBusy),
            Some(Progress::Idle(hashed)) => Some(hashed),
            None => None,
        };
        let pending = match self.0.uploads.open(&key) {
            Ok(pending) => pending,
            Err(error) => {
                self.0.open.lock().remove(&key);
                return Err(error);
            }
        };
        let size = pending.size();
        let appending = Appending {
            store: self.clone(),
            key,
            pending,
            hashed,
            ended: false,
            paused: false,
        };
        match begins {
            Some(begins) if begins != size => Err(StoreError::UploadOffset { has: size, begins }),
            _ => Ok(appending),
        }
    }

    /// Gives an upload up.
    pub fn cancel_upload(&self, name: &RepositoryName, id: &str) -> Result<()> {
        self.append(name, id, None)?.discard()
    }
}

/// The id may be anything.
fn key(name: &RepositoryName, id: &str) -> Result<Key> {
    let is_id = id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    match is_id {
        true => Ok(Key {
            name: name.clone(),
            id: id.to_owned(),
        }),
        false => Err(StoreError::UploadUnknown),
    }
}

impl Appending {
    /// Bytes that are there.
    pub fn size(&self) -> u64 {
        self.pending.size()
    }

    /// A file in which what was written can be read at once, also when it is a blob by then, if the storage has such files.
    pub fn file(&self) -> Result<Option<File>> {
        let file = self.pending.file();
        file.map_err(StoreError::io("read", format!("the upload {}", self.key.id)))
    }

    /// What names the upload within its repository.
    pub fn id(&self) -> &str {
        &self.key.id
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let size = self.size();
        if let Err(error) = self.pending.write(bytes) {
            // Some of them may be there.
            self.hashed = None;
            return Err(self.without_room(error));
        }
        if let Some(hashed) = &mut self.hashed
            && hashed.bytes == size
        {
            hashed.digester.update(bytes);
            hashed.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    /// After an error: what has no room is given up, so that it doesn't take what others have.
    fn without_room(&mut self, error: StoreError) -> StoreError {
        if error.is_full()
            && let Err(error) = self.discard()
        {
            tracing::warn!(upload = self.key.id, %error, "an upload that has no room stays until it is purged");
        }
        error
    }

    /// Lets others go on, from here; how far it is.
    pub fn pause(mut self) -> Result<Upload> {
        self.suspend()?;
        Ok(Upload {
            id: self.key.id.clone(),
            size: self.size(),
        })
    }

    fn suspend(&mut self) -> Result<()> {
        self.paused = true;
        let size = self.size();
        let hashed = self.hashed.as_ref().filter(|hashed| hashed.bytes == size);
        let digest = hashed.map(|hashed| hashed.digester.clone().finish());
        self.pending.pause(digest.as_ref())
    }

    /// Makes a blob of the repository of what is there, which must have this digest. What has another is given up.
    pub fn finish(mut self, digest: &Digest) -> Result<()> {
        if let Err(error) = self.pending.seal() {
            return Err(self.without_room(error));
        }
        let actual = self.digest(digest.algorithm())?;
        if actual != *digest {
            self.discard()?;
            return Err(StoreError::DigestMismatch {
                expected: digest.clone(),
                actual,
            });
        }
        let size = self.size();
        let (store, name) = (self.store.clone(), self.key.name.clone());
        if self.pending.is_slow() && store.files().size(digest)? != Some(size) {
            self.pending.publish(digest)?;
        }
        store.writing(|connection| {
            lock_bytes(connection, digest)?;
            // Within the transaction: what is there now is not taken away before it is said to be needed (`collect.rs`).
            if store.files().size(digest)? != Some(size) {
                self.pending.publish(digest)?;
            }
            insert_blob(connection, digest, size)?;
            store.give(connection, &name, digest)
        })?;
        self.discard()
    }

    fn digest(&mut self, algorithm: Algorithm) -> Result<Digest> {
        let size = self.size();
        if let Some(hashed) = self.hashed.take()
            && hashed.bytes == size
            && hashed.digester.algorithm() == algorithm
        {
            return Ok(hashed.digester.finish());
        }
        if let Some(noted) = self.pending.noted()
            && noted.algorithm() == algorithm
        {
            return Ok(noted.clone());
        }
        let mut digester = Digester::new(algorithm);
        let read = io::copy(&mut self.pending.read()?, &mut digester);
        read.map_err(StoreError::io("read", format!("the upload {}", self.key.id)))?;
        Ok(digester.finish())
    }

    /// Removes the upload; its bytes may be a blob by now.
    fn discard(&mut self) -> Result<()> {
        self.ended = true;
        self.pending.discard()
    }
}

impl Drop for Appending {
    fn drop(&mut self) {
        if !self.ended
            && !self.paused
            && let Err(error) = self.suspend()
        {
            tracing::warn!(upload = self.key.id, %error, "an upload that broke off lost bytes");
        }
        let mut open = self.store.0.open.lock();
        match self.hashed.take() {
            Some(hashed) if !self.ended => {
                open.insert(self.key.clone(), Progress::Idle(hashed));
            }
            _ => {
                open.remove(&self.key);
            }
        }
    }
}

/// A random UUID (RFC 9562, version 4).
fn new_id() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
