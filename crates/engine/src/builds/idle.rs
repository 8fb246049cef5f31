//! What builds leave to be done when there is time: layers of their steps are directories, which become files.
//!
//! A build is faster when it leaves them as they are, and files are better for everything after it: one mount, one unlink,
//! the archive at hand. So the layers of images are converted when no build has run for a while: one after the other, at the
//! lowest priority, at most half of the time, and not while a build runs. What a container stands on waits for the next time,
//! and what only the cache has stays.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use havre_store::{Form, Store};

use crate::Result;

/// How long no build has run before its layers are converted.
const REST: Duration = Duration::from_secs(30);
/// Longer the work does not pause at once.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// A build that lasts longer than this does not keep a half-converted layer waiting.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which builds run.
#[derive(Debug)]
pub(super) struct Activity {
    store: Weak<Store>,
    handle: tokio::runtime::Handle,
    rest: Duration,
    running: AtomicUsize,
    last: Mutex<Instant>,
    /// Somebody waits for the rest already.
    waiting: AtomicBool,
}

/// A build that runs.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        let activity = &self.0;
        *activity.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if activity.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            activity.wait();
        }
    }
}

impl Activity {
    /// Begins as if a build had just ended: an earlier engine may have left something.
    pub(super) fn new(store: &Arc<Store>, handle: tokio::runtime::Handle) -> Arc<Self> {
        Self::with_rest(store, handle, REST)
    }

    fn with_rest(store: &Arc<Store>, handle: tokio::runtime::Handle, rest: Duration) -> Arc<Self> {
        let activity = Arc::new(Self {
            store: Arc::downgrade(store),
            handle,
            rest,
            running: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
            waiting: AtomicBool::new(false),
        });
        activity.wait();
        activity
    }

    pub(super) fn enter(self: &Arc<Self>) -> Busy {
        self.running.fetch_add(1, Ordering::SeqCst);
        Busy(self.clone())
    }

    fn is_busy(&self) -> bool {
        self.running.load(Ordering::SeqCst) > 0
    }

    /// Waits for the rest in the background, then works on a thread of its own.
    fn wait(self: &Arc<Self>) {
        if self.waiting.swap(true, Ordering::SeqCst) {
            return;
        }
        let (activity, rest) = (Arc::downgrade(self), self.rest);
        self.handle.spawn(async move {
            let mut left = rest;
            loop {
                tokio::time::sleep(left).await;
                let Some(activity) = activity.upgrade() else {
                    return;
                };
                let last = *activity.last.lock().unwrap_or_else(PoisonError::into_inner);
                left = match activity.is_busy() {
                    true => rest,
                    false => rest.saturating_sub(last.elapsed()),
                };
                if !left.is_zero() {
                    continue;
                }
                activity.waiting.store(false, Ordering::SeqCst);
                let store = activity.store.clone();
                let activity = Arc::downgrade(&activity);
                let work = move || {
                    // Of this thread and those it starts; Linux schedules their reads and writes last too.
                    let _ = rustix::process::nice(19);
                    if let Err(error) = convert(&store, &activity) {
                        tracing::warn!(%error, "cannot look for layers to convert");
                    }
                };
                if let Err(error) = std::thread::Builder::new().name("convert".to_owned()).spawn(work) {
                    tracing::warn!(%error, "cannot start a thread to convert layers");
                }
                return;
            }
        });
    }
}

/// Converts the layers of images that are directories, until a build begins or the engine ends.
fn convert(store: &Weak<Store>, activity: &Weak<Activity>) -> Result<()> {
    let is_busy = || activity.upgrade().is_none_or(|activity| activity.is_busy());
    let mut waiting = {
        let Some(store) = store.upgrade() else {
            return Ok(());
        };
        let used: BTreeSet<_> = super::layers_of_images(&store)?;
        let layers = store.layers().list()?.into_iter();
        layers
            .filter(|layer| layer.form == Form::Directory && used.contains(&layer.diff_id))
            .collect::<Vec<_>>()
    };
    waiting.sort_by_key(|layer| layer.created);
    for layer in waiting {
        // Not held in between: an engine that ends waits for it.
        let Some(store) = store.upgrade() else {
            return Ok(());
        };
        if is_busy() {
            return Ok(());
        }
        let mut pace = Pace::new(activity);
        match store.layers().convert(&layer.diff_id, &mut |_| pace.pause()) {
            Ok(outcome) => tracing::debug!(layer = %layer.diff_id, ?outcome, "a layer of a build"),
            Err(error) => tracing::warn!(layer = %layer.diff_id, %error, "a layer stays a directory"),
        }
    }
    Ok(())
}

/// Half of the time, and none of it while a build runs; without pauses when the engine ends.
struct Pace<'a> {
    activity: &'a Weak<Activity>,
    began: Instant,
    worked: Instant,
}

impl<'a> Pace<'a> {
    fn new(activity: &'a Weak<Activity>) -> Self {
        let now = Instant::now();
        Self {
            activity,
            began: now,
            worked: now,
        }
    }

    fn pause(&mut self) {
        let mut pause = self.worked.elapsed().min(LONGEST_PAUSE);
        while let Some(activity) = self.activity.upgrade() {
            let busy = activity.is_busy() && self.began.elapsed() < PATIENCE;
            drop(activity);
            std::thread::sleep(pause);
            if !busy {
                break;
            }
            pause = LONGEST_PAUSE;
        }
        self.worked = Instant::now();
    }
}

#[cfg(test)]
#[path = "idle/tests.rs"]
mod tests;
