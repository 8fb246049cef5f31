//! Root file systems that outlast their containers a little.
//!
//! Unmounting one makes the kernel write out what the file system beneath has pending: 10 ms at rest, 100 ms on a busy disk. Who
//! starts the container again would wait for that, and mount anew what was mounted a moment ago. So it stays mounted until
//! nobody has started the container for a while, or the engine ends.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::table::Container;
use super::{Inner, Status};

/// How long it stays. A restart follows sooner, be it of a user or of a policy.
const LINGER: Duration = Duration::from_secs(1);

/// Tells those who wait to unmount that the engine ends, when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Lingering(Arc<Bell>);

#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Drop for Lingering {
    fn drop(&mut self) {
        *self.0.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.heard.notify_all();
    }
}

impl Bell {
    fn wait(&self, patience: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.heard.wait_timeout_while(rung, patience, |rung| !*rung);
    }
}

/// Unmounts the root file system of a container that has ended, unless it is started again soon.
pub(super) fn unmount_later(inner: &Inner, container: &Arc<Container>) {
    let (store, bell, ended) = (inner.store.clone(), inner.lingering.0.clone(), container.clone());
    let spawned = std::thread::Builder::new()
        .name("unmount".to_owned())
        .stack_size(256 << 10)
        .spawn(move || {
            bell.wait(LINGER);
            let _op = ended.op.blocking_lock();
            let status = ended.status();
            // What runs is unmounted after its next end, and what was removed is already: what it is now, should it have been
            // brought back, is not ours.
            if !status.is_live() && status != Status::Removing {
                unmount(&store, &ended.id);
            }
        });
    if spawned.is_err() {
        unmount(&inner.store, &container.id);
    }
}

pub(super) fn unmount(store: &havre_store::Store, id: &str) {
    if let Err(error) = store.snapshots().unmount(id) {
        tracing::warn!(container = id, %error, "cannot unmount the root file system of a container");
    }
}
