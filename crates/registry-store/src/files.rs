//! Bytes and links on the disk.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use fs_err as fs;
use havre_oci::Digest;

use crate::layout::Layout;
use crate::name::{RepositoryName, Tag};
use crate::{Result, StoreError};

/// The files of a registry.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) layout: Layout,
}

impl Files {
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let layout = Layout::new(root);
        for folder in [layout.repositories(), layout.blobs()] {
            fs::create_dir_all(&folder).map_err(StoreError::io("make", &folder))?;
        }
        Ok(Self { layout })
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.layout.database()
    }

    /// Bytes of a blob's file, if it is there.
    pub(crate) fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.layout.blob_data(digest);
        match fs::metadata(&path) {
            Ok(status) => Ok(status.is_file().then_some(status.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("look at", path)(error)),
        }
    }

    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<fs::File> {
        let path = self.layout.blob_data(digest);
        fs::File::open(&path).map_err(StoreError::io("read", path))
    }

    pub(crate) fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.layout.blob_data(digest);
        fs::read(&path).map_err(StoreError::io("read", path))
    }

    /// Puts bytes down as a blob; on the disk when this returns.
    pub(crate) fn write(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if self.size(digest)? == Some(bytes.len() as u64) {
            return Ok(());
        }
        let folder = self.layout.blob(digest);
        let write = || {
            fs::create_dir_all(&folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_data()?;
            file.persist(folder.join("data"))?;
            sync_folders(&folder)
        };
        write().map_err(StoreError::io("write a blob to", &folder))
    }

    /// Makes a blob of a file that holds its bytes, is on the disk, and lies on the same file system.
    pub(crate) fn take(&self, digest: &Digest, file: &fs::File) -> Result<()> {
        let folder = self.layout.blob(digest);
        let take = || {
            fs::create_dir_all(&folder)?;
            fs::rename(file.path(), folder.join("data"))?;
            sync_folders(&folder)
        };
        take().map_err(StoreError::io("move an upload to", &folder))
    }

    pub(crate) fn remove_blob(&self, digest: &Digest) -> Result<()> {
        remove_folder(&self.layout.blob(digest))
    }

    pub(crate) fn link_layer(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        link(&self.layout.layer_link(name, digest), digest)
    }

    pub(crate) fn link_revision(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        link(&self.layout.revision_link(name, digest), digest)
    }

    pub(crate) fn link_tag(&self, name: &RepositoryName, tag: &Tag, digest: &Digest) -> Result<()> {
        link(&self.layout.index_link(name, tag, digest), digest)?;
        link(&self.layout.current_link(name, tag), digest)
    }

    pub(crate) fn unlink_layer(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        unlink(&self.layout.layer_link(name, digest))
    }

    pub(crate) fn unlink_revision(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        unlink(&self.layout.revision_link(name, digest))
    }

    pub(crate) fn unlink_tag(&self, name: &RepositoryName, tag: &Tag) -> Result<()> {
        remove_folder(&self.layout.tag(name, tag))
    }
}

/// A link is a file that holds a digest.
fn link(path: &Path, digest: &Digest) -> Result<()> {
    let write = || {
        if fs::read(path).is_ok_and(|there| there == digest.as_str().as_bytes()) {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(digest.as_str().as_bytes())?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(StoreError::io("write", path))
}

/// The digest that a link holds; [`None`] if there is no link, or no digest in it.
pub(crate) fn read_link(path: &Path) -> Result<Option<Digest>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Digest::from_str(text.trim()).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

fn unlink(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    remove_folder(folder)
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The folder of a blob, and those above it that may have been made for it.
fn sync_folders(folder: &Path) -> io::Result<()> {
    for folder in folder.ancestors().take(2) {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
