//! Uploads: bytes that become a blob when all are there and their digest is right.
//!
//! An upload is a file. How many bytes it has is its length, whoever wrote them, so it goes on after a crash where the disk says
//! it is. The digest is computed while bytes come; one that this process did not see from the beginning is read once more.

use std::collections::HashMap;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use havre_oci::{Algorithm, Digest, Digester};

use crate::blobs::insert_blob;
use crate::name::RepositoryName;
use crate::{RegistryStore, Result, StoreError};

/// An upload under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Names it within its repository.
    pub id: String,
    /// Bytes that are there.
    pub size: u64,
}

/// What this process knows of uploads.
#[derive(Debug, Default)]
pub(crate) struct Open(Mutex<HashMap<(RepositoryName, String), Progress>>);

/// An upload that nobody writes to in this moment has its digester here.
#[expect(
    clippy::large_enum_variant,
    reason = "there are as many as uploads under way, and most are idle"
)]
#[derive(Debug)]
enum Progress {
    Idle { digester: Digester, hashed: u64 },
    Busy,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashMap<(RepositoryName, String), Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one writer of an upload. What it wrote stays when it is dropped.
#[derive(Debug)]
pub struct Appending {
    store: RegistryStore,
    key: (RepositoryName, String),
    file: fs::File,
    size: u64,
    /// Of the first so many bytes.
    digester: Option<Digester>,
    hashed: u64,
    ended: bool,
}

impl RegistryStore {
    /// Begins an upload, whose digest will probably be of that algorithm.
    pub fn begin_upload(&self, name: &RepositoryName, algorithm: Algorithm) -> Result<Upload> {
        let id = new_id();
        let folder = self.files().layout.upload(name, &id);
        fs::create_dir_all(&folder).map_err(StoreError::io("make", &folder))?;
        let data = folder.join("data");
        fs::File::create_new(&data).map_err(StoreError::io("make", &data))?;
        // As the reference registry has it, which purges by it.
        let started = folder.join("startedat");
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        fs::write(&started, now).map_err(StoreError::io("write", &started))?;
        let progress = Progress::Idle {
            digester: Digester::new(algorithm),
            hashed: 0,
        };
        self.0.open.lock().insert((name.clone(), id.clone()), progress);
        Ok(Upload { id, size: 0 })
    }

    /// How far an upload is.
    pub fn upload(&self, name: &RepositoryName, id: &str) -> Result<Upload> {
        let data = self.upload_file(name, id)?;
        match fs::metadata(&data) {
            Ok(status) => Ok(Upload {
                id: id.to_owned(),
                size: status.len(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::UploadUnknown),
            Err(error) => Err(StoreError::io("look at", data)(error)),
        }
    }

    /// Goes on with an upload. With `begins`, the next byte must have that place.
    pub fn append(&self, name: &RepositoryName, id: &str, begins: Option<u64>) -> Result<Appending> {
        let data = self.upload_file(name, id)?;
        let key = (name.clone(), id.to_owned());
        let known = self.0.open.lock().insert(key.clone(), Progress::Busy);
        let (digester, hashed) = match known {
            Some(Progress::Busy) => return Err(StoreError::UploadBusy),
            Some(Progress::Idle { digester, hashed }) => (Some(digester), hashed),
            None => (None, 0),
        };
        let open = || {
            let mut file = fs::OpenOptions::new().read(true).write(true).open(&data)?;
            let size = file.seek(SeekFrom::End(0))?;
            Ok((file, size))
        };
        let (file, size) = match open() {
            Ok(opened) => opened,
            Err(error) => {
                self.0.open.lock().remove(&key);
                return Err(match io::Error::kind(&error) {
                    io::ErrorKind::NotFound => StoreError::UploadUnknown,
                    _ => StoreError::io("go on with", &data)(error),
                });
            }
        };
        let appending = Appending {
            store: self.clone(),
            key,
            file,
            size,
            digester,
            hashed,
            ended: false,
        };
        match begins {
            Some(begins) if begins != size => Err(StoreError::UploadOffset { has: size, begins }),
            _ => Ok(appending),
        }
    }

    /// Gives an upload up.
    pub fn cancel_upload(&self, name: &RepositoryName, id: &str) -> Result<()> {
        self.upload(name, id)?;
        let mut appending = self.append(name, id, None)?;
        appending.remove()
    }

    /// The file of an upload, whose id may be anything.
    fn upload_file(&self, name: &RepositoryName, id: &str) -> Result<std::path::PathBuf> {
        let is_id = id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        match is_id {
            true => Ok(self.files().layout.upload(name, id).join("data")),
            false => Err(StoreError::UploadUnknown),
        }
    }
}

impl Appending {
    /// Bytes that are there.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        if let Err(source) = written {
            // Some of them may be there.
            self.digester = None;
            return Err(StoreError::io("write to", self.file.path())(source));
        }
        if self.hashed == self.size
            && let Some(digester) = &mut self.digester
        {
            digester.update(bytes);
            self.hashed += bytes.len() as u64;
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Makes a blob of the repository of what is there, which must have this digest. What has another is given up.
    pub fn finish(mut self, digest: &Digest) -> Result<()> {
        let actual = self.digest(digest.algorithm())?;
        if actual != *digest {
            self.remove()?;
            return Err(StoreError::DigestMismatch {
                expected: digest.clone(),
                actual,
            });
        }
        let failed = StoreError::io("write", self.file.path());
        self.file.sync_data().map_err(failed)?;
        let (store, name, size) = (self.store.clone(), self.key.0.clone(), self.size);
        store.writing(|connection| {
            // Within the transaction: what is there now is not taken away before it is said to be needed (`collect.rs`).
            if store.files().size(digest)? != Some(size) {
                store.files().take(digest, &self.file)?;
            }
            insert_blob(connection, digest, size)?;
            store.give(connection, &name, digest)
        })?;
        self.remove()
    }

    fn digest(&mut self, algorithm: Algorithm) -> Result<Digest> {
        if let Some(digester) = self.digester.take()
            && self.hashed == self.size
            && digester.algorithm() == algorithm
        {
            return Ok(digester.finish());
        }
        let mut digester = Digester::new(algorithm);
        let mut read = || {
            self.file.seek(SeekFrom::Start(0))?;
            io::copy(&mut self.file, &mut digester)
        };
        read().map_err(StoreError::io("read", self.file.path()))?;
        Ok(digester.finish())
    }

    /// Removes the upload; its bytes may be a blob by now.
    fn remove(&mut self) -> Result<()> {
        self.ended = true;
        let folder = self.store.files().layout.upload(&self.key.0, &self.key.1);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", folder)(error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Appending {
    fn drop(&mut self) {
        let mut open = self.store.0.open.lock();
        match self.digester.take() {
            Some(digester) if !self.ended => {
                let hashed = self.hashed;
                open.insert(self.key.clone(), Progress::Idle { digester, hashed });
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
