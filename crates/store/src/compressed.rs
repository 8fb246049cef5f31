//! Compressed forms of layers: kept to be sent again as they were, and given up first when space matters, since every one
//! of them can be made anew from its layer.

use std::collections::HashSet;
use std::time::SystemTime;

use fs_err as fs;
use havre_oci::Digest;

use crate::{Result, Store, StoreError};

/// A compressed form of a layer in the content store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressedBlob {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// When it was last asked for ([`Store::touch_compressed`]), or made.
    pub last_used: SystemTime,
}

impl Store {
    /// The compressed forms of layers that are in the content store, the least recently used first.
    pub fn compressed(&self) -> Result<Vec<CompressedBlob>> {
        let known: HashSet<Digest> = self
            .meta()
            .all_layer_blobs()?
            .into_iter()
            .map(|(_, blob)| blob)
            .collect();
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for (digest, size) in self.content().list()? {
            if !known.contains(&digest) {
                continue;
            }
            // Gone meanwhile: not there.
            let Ok(status) = fs::symlink_metadata(self.layout().blob(&digest)) else {
                continue;
            };
            found.push(CompressedBlob {
                digest,
                size,
                last_used: status.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            });
        }
        found.sort_by(|one, other| (one.last_used, &one.digest).cmp(&(other.last_used, &other.digest)));
        Ok(found)
    }

    /// Notes that a compressed form was asked for; nothing if it isn't there.
    pub fn touch_compressed(&self, digest: &Digest) -> Result<()> {
        let path = self.layout().blob(digest);
        let file = match fs::OpenOptions::new().write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StoreError::io("open", &path, error)),
        };
        file.file()
            .set_modified(SystemTime::now())
            .map_err(StoreError::at("set the time of", &path))
    }

    /// Removes one compressed form of a layer; its bytes, or `None` if it isn't there, is something else, or a lease holds it.
    pub fn evict(&self, digest: &Digest) -> Result<Option<u64>> {
        if self.meta().layer_of_blob(digest)?.is_none() || self.content().size(digest).is_none() {
            return Ok(None);
        }
        // Nobody can begin to hold it while this guard lives.
        let leases = self.core.leases.state();
        match leases.protects(digest) {
            true => Ok(None),
            false => self.content().remove(digest).map(Some),
        }
    }

    /// Removes the least recently used compressed forms until those that are left have at most `limit` bytes. What a lease
    /// holds stays. Returns the bytes freed; they come back in the background.
    pub fn evict_compressed(&self, limit: u64) -> Result<u64> {
        let blobs = self.compressed()?;
        let mut total: u64 = blobs.iter().map(|blob| blob.size).sum();
        let mut freed = 0;
        for blob in blobs {
            if total <= limit {
                break;
            }
            // Nobody can begin to hold it while this guard lives.
            let leases = self.core.leases.state();
            if leases.protects(&blob.digest) {
                continue;
            }
            freed += self.content().remove(&blob.digest)?;
            total -= blob.size;
        }
        Ok(freed)
    }
}
