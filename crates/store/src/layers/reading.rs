//! Who reads in the directories of layers without having mounted them.
//!
//! A layer that is a file is read through a descriptor, which stays good whatever takes the file's place. A directory is
//! walked by its path: it may not be exchanged meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use havre_oci::Digest;

/// How many read in which directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readers(Arc<Mutex<HashMap<Digest, usize>>>);

/// Keeps a layer's directory where it is.
#[derive(Debug)]
pub(crate) struct Reading {
    readers: Readers,
    layer: Digest,
}

impl Readers {
    pub(super) fn enter(&self, layer: &Digest) -> Reading {
        *self.lock().entry(layer.clone()).or_default() += 1;
        Reading {
            readers: self.clone(),
            layer: layer.clone(),
        }
    }

    pub(super) fn any(&self, layer: &Digest) -> bool {
        self.lock().contains_key(layer)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut readers = self.readers.lock();
        match readers.get_mut(&self.layer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                readers.remove(&self.layer);
            }
        }
    }
}
