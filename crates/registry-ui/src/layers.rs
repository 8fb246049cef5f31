//! What is in layers: lists of their entries, the tree that several make, contents of files.
//!
//! A layer is read once from its beginning to its end, and the list of what is in it is kept in memory under its digest, which
//! never means anything else; so is the tree of an image. To read a file, its layer is read again up to the file. Archives are
//! hostile: there are bounds to entries, bytes, time, and to how many are read at once, and what is kept has a bound, too.

mod contents;
mod index;
mod kept;
mod source;

use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use havre_explore::{Comparison, Kind, Node, Tree};
use havre_oci::layer::LayerError;
use havre_oci::{Descriptor, Digest, media_type};
use havre_registry_store::{RegistryStore, RepositoryName, StoreError};
use http::StatusCode;

pub(crate) use source::open;

use crate::layers::index::Index;
use crate::layers::kept::Kept;

/// Entries of the layers of one image.
pub(crate) const MAX_ENTRIES: usize = 500_000;
/// Bytes of one layer's archive.
const MAX_BYTES: u64 = 32 << 30;
/// How long reading a layer may take.
const MAX_TIME: Duration = Duration::from_secs(60);
/// Layers that are read at once.
const AT_ONCE: usize = 2;

/// Why layers cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayersError {
    #[error("layer {number} is not in this registry")]
    Elsewhere { number: usize },
    #[error("layer {number} is no archive of files: its type is {kind:?}")]
    Kind { number: usize, kind: String },
    #[error("layer {number} is damaged: {reason}")]
    Damaged { number: usize, reason: String },
    #[error("the image has more than {MAX_ENTRIES} files, too many to show")]
    TooMany,
    #[error("layer {number} takes too long to read")]
    TooLong { number: usize },
    #[error("many layers are being read at the moment")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LayersError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Elsewhere { .. } => StatusCode::NOT_FOUND,
            Self::Kind { .. } | Self::Damaged { .. } | Self::TooMany | Self::TooLong { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn way_out(&self) -> &'static str {
        match self {
            Self::Elsewhere { .. } => "Its files cannot be shown here.",
            Self::Kind { .. } => "Only the layers of images can be looked into.",
            Self::Damaged { .. } => "The bytes are what was pushed. Build the image again and push it.",
            Self::TooMany | Self::TooLong { .. } => "Pull the image to look into it.",
            Self::Busy => "Load the page again in a moment.",
            Self::Store(_) => "Try again in a while; if it stays so, ask whoever runs the registry.",
        }
    }
}

/// The files of an image.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) tree: Tree,
    /// What a container sees.
    pub(crate) merged: Comparison,
    layers: Vec<(Descriptor, Arc<Index>)>,
}

/// A file of an image whose contents can be read.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) layer: Descriptor,
    /// Its place among the image's layers, from 1.
    number: usize,
    /// Which of the archive's entries it is.
    entry: u64,
    pub(crate) size: u64,
}

impl Files {
    /// Where the contents of a file lie that a layer (from 0) has at a path.
    pub(crate) fn place(&self, layer: usize, path: &[u8]) -> Option<Place> {
        let (descriptor, index) = self.layers.get(layer)?;
        let (entry, size) = index.file(path)?;
        Some(Place {
            layer: descriptor.clone(),
            number: layer + 1,
            entry,
            size,
        })
    }

    /// The digest of a layer, from 0.
    pub(crate) fn layer(&self, layer: usize) -> Option<&Digest> {
        self.layers.get(layer).map(|(descriptor, _)| &descriptor.digest)
    }

    /// What is at a path, by way of symbolic links in it and of one at its end; and that path.
    pub(crate) fn follow(&self, path: &[u8]) -> Option<(Node, Vec<u8>)> {
        let mut waiting: Vec<Vec<u8>> = parts(path);
        let (mut at, mut links) = (Vec::<Vec<u8>>::new(), 0);
        while let Some(part) = waiting.pop() {
            if part == b".." {
                at.pop();
                continue;
            }
            at.push(part);
            let node = self.tree.find(&at.join(&b'/'))?;
            if !self.merged.is_present(node) {
                return None;
            }
            if let Some(Kind::Link { target }) =
                self.merged.version(&self.tree, node).map(|version| &version.kind)
            {
                links += 1;
                if links > 40 {
                    return None;
                }
                at.pop();
                if target.starts_with(b"/") {
                    at.clear();
                }
                waiting.extend(parts(target));
            }
        }
        let path = at.join(&b'/');
        Some((self.tree.find(&path)?, path))
    }
}

/// The names in a path, the last one first.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/');
    let parts = parts.filter(|part| !matches!(*part, b"" | b"."));
    parts.rev().map(<[u8]>::to_vec).collect()
}

/// What was read of layers.
#[derive(Debug)]
pub(crate) struct Layers {
    indexes: Mutex<Kept<Digest, Arc<Index>>>,
    images: Mutex<Kept<Vec<Digest>, Arc<Files>>>,
    turns: Turns,
}

impl Default for Layers {
    fn default() -> Self {
        Self {
            indexes: Mutex::new(Kept::new(MAX_ENTRIES)),
            images: Mutex::new(Kept::new(MAX_ENTRIES)),
            turns: Turns::default(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Layers {
    /// The files that layers of a repository make together, the lowest first.
    pub(crate) fn files(
        &self,
        store: &RegistryStore,
        name: &RepositoryName,
        layers: &[Descriptor],
    ) -> Result<Arc<Files>, LayersError> {
        // Whoever asks must have the layers, whoever they were read for.
        for (number, layer) in (1..).zip(layers) {
            if !media_type::is_layer(&layer.media_type) {
                let kind = layer.media_type.clone();
                return Err(LayersError::Kind { number, kind });
            }
            if store.blob_size(name, &layer.digest)?.is_none() {
                return Err(LayersError::Elsewhere { number });
            }
        }
        let key: Vec<Digest> = layers.iter().map(|layer| layer.digest.clone()).collect();
        if let Some(files) = lock(&self.images).get(&key) {
            return Ok(files);
        }
        let (mut tree, mut read, mut entries) = (Tree::new(), Vec::new(), 0);
        for (number, layer) in (1..).zip(layers) {
            let index = self.index(store, name, &layer.digest, number)?;
            entries += index.entries.len();
            if entries > MAX_ENTRIES {
                return Err(LayersError::TooMany);
            }
            tree.begin_layer();
            for entry in &index.entries {
                tree.add(entry.clone());
            }
            read.push((layer.clone(), index));
        }
        // Directories that nothing tells of count as well.
        if tree.len() > 2 * MAX_ENTRIES {
            return Err(LayersError::TooMany);
        }
        let files = Arc::new(Files {
            merged: tree.merged(),
            tree,
            layers: read,
        });
        lock(&self.images).keep(key, Arc::clone(&files), files.tree.len());
        Ok(files)
    }

    fn index(
        &self,
        store: &RegistryStore,
        name: &RepositoryName,
        digest: &Digest,
        number: usize,
    ) -> Result<Arc<Index>, LayersError> {
        if let Some(index) = lock(&self.indexes).get(digest) {
            return Ok(index);
        }
        let _turn = self.turns.take().ok_or(LayersError::Busy)?;
        // Somebody else may have read it meanwhile.
        if let Some(index) = lock(&self.indexes).get(digest) {
            return Ok(index);
        }
        let (_, blob) = open(store, name, digest)?;
        let index =
            Index::read(blob, MAX_ENTRIES, MAX_BYTES, MAX_TIME).map_err(|error| refused(number, &error))?;
        let index = Arc::new(index);
        lock(&self.indexes).keep(digest.clone(), Arc::clone(&index), index.entries.len());
        Ok(index)
    }

    /// Hands over the contents of a file, piece by piece until there is enough of them.
    pub(crate) fn contents(
        &self,
        store: &RegistryStore,
        name: &RepositoryName,
        place: &Place,
        each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), LayersError> {
        if place.size == 0 {
            return Ok(());
        }
        let (_, blob) = open(store, name, &place.layer.digest)?;
        contents::read(blob, place.entry, MAX_BYTES, each).map_err(|error| refused(place.number, &error))
    }
}

/// How many may read layers, and wait for their turn a while.
#[derive(Debug, Default)]
struct Turns {
    taken: Mutex<usize>,
    given: std::sync::Condvar,
}

struct Turn<'a>(&'a Turns);

impl Turns {
    fn take(&self) -> Option<Turn<'_>> {
        let taken = lock(&self.taken);
        let waited = self
            .given
            .wait_timeout_while(taken, MAX_TIME, |taken| *taken >= AT_ONCE);
        let (mut taken, over) = waited.unwrap_or_else(PoisonError::into_inner);
        if over.timed_out() {
            return None;
        }
        *taken += 1;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.0.taken) -= 1;
        self.0.given.notify_one();
    }
}

fn refused(number: usize, error: &LayerError) -> LayersError {
    match error {
        LayerError::TooManyEntries { .. } => LayersError::TooMany,
        LayerError::Read(inner) if inner.kind() == io::ErrorKind::TimedOut => LayersError::TooLong { number },
        error => {
            let mut reason = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(inner) = cause {
                reason.push_str(&format!(": {inner}"));
                cause = inner.source();
            }
            let reason = crate::show::line(&reason);
            LayersError::Damaged { number, reason }
        }
    }
}
