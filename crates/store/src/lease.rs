//! Leases: what is in flight and must not be collected.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use havre_oci::Digest;

/// Protects digests (blobs and layers alike) from [`Store::collect`](crate::Store::collect) until the last clone is dropped.
///
/// Everything made with a lease is held by it. To *use* something that exists, hold it first and look it up after: a
/// collection between the two then can't take it away.
#[derive(Clone, Debug)]
pub struct Lease {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: Arc<Leases>,
    held: Mutex<HashSet<Digest>>,
}

impl Lease {
    /// Protects a blob digest or a diff ID, whether or not it exists yet.
    pub fn hold(&self, digest: &Digest) {
        let mut held = self.inner.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.insert(digest.clone()) {
            self.inner.table.state().hold(digest);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut state = self.table.state();
        for digest in self
            .held
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .drain()
        {
            state.release(&digest);
        }
    }
}

/// All leases of a store. They live in memory: whoever held one before a crash is gone.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    state: Mutex<State>,
}

/// The write barrier of collections: while this guard lives, nothing new can be held.
#[derive(Debug, Default)]
pub(crate) struct State {
    counts: HashMap<Digest, usize>,
    /// What was held, written into the database or let go since the oldest running collection began. A collection reads the
    /// database once, at its beginning: what came to be reachable afterwards, perhaps with its lease dropped already, is
    /// here.
    touched: HashSet<Digest>,
    collections: usize,
}

impl Leases {
    pub(crate) fn lease(self: &Arc<Self>) -> Lease {
        Lease {
            inner: Arc::new(Inner {
                table: self.clone(),
                held: Mutex::default(),
            }),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes digests that became reachable otherwise.
    pub(crate) fn touch<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) {
        let mut state = self.state();
        if state.collections > 0 {
            state.touched.extend(digests.into_iter().cloned());
        }
    }

    /// Begins a collection: call before reading what is reachable.
    pub(crate) fn collection(&self) -> Collection<'_> {
        self.state().collections += 1;
        Collection { table: self }
    }
}

impl State {
    fn hold(&mut self, digest: &Digest) {
        *self.counts.entry(digest.clone()).or_default() += 1;
        if self.collections > 0 {
            self.touched.insert(digest.clone());
        }
    }

    fn release(&mut self, digest: &Digest) {
        // What it was held for may be in the database only since a running collection read that, and have been noted before
        // the collection began.
        if self.collections > 0 {
            self.touched.insert(digest.clone());
        }
        if let Some(count) = self.counts.get_mut(digest) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(digest);
            }
        }
    }

    /// Whether a collection must leave `digest` alone.
    pub(crate) fn protects(&self, digest: &Digest) -> bool {
        self.counts.contains_key(digest) || self.touched.contains(digest)
    }
}

/// A running collection.
#[derive(Debug)]
pub(crate) struct Collection<'a> {
    table: &'a Leases,
}

impl Drop for Collection<'_> {
    fn drop(&mut self) {
        let mut state = self.table.state();
        state.collections -= 1;
        if state.collections == 0 {
            state.touched = HashSet::new();
        }
    }
}
