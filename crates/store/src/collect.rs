//! Garbage collection: mark what is reachable, sweep the rest.
//!
//! Layers are counted by the database: a row nobody refers to is garbage. Blobs are marked from the rows that name them,
//! through the documents (indexes and manifests) they are. What comes to be reachable while a collection runs is caught by
//! the leases' write barrier (`lease.rs`): each object is looked up there once more, under its lock, when it is removed.

use std::collections::HashSet;

use havre_oci::{Digest, Document};

use crate::lease::State;
use crate::reserve::Reserve;
use crate::{Form, Layer, Result, Store};

/// What a collection removed, or would remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Bytes that come back: blobs and partial downloads by file size, layers by what they take up on the disk ([`Layer::disk_size`](crate::Layer::disk_size)).
    pub bytes: u64,
    /// Diff IDs of the removed layers.
    pub layers: Vec<Digest>,
    /// Digests of the removed blobs.
    pub blobs: Vec<Digest>,
    /// Digests of the abandoned downloads.
    pub ingests: Vec<Digest>,
}

impl Layer {
    /// Bytes it takes up on the disk: its file's size; of a directory the size its archive would have, which counts heads and
    /// pads contents much as a file system does.
    pub fn disk_size(&self) -> u64 {
        match &self.form {
            Form::Directory => self.tar_size,
            Form::Tar(file) | Form::Aligned(file) => file.size,
        }
    }
}

/// Largest document followed. Larger ones aren't documents: they were refused when they came.
const MAX_DOCUMENT: u64 = 4 << 20;

impl Store {
    /// Removes every blob, layer and partial download that no image, reference, snapshot, build cache record or lease
    /// reaches. The space comes back in the background ([`Store::wait_for_trash`]).
    pub fn collect(&self) -> Result<Freed> {
        let freed = self.sweep_unreachable(true)?;
        Reserve::new(self.layout().reserve()).fill();
        Ok(freed)
    }

    /// What [`Store::collect`] would free now, without doing it.
    pub fn collectable(&self) -> Result<Freed> {
        self.sweep_unreachable(false)
    }

    /// Bytes of the blobs that are compressed forms of layers, which can be had again ([`Store::evict_compressed`]).
    pub fn compressed_size(&self) -> Result<u64> {
        let forms = self.meta().all_layer_blobs()?;
        let blobs: HashSet<Digest> = forms.into_iter().map(|(_, blob)| blob).collect();
        Ok(blobs.iter().filter_map(|blob| self.content().size(blob)).sum())
    }

    fn sweep_unreachable(&self, remove: bool) -> Result<Freed> {
        let _collection = self.core.leases.collection();
        let mut freed = Freed::default();

        // Layers first: their compressed forms are reachable only through them.
        for (diff_id, size) in self.meta().unused_layers()? {
            self.free_layer(&diff_id, size, remove, &mut freed)?;
        }
        let gone: HashSet<Digest> = freed.layers.iter().cloned().collect();
        let content = self.content().list()?;
        let mut marked = HashSet::with_capacity(content.len());
        for (diff_id, blob) in self.meta().all_layer_blobs()? {
            if !gone.contains(&diff_id) {
                marked.insert(blob);
            }
        }
        for digest in self.meta().blob_roots()? {
            self.mark(digest, &mut marked);
        }
        for (digest, size) in &content {
            if !marked.contains(digest) {
                self.free_blob(digest, *size, remove, &mut freed)?;
            }
        }
        for (digest, size) in self.content().ingests()? {
            if self.state().protects(&digest) {
                continue;
            }
            let size = if remove {
                self.content().remove_ingest(&digest)?
            } else {
                size
            };
            freed.bytes += size;
            freed.ingests.push(digest);
        }
        Ok(freed)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.core.leases.state()
    }

    fn free_layer(&self, diff_id: &Digest, size: u64, remove: bool, freed: &mut Freed) -> Result<()> {
        if remove {
            match self.layers().remove(diff_id) {
                Ok(_) => {}
                // Somebody began to use it.
                Err(crate::StoreError::LayerInUse { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        } else if self.state().protects(diff_id) {
            return Ok(());
        }
        freed.bytes += size;
        freed.layers.push(diff_id.clone());
        Ok(())
    }

    fn free_blob(&self, digest: &Digest, size: u64, remove: bool, freed: &mut Freed) -> Result<()> {
        // Nobody can begin to hold it while this guard lives.
        let state = self.state();
        if state.protects(digest) {
            return Ok(());
        }
        if remove {
            self.content().remove(digest)?;
        }
        drop(state);
        freed.bytes += size;
        freed.blobs.push(digest.clone());
        Ok(())
    }

    /// Marks a blob and, if it is a document, what it names.
    fn mark(&self, digest: Digest, marked: &mut HashSet<Digest>) {
        let mut waiting = vec![digest];
        while let Some(digest) = waiting.pop() {
            if !marked.insert(digest.clone()) {
                continue;
            }
            let Ok(bytes) = self.content().read(&digest, MAX_DOCUMENT) else {
                continue;
            };
            match Document::parse(&bytes, None) {
                Ok(Document::Index(index)) => {
                    waiting.extend(index.manifests.into_iter().map(|manifest| manifest.digest));
                }
                Ok(Document::Manifest(manifest)) => {
                    marked.insert(manifest.config.digest);
                    marked.extend(manifest.layers.into_iter().map(|layer| layer.digest));
                }
                Err(_) => {}
            }
        }
    }
}
