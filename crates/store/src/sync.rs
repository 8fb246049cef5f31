//! Durability in the background: one `syncfs` follows a burst of publications, and is noted in the file `synced`.

use std::os::fd::AsFd;
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
    dirty: bool,
    stop: bool,
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
    pub(crate) fn soon(&self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.dirty {
            state.dirty = true;
            self.shared.changed.notify_all();
        }
    }

    pub(crate) fn now(&self) -> Result<()> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .dirty = false;
        self.shared.sync()
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
            if !state.dirty {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.changed.wait_timeout_while(state, DELAY, |state| !state.stop);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.stop {
                return;
            }
            state.dirty = false;
            drop(state);
            if let Err(error) = self.sync() {
                tracing::warn!(%error, "cannot sync the store");
            }
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn sync(&self) -> Result<()> {
        let root = self.layout.root();
        // Everything published before this moment is on the disk when syncfs returns.
        let stamp = Stamp {
            boot: boot_id(),
            at: Timestamp::now(),
        };
        let dir = fs::File::open(root).map_err(StoreError::at("open", root))?;
        rustix::fs::syncfs(dir.file().as_fd()).map_err(|errno| StoreError::io("sync", root, errno.into()))?;
        stamp.write(&self.layout)
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
