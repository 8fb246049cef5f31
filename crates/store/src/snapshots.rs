//! Snapshots: the writable file systems of containers and build steps.

use std::path::{Path, PathBuf};

use havre_oci::Digest;

use crate::{Layer, Lease, Result};

/// A stack of layers with a writable directory above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id, a container's or a build step's.
    pub id: String,
    /// Diff IDs of the layers beneath, base first.
    pub chain: Vec<Digest>,
    /// Its directory: `containers/<id>`. The owner may keep files of its own there; they go when the snapshot goes.
    pub dir: PathBuf,
    /// What was written.
    pub upper: PathBuf,
    /// The overlay's own scratch directory.
    pub work: PathBuf,
    /// Where [`Snapshots::mount`] mounts.
    pub merged: PathBuf,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It exists below and is different now: `C`.
    Modified,
    /// It is new: `A`.
    Added,
    /// It is gone: `D`.
    Deleted,
}

/// One difference between a snapshot and its layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Absolute path inside the container.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// How [`Snapshots::commit`] takes the written files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitMode {
    /// The snapshot's files become the layer, the snapshot is unmounted and removed.
    Move,
    /// The files are copied; the snapshot may be in use and stays.
    Copy,
}

/// The snapshots of a store.
#[derive(Debug)]
pub struct Snapshots {}

impl Snapshots {
    /// Makes a writable snapshot above the layers `chain` (diff IDs, base first; up to 500). `id` is used as a file name.
    pub fn prepare(&self, _id: &str, _chain: &[Digest]) -> Result<Snapshot> {
        todo!()
    }
    /// The snapshot, if it is there.
    pub fn find(&self, _id: &str) -> Result<Option<Snapshot>> {
        todo!()
    }
    /// The snapshot, or [`StoreError::SnapshotNotFound`](crate::StoreError::SnapshotNotFound).
    pub fn get(&self, _id: &str) -> Result<Snapshot> {
        todo!()
    }
    /// All snapshots, by id.
    pub fn list(&self) -> Result<Vec<Snapshot>> {
        todo!()
    }
    /// Mounts it at [`Snapshot::merged`], unless it is mounted already.
    pub fn mount(&self, _snapshot: &Snapshot) -> Result<PathBuf> {
        todo!()
    }
    /// Unmounts it if it is mounted.
    pub fn unmount(&self, _id: &str) -> Result<()> {
        todo!()
    }
    /// Unmounts and removes it with everything in its directory. No error if it isn't there.
    pub fn remove(&self, _id: &str) -> Result<()> {
        todo!()
    }
    /// What was written, in Docker's order (by path, parents first; a directory whose content changed is itself `C`).
    pub fn changes(&self, _id: &str) -> Result<Vec<Change>> {
        todo!()
    }
    /// Bytes of the regular files written, hard links counted once.
    pub fn usage(&self, _id: &str) -> Result<u64> {
        todo!()
    }
    /// Mounts the layers `chain` read-only at the existing directory `target`; unmounted when the value is dropped.
    pub fn view(&self, _chain: &[Digest], _target: &Path) -> Result<View> {
        todo!()
    }
    /// Makes a layer of what was written. [`CommitMode::Move`] removes the snapshot.
    pub fn commit(&self, _id: &str, _mode: CommitMode, _lease: &Lease) -> Result<Layer> {
        todo!()
    }
}

/// A read-only mount of a stack of layers. While it lives, its layers aren't collected.
#[derive(Debug)]
pub struct View {}

impl View {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        todo!()
    }
}
