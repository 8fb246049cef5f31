//! Durability in the background: a sync follows each burst of publications, and is noted in the file `synced`.
//!
//! What is one file is synced by itself, with the directories that name it. `syncfs` is for what is many: it also waits for
//! everything that others write to the same disk at that time, and they for it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use fs_err as fs;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::{Result, StoreError};

/// How long after a publication the sync begins, so that those that follow closely share it.
const DELAY: Duration = Duration::from_secs(2);

/// What `synced` says.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    boot: String,
    at: Timestamp,
}

/// The syncing thread.
#[derive(Debug)]
pub(crate) struct Syncer {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    layout: Layout,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: Pending,
    /// A sync failed: the next one is of everything.
    missed: bool,
    stop: bool,
}

/// What was published.
#[derive(Debug)]
pub(crate) enum Published {
    /// One file, or a directory whose files lie immediately in it.
    Few(PathBuf),
    /// A tree.
    Many,
}

/// What is yet to be synced.
#[derive(Debug, Default)]
struct Pending {
    few: BTreeSet<PathBuf>,
    many: bool,
}

impl Pending {
    /// More files than this are synced faster together.
    const FEW: usize = 64;

    fn add(&mut self, published: Published) {
        match published {
            Published::Few(path) if !self.many && self.few.len() < Self::FEW => {
                self.few.insert(path);
            }
            _ => *self = Self::everything(),
        }
    }

    fn everything() -> Self {
        Self {
            few: BTreeSet::new(),
            many: true,
        }
    }

    fn is_empty(&self) -> bool {
        !self.many && self.few.is_empty()
    }
}

impl Syncer {
    pub(crate) fn open(layout: &Layout) -> Result<Self> {
        let shared = Arc::new(Shared {
            layout: layout.clone(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let worker = std::thread::Builder::new().name("sync".into()).spawn({
            let shared = shared.clone();
            move || shared.work()
        });
        let worker = worker.map_err(StoreError::at("start a thread for", layout.root()))?;
        Ok(Self {
            shared,
            worker: Some(worker),
        })
    }

    /// Something was published.
    pub(crate) fn soon(&self, published: Published) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.pending.is_empty() {
            self.shared.changed.notify_all();
        }
        state.pending.add(published);
    }

    /// Syncs everything.
    pub(crate) fn now(&self) -> Result<()> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pending = Pending::default();
        self.shared.sync(&Pending::everything())
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stop = true;
        self.shared.changed.notify_all();
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.stop {
            if state.pending.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.changed.wait_timeout_while(state, DELAY, |state| !state.stop);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.stop {
                return;
            }
            let mut pending = std::mem::take(&mut state.pending);
            if std::mem::take(&mut state.missed) {
                pending = Pending::everything();
            }
            drop(state);
            let synced = self.sync(&pending);
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = synced {
                tracing::warn!(%error, "cannot sync the store");
                state.missed = true;
            }
        }
    }

    /// Brings what is pending to the disk. Until it is there, nothing says so.
    fn sync(&self, pending: &Pending) -> Result<()> {
        // Published before this moment means pending, or synced already.
        let stamp = Stamp {
            boot: boot_id(),
            at: Timestamp::now(),
        };
        if pending.many {
            let root = self.layout.root();
            let dir = fs::File::open(root).map_err(StoreError::at("open", root))?;
            rustix::fs::syncfs(dir.file().as_fd())
                .map_err(|errno| StoreError::io("sync", root, errno.into()))?;
        } else {
            self.sync_files(&pending.few)?;
        }
        stamp.write(&self.layout)
    }

    /// Contents first, then the names, then the rows.
    fn sync_files(&self, published: &BTreeSet<PathBuf>) -> Result<()> {
        let mut directories = BTreeSet::new();
        for path in published {
            let above = path.ancestors().skip(1);
            directories.extend(above.take_while(|above| above.starts_with(self.layout.root())));
            for file in files(path).map_err(StoreError::at("read", path))? {
                sync_file(&file)?;
            }
        }
        for directory in directories.into_iter().rev() {
            sync_file(directory)?;
        }
        sync_file(&self.layout.database_log())
    }
}

/// What lies at a path: the file, or the files of the directory and itself. Nothing, if it was removed meanwhile.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(vec![path.to_path_buf()]),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    found.push(path.to_path_buf());
    Ok(found)
}

fn sync_file(path: &Path) -> Result<()> {
    match fs::File::open(path).and_then(|file| file.sync_all()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("sync", path, error)),
        // Removed meanwhile.
        _ => Ok(()),
    }
}

impl Stamp {
    fn write(&self, layout: &Layout) -> Result<()> {
        let path = layout.synced();
        let text = serde_json::to_vec(self).unwrap_or_default();
        havre_sys::atomic::write(&path, &text, 0o600).map_err(StoreError::at("write", &path))
    }
}

/// If the machine was restarted since the store was last used: the moment before which everything is on the disk.
pub(crate) fn doubtful_since(layout: &Layout) -> Option<Timestamp> {
    let boot = boot_id();
    let stamp = fs::read(layout.synced())
        .ok()
        .and_then(|text| serde_json::from_slice::<Stamp>(&text).ok());
    match stamp {
        Some(stamp) if stamp.boot == boot => None,
        Some(stamp) => Some(stamp.at),
        None => Some(Timestamp::UNIX_EPOCH),
    }
}

/// Notes that nothing from before this boot is in doubt any more.
pub(crate) fn settle(layout: &Layout, at: Timestamp) -> Result<()> {
    Stamp { boot: boot_id(), at }.write(layout)
}

/// Changes with every start of the machine.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}
