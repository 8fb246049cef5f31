//! Bytes and links in a storage, by what they are.

use std::ops::Range;
use std::str::FromStr as _;
use std::sync::Arc;

use havre_oci::{Algorithm, Digest};

use crate::layout;
use crate::name::{RepositoryName, Tag};
use crate::storage::{Contents, Storage};
use crate::{Result, StoreError};

/// What is in a storage.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) storage: Arc<dyn Storage>,
}

impl Files {
    /// Bytes of a blob, if they are there.
    pub(crate) fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        self.storage.size(&layout::blob_data(digest))
    }

    /// A part of a blob.
    pub(crate) fn open(&self, digest: &Digest, range: Range<u64>) -> Result<Contents> {
        self.storage.open(&layout::blob_data(digest), range)
    }

    /// Where a client can read a blob itself for a while, if it may.
    pub(crate) fn url(&self, digest: &Digest) -> Result<Option<String>> {
        self.storage.url(&layout::blob_data(digest))
    }

    /// A small blob.
    pub(crate) fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let bytes = self.storage.read(&layout::blob_data(digest))?;
        bytes.ok_or_else(|| StoreError::BytesMissing(digest.clone()))
    }

    /// Puts bytes down as a blob; they survive a power cut when this returns.
    pub(crate) fn write(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if self.size(digest)? == Some(bytes.len() as u64) {
            return Ok(());
        }
        self.storage.write(&layout::blob_data(digest), bytes)
    }

    pub(crate) fn remove_blob(&self, digest: &Digest) -> Result<()> {
        self.storage.remove(&layout::blob(digest))
    }

    pub(crate) fn link_layer(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        self.link(&layout::layer_link(name, digest), digest)
    }

    pub(crate) fn link_revision(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        self.link(&layout::revision_link(name, digest), digest)
    }

    pub(crate) fn link_tag(&self, name: &RepositoryName, tag: &Tag, digest: &Digest) -> Result<()> {
        self.link(&layout::index_link(name, tag, digest), digest)?;
        self.link(&layout::current_link(name, tag), digest)
    }

    pub(crate) fn unlink_layer(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        self.unlink(&layout::layer_link(name, digest))
    }

    pub(crate) fn unlink_revision(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        self.unlink(&layout::revision_link(name, digest))
    }

    pub(crate) fn unlink_tag(&self, name: &RepositoryName, tag: &Tag) -> Result<()> {
        self.storage.remove(&layout::tag(name, tag))
    }

    /// What a tag stands for, by its link.
    pub(crate) fn tag_link(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>> {
        self.read_link(&layout::current_link(name, tag))
    }

    /// A link is an object that holds a digest.
    fn link(&self, key: &str, digest: &Digest) -> Result<()> {
        if self.read_link(key)?.as_ref() == Some(digest) {
            return Ok(());
        }
        self.storage.note(key, digest.as_str().as_bytes())
    }

    /// The digest that a link holds; [`None`] if there is no link, or no digest in it.
    fn read_link(&self, key: &str) -> Result<Option<Digest>> {
        let text = self
            .storage
            .read(key)?
            .and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.and_then(|text| Digest::from_str(text.trim()).ok()))
    }

    fn unlink(&self, key: &str) -> Result<()> {
        let alone = key.rsplit_once('/').map_or(key, |(alone, _)| alone);
        self.storage.remove(alone)
    }

    /// The digests that have a link beneath a key.
    pub(crate) fn linked(&self, prefix: &str) -> Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let prefix = format!("{prefix}/{algorithm}");
            for hex in self.storage.names(&prefix)? {
                let named = format!("{algorithm}:{hex}").parse::<Digest>();
                if let (Ok(named), Some(linked)) = (named, self.read_link(&format!("{prefix}/{hex}/link"))?)
                    && named == linked
                {
                    digests.push(linked);
                }
            }
        }
        Ok(digests)
    }

    /// All blobs whose bytes are there.
    pub(crate) fn each_blob(&self, each: &mut dyn FnMut(Digest) -> Result<()>) -> Result<()> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let prefix = format!("{}/{algorithm}", layout::BLOBS);
            for start in self.storage.names(&prefix)? {
                for hex in self.storage.names(&format!("{prefix}/{start}"))? {
                    if let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>()
                        && hex.starts_with(&start)
                    {
                        each(digest)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// All keys at which repositories can be, with the names of what is there.
    pub(crate) fn each_repository(
        &self,
        each: &mut dyn FnMut(RepositoryName, &[String]) -> Result<()>,
    ) -> Result<()> {
        // Names waiting, the next one last.
        let mut waiting = vec![String::new()];
        while let Some(name) = waiting.pop() {
            let prefix = match name.as_str() {
                "" => layout::REPOSITORIES.to_owned(),
                name => format!("{}/{name}", layout::REPOSITORIES),
            };
            let names = self.storage.names(&prefix)?;
            for inner in names.iter().rev().filter(|inner| !inner.starts_with('_')) {
                let inner = match name.as_str() {
                    "" => inner.clone(),
                    name => format!("{name}/{inner}"),
                };
                if inner.parse::<RepositoryName>().is_ok() {
                    waiting.push(inner);
                }
            }
            if let Ok(name) = name.parse::<RepositoryName>() {
                each(name, &names)?;
            }
        }
        Ok(())
    }
}
