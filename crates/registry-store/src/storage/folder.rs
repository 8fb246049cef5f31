//! A folder: an object is a file.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use fs_err as fs;

use super::{Contents, Storage};
use crate::{Result, StoreError};

#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Makes an object of a file that holds its bytes, is on the disk, and lies in this folder.
    pub(crate) fn take(&self, key: &str, file: &fs::File) -> Result<()> {
        let path = self.path(key);
        let take = || {
            let folder = path.parent().unwrap_or(&path);
            fs::create_dir_all(folder)?;
            fs::rename(file.path(), &path)?;
            sync_folders(folder)
        };
        take().map_err(StoreError::io("move an upload to", &path))
    }

    fn put(&self, key: &str, bytes: &[u8], sync: bool) -> Result<()> {
        let path = self.path(key);
        let write = || {
            let folder = path.parent().unwrap_or(&path);
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(bytes)?;
            if sync {
                file.as_file().sync_data()?;
            }
            file.persist(&path)?;
            if sync { sync_folders(folder) } else { Ok(()) }
        };
        write().map_err(StoreError::io("write", &path))
    }
}

/// The folder of an object, and the one above it, that may have been made for it.
fn sync_folders(folder: &Path) -> io::Result<()> {
    for folder in folder.ancestors().take(2) {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// [`None`] for what isn't there.
fn there<T>(done: io::Result<T>, action: &'static str, path: &Path) -> Result<Option<T>> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(StoreError::io(action, path)(error)),
    }
}

impl Storage for Folder {
    fn size(&self, key: &str) -> Result<Option<u64>> {
        let path = self.path(key);
        let status = there(fs::metadata(&path), "look at", &path)?;
        Ok(status
            .filter(|status| status.is_file())
            .map(|status| status.len()))
    }

    fn read(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(key);
        there(fs::read(&path), "read", &path)
    }

    fn open(&self, key: &str, range: Range<u64>) -> Result<Contents> {
        let path = self.path(key);
        let open = || {
            let mut file = fs::File::open(&path)?;
            if range.start > 0 {
                file.seek(SeekFrom::Start(range.start))?;
            }
            Ok(Box::new(file.into_file().take(range.end - range.start)))
        };
        Ok(open().map_err(StoreError::io("read", &path))?)
    }

    fn write(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.put(key, bytes, true)
    }

    fn note(&self, key: &str, bytes: &[u8]) -> Result<()> {
        self.put(key, bytes, false)
    }

    fn remove(&self, prefix: &str) -> Result<()> {
        let path = self.path(prefix);
        there(fs::remove_dir_all(&path), "remove", &path).map(drop)
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let path = self.path(prefix);
        let Some(entries) = there(fs::read_dir(&path), "list", &path)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StoreError::io("list", &path))?;
            names.extend(entry.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn written(&self, key: &str) -> Result<Option<i64>> {
        let path = self.path(key);
        let status = there(fs::metadata(&path), "look at", &path)?;
        let since = |status: std::fs::Metadata| status.modified().ok()?.duration_since(UNIX_EPOCH).ok();
        Ok(status
            .and_then(since)
            .and_then(|since| i64::try_from(since.as_millis()).ok()))
    }
}
