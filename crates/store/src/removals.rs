//! Removals that can be undone: what was removed is out of sight but there, until it is brought back or forgotten.
//!
//! **The journal is the truth.** A removal is one transaction that moves documents into it; a snapshot stays where it is, and
//! a directory (a volume's data) is moved aside after the transaction. Bringing back moves the directory first and the
//! documents then. Whatever a crash leaves between the two, [`Removals::settle`] moves the directory to where the journal
//! says it is: what is in the journal is removed and can be brought back, what is not was never removed. Forgetting deletes
//! from the journal first; what then belongs to nothing is swept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use havre_oci::Digest;

use crate::meta::{DIGEST, IMAGE, TAG};
use crate::snapshotter::tree_size;
use crate::store::Core;
use crate::{Meta, Operation, Removal, RemovedItem, Result, Snapshots, Store, StoreError, Taken};

/// The removals of a store.
#[derive(Debug)]
pub struct Removals<'a> {
    store: &'a Store,
    core: &'a Arc<Core>,
    meta: &'a Meta,
    snapshots: &'a Snapshots,
}

impl<'a> Removals<'a> {
    pub(crate) fn new(store: &'a Store, core: &'a Arc<Core>) -> Self {
        Self {
            store,
            core,
            meta: store.meta(),
            snapshots: store.snapshots(),
        }
    }

    /// Removes documents so that they can be brought back, all or none. Several calls with the same operation are one removal,
    /// whose id is given.
    pub fn take(&self, operation: &Operation, taken: &[Taken<'_>]) -> Result<u64> {
        let (removal, items) = self.meta.take_documents(operation, taken)?;
        for item in &items {
            if let Err(error) = self.put_aside(item) {
                // The next start moves it.
                tracing::warn!(kind = item.kind, id = item.id, %error, "the data of something removed stay in their place");
            }
        }
        Ok(removal)
    }

    /// Every removal, newest first.
    pub fn list(&self) -> Result<Vec<Removal>> {
        self.meta.removals()
    }

    /// Brings everything of a removal back. The bodies of its documents may have been changed; their names, ids and places
    /// must be free.
    pub fn restore(&self, removal: &Removal) -> Result<()> {
        let mut moved = Vec::new();
        let restored = (|| {
            for item in &removal.items {
                let Some((place, aside)) = self.places(item) else {
                    continue;
                };
                if !aside.exists() && place.exists() {
                    // It never went.
                    continue;
                }
                rename(&aside, &place)?;
                moved.push((place, aside));
            }
            self.meta.return_documents(removal)
        })();
        if restored.is_err() {
            for (place, aside) in moved {
                if let Err(error) = rename(&place, &aside) {
                    tracing::warn!(%error, "the data of something removed stay in their place");
                }
            }
        }
        restored
    }

    /// Gives up what a removal keeps. The space comes back in the background.
    pub fn forget(&self, removal: &Removal) -> Result<()> {
        self.store.removing(|removing| removing.forget(removal.id))?;
        for item in &removal.items {
            if let Some((place, aside)) = self.places(item) {
                if !aside.exists() {
                    // Not moved aside yet, for an error: the place is still its own.
                    self.core.discard_mounted(&place)?;
                }
                self.core.discard_mounted(&aside)?;
            }
            if let Some(snapshot) = &item.snapshot {
                self.snapshots.remove(snapshot)?;
            }
        }
        Ok(())
    }

    /// Counts the bytes of every item of a removal: its own files, which are walked once, and the layers and blobs that nothing
    /// but removed things hold, with the first of those. What is held is counted each time, for others can come to have the
    /// same layers.
    pub fn measure(&self, removal: &mut Removal) -> Result<()> {
        let uncounted =
            |item: &&mut RemovedItem| item.size.is_none() && (item.data.is_some() || item.snapshot.is_some());
        for item in removal.items.iter_mut().filter(uncounted) {
            let mut size = 0;
            if let Some((_, aside)) = self.places(item) {
                size += tree_size(&aside).unwrap_or(0);
            }
            if let Some(snapshot) = &item.snapshot {
                size += tree_size(&self.core.layout.container(snapshot)).unwrap_or(0);
            }
            self.meta.set_removed_size(item.seq, size)?;
            item.size = Some(size);
        }
        let holds = |item: &&mut RemovedItem| {
            item.snapshot.is_some() || [IMAGE, TAG, DIGEST].contains(&item.kind.as_str())
        };
        if !removal.items.iter_mut().any(|item| holds(&item)) {
            return Ok(());
        }
        let layers = self.meta.layers_of_removed()?;
        let blobs = self.meta.blobs_of_removed()?;
        for item in removal.items.iter_mut().filter(holds) {
            let mut size = 0;
            for (_, diff_id) in layers.iter().filter(|(holder, _)| *holder == item.seq) {
                let layer = self.meta.find_layer(diff_id)?;
                size += layer.map_or(0, |layer| layer.disk_size());
            }
            for (_, digest) in blobs.iter().filter(|(holder, _)| *holder == item.seq) {
                size += self.store.content().size(digest).unwrap_or(0);
            }
            item.held = size;
        }
        Ok(())
    }

    /// Layers that are only there for what was removed.
    pub fn held_layers(&self) -> Result<Vec<Digest>> {
        let held = self.meta.layers_of_removed()?;
        Ok(held.into_iter().map(|(_, diff_id)| diff_id).collect())
    }

    /// Whether a snapshot is kept for something that can be brought back.
    pub fn keeps_snapshot(&self, id: &str) -> Result<bool> {
        self.meta.is_snapshot_kept(id)
    }

    /// Bytes free for everybody on the store's file system, and its size.
    pub fn space(&self) -> Option<(u64, u64)> {
        let status = rustix::fs::statvfs(self.core.layout.root()).ok()?;
        Some((
            status.f_bavail * status.f_frsize,
            status.f_blocks * status.f_frsize,
        ))
    }

    /// After a crash: moves directories to where the journal says they are, and lets go of what nobody can bring back.
    pub(crate) fn settle(&self) -> Result<()> {
        let removals = self.meta.removals()?;
        let mut known = Vec::new();
        for item in removals.iter().flat_map(|removal| &removal.items) {
            let Some((place, aside)) = self.places(item) else {
                continue;
            };
            let documented = self.meta.find_document(&item.kind, &item.id)?.is_some();
            if !aside.exists() && (documented || !place.exists()) {
                tracing::warn!(kind = item.kind, id = item.id, "something removed lost its data");
                self.meta.delete_removed(item.seq)?;
                continue;
            }
            self.put_aside(item)?;
            known.push(aside);
        }
        let directory = self.core.layout.removed();
        for entry in fs::read_dir(&directory).map_err(StoreError::at("read", &directory))? {
            let path = entry.map_err(StoreError::at("read", &directory))?.path();
            if !known.contains(&path) {
                self.core.discard_mounted(&path)?;
            }
        }
        Ok(())
    }

    fn put_aside(&self, item: &RemovedItem) -> Result<()> {
        match self.places(item) {
            Some((place, aside)) if !aside.exists() => rename(&place, &aside),
            _ => Ok(()),
        }
    }

    /// Where the data of an item belong, and where they are kept.
    fn places(&self, item: &RemovedItem) -> Option<(PathBuf, PathBuf)> {
        let data = item.data.as_ref()?;
        let aside = self.core.layout.removed().join(item.seq.to_string());
        Some((self.core.layout.root().join(data), aside))
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        return Err(StoreError::io(
            "move something removed to",
            to,
            rustix::io::Errno::EXIST.into(),
        ));
    }
    fs::rename(from, to).map_err(StoreError::at("move", from))
}
