//! Snapshots: the writable file systems of containers and build steps.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use havre_oci::Digest;
use havre_sys::mount;

use crate::layout::check_id;
use crate::snapshotter::{Shift, Stack, Upper, changes, tree_size};
use crate::store::Core;
use crate::{Layer, LayerStore, Lease, Meta, Result, StoreError};

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

impl ChangeKind {
    /// Docker's letter for it: `A`, `C` or `D`.
    pub fn letter(self) -> char {
        match self {
            Self::Modified => 'C',
            Self::Added => 'A',
            Self::Deleted => 'D',
        }
    }
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
pub struct Snapshots {
    core: Arc<Core>,
    meta: Arc<Meta>,
    layers: Arc<LayerStore>,
    stack: Stack,
    /// Those this process has mounted, and whether they show owners shifted.
    shifted: Mutex<HashMap<String, bool>>,
}

impl Snapshots {
    pub(crate) fn new(core: Arc<Core>, meta: Arc<Meta>, layers: Arc<LayerStore>, stack: Stack) -> Self {
        Self {
            core,
            meta,
            layers,
            stack,
            shifted: Mutex::default(),
        }
    }

    /// Makes a writable snapshot above the layers `chain` (diff IDs, base first; up to 500). `id` is used as a file name:
    /// up to 128 letters, digits, `_`, `.` and `-`.
    pub fn prepare(&self, id: &str, chain: &[Digest]) -> Result<Snapshot> {
        check_id(id)?;
        check_depth(chain)?;
        // The row protects the layers as soon as it is there, and it is refused if one is missing.
        self.meta.insert_snapshot(id, chain)?;
        let snapshot = self.snapshot(id, chain.to_vec());
        let made = (|| {
            self.core.trash.discard(&snapshot.dir)?;
            for dir in [&snapshot.dir, &snapshot.upper, &snapshot.work, &snapshot.merged] {
                fs::create_dir(dir).map_err(StoreError::at("create", dir))?;
            }
            // The root of the container's file system is the upper directory.
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(&snapshot.upper, mode)
                .map_err(StoreError::at("set the mode of", &snapshot.upper))
        })();
        if let Err(error) = made {
            let _ = self.meta.delete_snapshot(id);
            let _ = self.core.trash.discard(&snapshot.dir);
            return Err(error);
        }
        Ok(snapshot)
    }

    fn snapshot(&self, id: &str, chain: Vec<Digest>) -> Snapshot {
        let dir = self.core.layout.container(id);
        let [upper, work, merged] = ["upper", "work", "merged"].map(|name| dir.join(name));
        Snapshot {
            id: id.to_owned(),
            chain,
            dir,
            upper,
            work,
            merged,
        }
    }

    /// The snapshot, if it is there.
    pub fn find(&self, id: &str) -> Result<Option<Snapshot>> {
        Ok(self.meta.find_snapshot(id)?.map(|chain| self.snapshot(id, chain)))
    }

    /// The snapshot, or [`StoreError::SnapshotNotFound`].
    pub fn get(&self, id: &str) -> Result<Snapshot> {
        self.find(id)?
            .ok_or_else(|| StoreError::SnapshotNotFound { id: id.to_owned() })
    }

    /// All snapshots, by id.
    pub fn list(&self) -> Result<Vec<Snapshot>> {
        let mut snapshots = Vec::new();
        for id in self.meta.snapshot_ids()? {
            snapshots.extend(self.find(&id)?);
        }
        Ok(snapshots)
    }

    /// Mounts it at [`Snapshot::merged`], unless it is mounted already.
    pub fn mount(&self, snapshot: &Snapshot) -> Result<PathBuf> {
        self.mount_as(snapshot, None)
    }

    /// As [`Snapshots::mount`], with owners shifted. One that is mounted with other owners is unmounted first: nobody may use it.
    pub fn mount_as(&self, snapshot: &Snapshot, shift: Option<Shift<'_>>) -> Result<PathBuf> {
        let upper = Upper::Writable {
            upper: &snapshot.upper,
            work: &snapshot.work,
        };
        self.mount_with(snapshot, upper, shift)
    }

    /// As [`Snapshots::mount`], but nothing that is written is ever forced to the disk, whatever programs inside ask for
    /// (`fsync` is free), nor when it is unmounted. For build steps: a package manager runs several times faster, and after a
    /// power cut the step is repeated anyway. And for containers that are removed when they end; not for others.
    pub fn mount_volatile(&self, snapshot: &Snapshot, shift: Option<Shift<'_>>) -> Result<PathBuf> {
        // The kernel's mark that an earlier volatile mount may have lost writes. This boot it hasn't.
        let mark = snapshot.work.join("work/incompat/volatile");
        match fs::remove_dir_all(&mark) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", mark, error));
            }
            _ => {}
        }
        self.mount_with(
            snapshot,
            Upper::Volatile {
                upper: &snapshot.upper,
                work: &snapshot.work,
            },
            shift,
        )
    }

    fn mount_with(&self, snapshot: &Snapshot, upper: Upper<'_>, shift: Option<Shift<'_>>) -> Result<PathBuf> {
        let merged = &snapshot.merged;
        if mount::is_mount_point(merged).map_err(StoreError::at("query", merged))? {
            // Nothing tells whose owners one shows that an earlier process mounted.
            if self.shifted().get(&snapshot.id) == Some(&shift.is_some()) {
                return Ok(merged.clone());
            }
            unmount(merged)?;
        }
        let _mounting = self.layers.mounting();
        let layers = self.layers.attach(&snapshot.chain)?;
        self.stack.mount_as(&layers, upper, merged, shift)?;
        self.shifted().insert(snapshot.id.clone(), shift.is_some());
        Ok(merged.clone())
    }

    fn shifted(&self) -> MutexGuard<'_, HashMap<String, bool>> {
        self.shifted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unmounts it if it is mounted.
    pub fn unmount(&self, id: &str) -> Result<()> {
        check_id(id)?;
        self.shifted().remove(id);
        unmount(&self.core.layout.container(id).join("merged"))
    }

    /// Unmounts and removes it with everything in its directory, and the layers that only it still held, their image being
    /// gone. No error if it isn't there.
    pub fn remove(&self, id: &str) -> Result<()> {
        check_id(id)?;
        let chain = self.meta.find_snapshot(id)?.unwrap_or_default();
        self.forget(id)?;
        self.layers.remove_unused(&chain)
    }

    fn forget(&self, id: &str) -> Result<()> {
        self.unmount(id)?;
        self.meta.delete_snapshot(id)?;
        self.core.discard_mounted(&self.core.layout.container(id))
    }

    /// What was written, in Docker's order: by path, a directory before what is in it. A directory is [`ChangeKind::Modified`]
    /// itself if its attributes changed or names in it came or went.
    pub fn changes(&self, id: &str) -> Result<Vec<Change>> {
        let snapshot = self.get(id)?;
        let _mounting = self.layers.mounting();
        changes(&self.layers.attach(&snapshot.chain)?, &snapshot.upper)
    }

    /// Bytes of the regular files written, hard links counted once.
    pub fn usage(&self, id: &str) -> Result<u64> {
        let upper = self.get(id)?.upper;
        tree_size(&upper).map_err(|errno| StoreError::io("measure", upper, errno.into()))
    }

    /// Mounts the layers `chain` read-only at the existing directory `target`; unmounted when the value is dropped.
    pub fn view(&self, chain: &[Digest], target: &Path) -> Result<View> {
        check_depth(chain)?;
        let lease = self.core.leases.lease();
        for diff_id in chain {
            lease.hold(diff_id);
        }
        let _mounting = self.layers.mounting();
        self.stack
            .mount(&self.layers.attach(chain)?, Upper::None, target)?;
        Ok(View {
            path: target.to_path_buf(),
            _lease: lease,
        })
    }

    /// Makes a layer of what was written. [`CommitMode::Move`] removes the snapshot.
    pub fn commit(&self, id: &str, mode: CommitMode, lease: &Lease) -> Result<Layer> {
        let snapshot = self.get(id)?;
        if mode == CommitMode::Copy {
            return self.layers.commit_dir_copy(&snapshot.upper, lease);
        }
        self.unmount(id)?;
        let layer = self.layers.commit_dir(&snapshot.upper, lease)?;
        self.forget(id)?;
        Ok(layer)
    }

    /// Removes what a crash left half-made or half-removed.
    pub(crate) fn sweep(&self) -> Result<()> {
        let dir = self.core.layout.containers();
        let at = |error| StoreError::io("read", &dir, error);
        let known = self.meta.snapshot_ids()?;
        for entry in fs::read_dir(&dir).map_err(at)? {
            let entry = entry.map_err(at)?;
            let name = entry.file_name();
            if !known.iter().any(|id| name == id.as_str()) {
                unmount(&entry.path().join("merged"))?;
                self.core.discard_mounted(&entry.path())?;
            }
        }
        for id in known {
            if !self.core.layout.container(&id).join("upper").is_dir() {
                tracing::warn!(id, "snapshot lost its files");
                self.remove(&id)?;
            }
        }
        Ok(())
    }
}

fn check_depth(chain: &[Digest]) -> Result<()> {
    let limit = mount::MAX_LOWER;
    if chain.len() > limit {
        Err(StoreError::TooManyLayers {
            count: chain.len(),
            limit,
        })
    } else {
        Ok(())
    }
}

/// Unmounts `target` for real if nobody uses it, else out of sight.
fn unmount(target: &Path) -> Result<()> {
    mount::unmount(target, false)
        .or_else(|_| mount::unmount(target, true))
        .map_err(|source| StoreError::Mount {
            target: target.to_path_buf(),
            source,
        })
}

/// A read-only mount of a stack of layers. While it lives, its layers aren't collected.
#[derive(Debug)]
pub struct View {
    path: PathBuf,
    _lease: Lease,
}

impl View {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.path) {
            tracing::warn!(%error, "cannot unmount a view");
        }
    }
}
