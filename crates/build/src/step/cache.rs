//! Records of earlier steps, and the writable snapshot a new step fills.

use std::sync::Arc;

use havre_oci::Digest;
use havre_store::{CacheRecord, CommitMode, Layer, Shift, Snapshot, Store};
use havre_sys::rooted::Root;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Outcome, Shared, io};
use crate::error::StepError;
use crate::state::State;

#[derive(Serialize, Deserialize)]
struct Body {
    created: Timestamp,
    /// What people see when they list the cache.
    description: String,
}

/// The result of an earlier step with this key, if it fits on `layers`. Its layers are held from here on.
pub(crate) fn find(
    shared: &Shared,
    key: &Digest,
    layers: &[Digest],
) -> Result<Option<(Vec<Digest>, Timestamp)>, StepError> {
    if shared.no_cache {
        return Ok(None);
    }
    let meta = shared.store.meta();
    let Some(record) = meta.cache_get(key.as_str())? else {
        return Ok(None);
    };
    for layer in &record.layers {
        shared.lease.hold(layer);
    }
    // Held, then looked up again: a collection in between can have taken them.
    for layer in &record.layers {
        if shared.store.layers().find(layer)?.is_none() {
            return Ok(None);
        }
    }
    let Ok(body) = serde_json::from_str::<Body>(&record.body) else {
        return Ok(None);
    };
    let fits = record.layers.starts_with(layers) && record.layers.len() <= layers.len() + 1;
    Ok(fits.then_some((record.layers, body.created)))
}

/// The result of a step that an image named as a cache source has behind it. Its layers are held from here on.
pub(crate) fn borrow(
    shared: &Shared,
    state: &State,
    created_by: &str,
) -> Result<Option<(Vec<Digest>, Timestamp)>, StepError> {
    let Some(done) = shared.sources.find(state, created_by) else {
        return Ok(None);
    };
    for layer in &done.layers {
        shared.lease.hold(layer);
        if shared.store.layers().find(layer)?.is_none() {
            return Ok(None);
        }
    }
    Ok(Some((done.layers, done.created)))
}

/// Remembers a step's result.
pub(crate) fn put(
    shared: &Shared,
    key: &Digest,
    layers: Vec<Digest>,
    size: u64,
    description: &str,
) -> Result<Outcome, StepError> {
    let created = Timestamp::now();
    let body = Body {
        created,
        description: description.chars().take(4096).collect(),
    };
    let body = serde_json::to_string(&body).unwrap_or_default();
    shared.store.meta().cache_put(
        key.as_str(),
        &CacheRecord {
            layers: layers.clone(),
            body,
            size,
        },
    )?;
    Ok(Outcome {
        created_by: description.to_owned(),
        key: key.clone(),
        layers,
        created,
    })
}

/// When a step without files was first done, and whether that was in an earlier build.
pub(crate) fn note(shared: &Shared, key: &Digest) -> Result<(Timestamp, bool), StepError> {
    match find(shared, key, &[])? {
        Some((_, created)) => Ok((created, true)),
        None => Ok((put(shared, key, Vec::new(), 0, "")?.created, false)),
    }
}

/// A file in a step's snapshot directory, which tells it from a container's.
pub(crate) const STEP_MARK: &str = "build-step";

/// A mounted snapshot that is gone again unless it is committed.
pub(crate) struct Work {
    store: Arc<Store>,
    snapshot: Snapshot,
    pub(crate) root: Root,
    done: bool,
}

impl Work {
    pub(crate) fn prepare(shared: &Shared, layers: &[Digest]) -> Result<Work, StepError> {
        let store = Arc::clone(&shared.store);
        let id = random_id();
        let snapshot = store.snapshots().prepare(&id, layers)?;
        if let Err(source) = fs_err::write(snapshot.dir.join(STEP_MARK), b"") {
            discard(&store, &id);
            return Err(io("mark the step's snapshot")(source));
        }
        let mounted = store
            .snapshots()
            .mount(&snapshot)
            .map_err(StepError::from)
            .and_then(|path| Root::open(&path).map_err(io("open the step's file system")));
        match mounted {
            Ok(root) => Ok(Work {
                store,
                snapshot,
                root,
                done: false,
            }),
            Err(error) => {
                discard(&store, &id);
                Err(error)
            }
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.snapshot.id
    }

    /// Mounts it anew, with these owners.
    pub(crate) fn show(&mut self, shared: &Shared, shift: Option<Shift<'_>>) -> Result<(), StepError> {
        // The descriptor would keep the mount of before.
        self.root = Root::open(&shared.scratch).map_err(io("open the scratch directory"))?;
        let path = self.store.snapshots().mount_as(&self.snapshot, shift)?;
        self.root = Root::open(&path).map_err(io("open the step's file system"))?;
        Ok(())
    }

    /// Makes a layer of what was written.
    pub(crate) fn commit(mut self, shared: &Shared) -> Result<Layer, StepError> {
        let Work { root, .. } = &mut self;
        // The descriptor would keep the mount busy.
        *root = Root::open(&shared.scratch).map_err(io("open the scratch directory"))?;
        let layer = self
            .store
            .snapshots()
            .commit(&self.snapshot.id, CommitMode::Move, &shared.lease)?;
        self.done = true;
        Ok(layer)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.done {
            discard(&self.store, &self.snapshot.id);
        }
    }
}

fn discard(store: &Store, id: &str) {
    if let Err(error) = store.snapshots().remove(id) {
        tracing::warn!(id, %error, "a failed build step left its snapshot");
    }
}

/// 64 hexadecimal digits.
fn random_id() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
