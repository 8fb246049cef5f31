//! Uploads in a folder: an upload is a file. How many bytes it has is its length, whoever wrote them, so it goes on after a
//! crash where the disk says it is.

use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::thread::JoinHandle;

use fs_err as fs;
use havre_oci::Digest;

use super::{Key, Pending, Uploads};
use crate::files::Files;
use crate::layout;
use crate::storage::{Contents, Folder, Storage as _};
use crate::{Result, StoreError};

/// So many bytes are written before the disk is asked to begin with them, so that little is left to wait for at the end.
const BEHIND: u64 = 32 << 20;

/// Uploads in a folder.
#[derive(Debug)]
pub(crate) struct FileUploads {
    folder: Folder,
    files: Files,
}

impl FileUploads {
    pub(crate) fn new(folder: Folder) -> Self {
        let files = Files {
            storage: std::sync::Arc::new(folder.clone()),
        };
        Self { folder, files }
    }
}

fn data(key: &Key) -> String {
    layout::upload(&key.name, &key.id) + "/data"
}

impl Uploads for FileUploads {
    fn begin(&self, key: &Key) -> Result<()> {
        let folder = self.folder.path(&layout::upload(&key.name, &key.id));
        fs::create_dir_all(&folder).map_err(StoreError::io("make", &folder))?;
        let data = folder.join("data");
        fs::File::create_new(&data).map_err(StoreError::io("make", &data))?;
        // As the reference registry has it, which purges by it.
        let started = folder.join("startedat");
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        fs::write(&started, now).map_err(StoreError::io("write", &started))
    }

    fn size(&self, key: &Key) -> Result<u64> {
        self.folder.size(&data(key))?.ok_or(StoreError::UploadUnknown)
    }

    fn open(&self, key: &Key) -> Result<Box<dyn Pending>> {
        let path = self.folder.path(&data(key));
        let open = || {
            let mut file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
            let size = file.seek(SeekFrom::End(0))?;
            Ok((file, size))
        };
        let (file, size) = open().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::UploadUnknown,
            _ => StoreError::io("go on with", path)(error),
        })?;
        Ok(Box::new(PendingFile {
            folder: self.folder.clone(),
            upload: layout::upload(&key.name, &key.id),
            data: data(key),
            file,
            size,
            synced: size,
            syncing: None,
        }))
    }

    fn abandoned(&self, limit: i64) -> Result<Vec<(Key, u64)>> {
        let mut found = Vec::new();
        self.files.each_repository(&mut |name, names| {
            if !names.iter().any(|name| name == "_uploads") {
                return Ok(());
            }
            let uploads = layout::repository(&name) + "/_uploads";
            for id in self.folder.names(&uploads)? {
                let key = Key {
                    name: name.clone(),
                    id,
                };
                let Some(written) = self.folder.written(&data(&key))? else {
                    continue;
                };
                if written <= limit
                    && let Some(size) = self.folder.size(&data(&key))?
                {
                    found.push((key, size));
                }
            }
            Ok(())
        })?;
        Ok(found)
    }
}

#[derive(Debug)]
struct PendingFile {
    folder: Folder,
    upload: String,
    data: String,
    file: fs::File,
    size: u64,
    /// Bytes that were on their way to the disk when this was last looked at.
    synced: u64,
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl PendingFile {
    /// Lets the disk begin with what was written, while more comes.
    fn sync_behind(&mut self) -> io::Result<()> {
        if self.size < self.synced + BEHIND
            || self
                .syncing
                .as_ref()
                .is_some_and(|syncing| !syncing.is_finished())
        {
            return Ok(());
        }
        self.wait()?;
        self.synced = self.size;
        let file = self.file.file().try_clone()?;
        let sync = std::thread::Builder::new()
            .name("sync".into())
            .spawn(move || file.sync_data());
        // Without, all is synced at the end.
        self.syncing = sync.ok();
        Ok(())
    }

    /// Waits for what the disk was asked to begin with. A failure is said there, and not once more by the next sync.
    fn wait(&mut self) -> io::Result<()> {
        match self.syncing.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(synced)) => synced,
            Some(Err(_)) => Err(io::Error::other("a thread that syncs ended early")),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path(&self.data)
    }
}

impl Pending for PendingFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn noted(&self) -> Option<&Digest> {
        None
    }

    fn file(&self) -> io::Result<Option<std::fs::File>> {
        self.file.file().try_clone().map(Some)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(StoreError::io("write to", self.path()))?;
        self.size += bytes.len() as u64;
        self.sync_behind()
            .map_err(StoreError::io("write to", self.path()))
    }

    fn pause(&mut self, _: Option<&Digest>) -> Result<()> {
        self.wait().map_err(StoreError::io("write", self.path()))
    }

    fn seal(&mut self) -> Result<()> {
        let synced = self.wait().and_then(|()| self.file.file().sync_data());
        synced.map_err(StoreError::io("write", self.path()))
    }

    fn read(&self) -> Result<Contents> {
        self.folder.open(&self.data, 0..self.size)
    }

    fn publish(&mut self, digest: &Digest) -> Result<()> {
        self.folder.take(&layout::blob_data(digest), &self.file)
    }

    fn is_slow(&self) -> bool {
        false
    }

    fn discard(&mut self) -> Result<()> {
        self.folder.remove(&self.upload)
    }
}
