//! The containers in memory: lookup by name, id and prefix, reserved names, what lives no longer than the daemon.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use havre_store::Store;
use tokio::sync::oneshot;

use super::attach::PendingAttach;
use super::record::{KIND, Record};
use super::{Status, Transition, WaitCondition, WaitOutcome};
use crate::{EngineError, Result};

/// One container. Its record changes only while `op` is held, so that what is stored is what was last decided.
pub(crate) struct Container {
    pub id: String,
    record: RwLock<Record>,
    /// Serialises operations that change it; taken for whole operations.
    pub op: Arc<tokio::sync::Mutex<()>>,
    waiters: Mutex<Vec<(WaitCondition, oneshot::Sender<WaitOutcome>)>>,
    /// Attached before the start; wired when the shim exists.
    pub pending: Mutex<Vec<PendingAttach>>,
    /// Called off restarts: each waiting restart remembers the number it began with.
    pub generation: std::sync::atomic::AtomicU64,
    /// A stop is under way: the exit that follows is not the restart policy's business.
    pub stopping: std::sync::atomic::AtomicBool,
    /// How long the next automatic restart waits.
    pub backoff: Mutex<std::time::Duration>,
    /// Who probes its health.
    pub monitor: super::health::Monitor,
    /// Held by who starts a program in it, and by who freezes it alone: a program that stands still when it is half started
    /// would keep the shim, which waits for it, from everything else.
    starting: RwLock<()>,
}

impl Container {
    pub(crate) fn new(record: Record) -> Self {
        Container {
            id: record.id.clone(),
            record: RwLock::new(record),
            op: Arc::default(),
            waiters: Mutex::default(),
            pending: Mutex::default(),
            generation: Default::default(),
            stopping: Default::default(),
            backoff: Mutex::new(super::exit::FIRST_BACKOFF),
            monitor: Mutex::default(),
            starting: RwLock::default(),
        }
    }

    /// For as long as a program is being started in it.
    pub(crate) fn starting(&self) -> RwLockReadGuard<'_, ()> {
        self.starting.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For as long as nothing may be: while it is being frozen, and its status does not say so yet.
    pub(crate) fn freezing(&self) -> RwLockWriteGuard<'_, ()> {
        self.starting.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Record> {
        self.record.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the record in memory only, for what [`Container::update`] will store soon.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        change(&mut self.record.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the record and stores it. The caller holds `op`.
    pub(crate) fn update(&self, store: &Store, change: impl FnOnce(&mut Record)) -> Result<()> {
        let body = self.change(|record| {
            change(record);
            encode(record)
        })?;
        Ok(store.meta().update_document(KIND, &self.id, &body)?)
    }

    /// Moves along the transition table and stores; `change` sees the record after the move.
    pub(crate) fn transit(
        &self,
        store: &Store,
        transition: Transition,
        change: impl FnOnce(&mut Record),
    ) -> Result<()> {
        let next = self.read().state.status.after(transition)?;
        self.update(store, |record| {
            record.state.status = next;
            change(record);
        })
    }

    pub(crate) fn status(&self) -> Status {
        self.read().state.status
    }

    /// Registers a wait; answers at once when the condition holds already.
    pub(crate) fn wait(&self, condition: WaitCondition) -> oneshot::Receiver<WaitOutcome> {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = lock(&self.waiters);
        let record = self.read();
        if condition == WaitCondition::NotRunning
            && !matches!(
                record.state.status,
                Status::Running | Status::Paused | Status::Restarting
            )
        {
            let _ = sender.send(WaitOutcome {
                exit_code: record.state.exit_code,
                error: None,
            });
        } else {
            waiters.push((condition, sender));
        }
        receiver
    }

    /// Wakes those who wait for one of the conditions.
    pub(crate) fn notify(&self, conditions: &[WaitCondition], error: Option<String>) {
        let mut waiters = lock(&self.waiters);
        let exit_code = self.read().state.exit_code;
        for (condition, sender) in std::mem::take(&mut *waiters) {
            if conditions.contains(&condition) {
                let _ = sender.send(WaitOutcome {
                    exit_code,
                    error: error.clone(),
                });
            } else if !sender.is_closed() {
                waiters.push((condition, sender));
            }
        }
    }
}

/// A record as it is stored.
pub(crate) fn encode(record: &Record) -> Result<String> {
    serde_json::to_string(record)
        .map_err(|error| EngineError::system("cannot write the container's record").with_source(error))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All containers of the engine.
#[derive(Default)]
pub(crate) struct Table {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    by_id: BTreeMap<String, Arc<Container>>,
    /// Name → id, also for containers that are still being created.
    names: HashMap<String, String>,
}

impl Table {
    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name for a container that is about to exist.
    pub(crate) fn reserve(&self, name: &str, id: &str) -> Result<()> {
        let mut inner = self.write();
        match inner.names.get(name) {
            Some(holder) => Err(EngineError::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to \
                 remove (or rename) that container to be able to reuse that name."
            ))),
            None => {
                inner.names.insert(name.to_owned(), id.to_owned());
                Ok(())
            }
        }
    }

    /// Gives a reserved name back.
    pub(crate) fn release(&self, name: &str, id: &str) {
        let mut inner = self.write();
        if inner.names.get(name).is_some_and(|holder| holder == id) {
            inner.names.remove(name);
        }
    }

    /// Adds a container whose name is reserved.
    pub(crate) fn insert(&self, container: Container) -> Arc<Container> {
        let container = Arc::new(container);
        self.write().by_id.insert(container.id.clone(), container.clone());
        container
    }

    pub(crate) fn remove(&self, id: &str) {
        let mut inner = self.write();
        inner.by_id.remove(id);
        inner.names.retain(|_, holder| holder != id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        self.read().by_id.values().cloned().collect()
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Container>> {
        self.read().by_id.get(id).cloned()
    }

    /// By full id, name (a leading slash is ignored), or unique id prefix, in this order.
    pub(crate) fn find(&self, wanted: &str) -> Result<Arc<Container>> {
        let inner = self.read();
        if let Some(container) = inner.by_id.get(wanted) {
            return Ok(container.clone());
        }
        let name = wanted.strip_prefix('/').unwrap_or(wanted);
        if let Some(container) = inner.names.get(name).and_then(|id| inner.by_id.get(id)) {
            return Ok(container.clone());
        }
        if !wanted.is_empty() {
            let mut with_prefix = inner
                .by_id
                .range::<str, _>((std::ops::Bound::Included(wanted), std::ops::Bound::Unbounded))
                .take_while(|(id, _)| id.starts_with(wanted));
            if let Some((_, container)) = with_prefix.next() {
                if with_prefix.next().is_some() {
                    return Err(EngineError::invalid(format!(
                        "Multiple IDs found with provided prefix: {wanted}"
                    )));
                }
                return Ok(container.clone());
            }
        }
        Err(EngineError::not_found(format!("No such container: {wanted}")))
    }
}
