//! `rm` and `container prune`.

use std::sync::Arc;

use havre_store::{Operation, Taken};
use jiff::Timestamp;

use super::list::FILTER_KEYS;
use super::record::{KIND, Record};
use super::stop;
use super::table::{Container, encode, lock};
use super::{
    Containers, ContainersPruned, Inner, RemoveOptions, Status, Transition, WaitCondition, exit, links,
};
use crate::error::blocking;
use crate::{EngineError, ErrorKind, Event, EventType, Filters, Result};

impl Containers {
    /// Removes a container; with `force` a running one, too.
    pub async fn remove(&self, name: &str, options: RemoveOptions) -> Result<()> {
        if options.link {
            return self.remove_link(name).await;
        }
        let container = self.find(name)?;
        let inner = self.0.clone();
        // On its own task: a client that leaves does not leave a killed container behind.
        let removal = tokio::spawn(async move {
            loop {
                let op = container.op.clone().lock_owned().await;
                if inner.table.get(&container.id).is_none() {
                    // AutoRemove was faster.
                    return match options.force {
                        true => Ok(()),
                        false => Err(EngineError::not_found(format!(
                            "No such container: {}",
                            container.id
                        ))),
                    };
                }
                match container.status() {
                    Status::Running | Status::Paused if options.force => {
                        drop(op);
                        stop::kill_and_wait(&inner, &container).await?;
                        continue;
                    }
                    status @ (Status::Running | Status::Paused) => return Err(still(&container, status)),
                    Status::Restarting if !options.force => {
                        return Err(still(&container, Status::Restarting));
                    }
                    _ => {}
                }
                exit::call_off_restart(&container);
                return blocking(move || {
                    let _op = op;
                    let keep = options.operation.as_ref();
                    let kept = keep.filter(|_| !container.read().host_config.auto_remove);
                    match kept {
                        Some(operation) => keep_removed(&inner, &container, options.volumes, operation),
                        None => remove(&inner, &container, options.volumes),
                    }
                })
                .await;
            }
        });
        match removal.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(EngineError::new(
                ErrorKind::Unavailable,
                "the engine is shutting down",
            )),
        }
    }

    /// `owner/alias`: the owner forgets the link; what it knows while it runs stays until its next start.
    async fn remove_link(&self, name: &str) -> Result<()> {
        let Some((owner, alias)) = name.trim_start_matches('/').split_once('/') else {
            return Err(EngineError::invalid(format!(
                "Conflict, cannot remove the default link name of the container: {name}"
            )));
        };
        let container = self.find(owner)?;
        let op = container.op.clone().lock_owned().await;
        let (inner, alias) = (self.0.clone(), alias.to_owned());
        blocking(move || {
            let _op = op;
            let left = links::without(&container.read(), &alias).ok_or_else(|| {
                EngineError::not_found(format!("No such link: /{}/{alias}", container.read().name))
            })?;
            container.update(&inner.store, |record| record.host_config.links = left)
        })
        .await
    }

    /// Removes every stopped container. Filters: those of `ps`, and until. What goes can be brought back as part of
    /// `operation`, if there is one.
    pub async fn prune(&self, filters: Filters, operation: Option<Operation>) -> Result<ContainersPruned> {
        let mut pruned = ContainersPruned::default();
        let eligible = self.prunable(filters).await?;
        for container in eligible {
            let (id, inner) = (container.id.clone(), self.0.clone());
            let size =
                blocking(move || Ok(inner.store.snapshots().usage(&container.id).unwrap_or(0))).await?;
            let options = RemoveOptions {
                operation: operation.clone(),
                ..RemoveOptions::default()
            };
            match self.remove(&id, options).await {
                Ok(()) => {
                    pruned.reclaimed += size;
                    pruned.ids.push(id);
                }
                // One that was started or removed meanwhile.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
                Err(error) => tracing::warn!(container = id, %error, "cannot prune a container"),
            }
        }
        self.0
            .events
            .publish(Event::new(EventType::Container, "prune", "").with("reclaimed", pruned.reclaimed));
        Ok(pruned)
    }

    /// The containers a prune with these filters removes.
    pub(crate) async fn prunable(&self, filters: Filters) -> Result<Vec<Arc<Container>>> {
        let keys = [FILTER_KEYS, &["until"]].concat();
        filters.only(&keys)?;
        let until = filters
            .values("until")
            .next()
            .map(super::list::point_in_time)
            .transpose()?;
        let filter = self.filter(&filters).await?;
        let mut eligible = self.0.table.all();
        eligible.retain(|container| {
            let record = container.read();
            let stopped = matches!(
                record.state.status,
                Status::Created | Status::Exited | Status::Dead
            );
            let old = until.is_none_or(|until: Timestamp| record.created < until);
            stopped && old && filter.accepts(&record)
        });
        Ok(eligible)
    }
}

impl Containers {
    /// The container, if `rm` would remove it now.
    pub(crate) fn check_removal(&self, name: &str, force: bool) -> Result<Arc<Container>> {
        let container = self.find(name)?;
        match container.status() {
            status @ (Status::Running | Status::Paused | Status::Restarting) if !force => {
                Err(still(&container, status))
            }
            _ => Ok(container),
        }
    }

    /// Why a removed container cannot come back now.
    pub(crate) fn obstacle(&self, name: &str) -> Option<String> {
        let holder = self.0.table.find(name).ok()?;
        let taken = holder.read().name == name;
        taken.then(|| {
            format!(
                "container {name}: container {} has its name: remove or rename that first",
                &holder.id[..12]
            )
        })
    }

    /// The document of a removed container as it comes back: it does not run.
    pub(crate) fn body_to_restore(body: &str) -> Result<String> {
        let mut record = read(body)?;
        if !matches!(record.state.status, Status::Created | Status::Exited) {
            record.state.status = Status::Exited;
        }
        record.state.pid = 0;
        record.network = None;
        encode(&record)
    }

    /// Takes the name of a container that is about to come back.
    pub(crate) fn reserve(&self, name: &str, id: &str) -> Result<()> {
        self.0.table.reserve(name, id)
    }

    /// It does not come back after all.
    pub(crate) fn release(&self, name: &str, id: &str) {
        self.0.table.release(name, id);
    }

    /// A container that was brought back under a reserved name, from its document. Says which of its volumes are not there.
    pub(crate) fn restored(&self, body: &str, removal: u64) -> Result<Vec<String>> {
        let record = read(body)?;
        let inner = &self.0;
        let mut missing = Vec::new();
        for mount in record.mounts.iter().filter(|mount| mount.is_volume()) {
            inner.volumes.hold(&mount.point.name, &record.id);
            if inner.volumes.find(&mount.point.name).is_none() {
                missing.push(format!(
                    "container {} uses volume {}, which is not there: it cannot be started without it",
                    record.name, mount.point.name
                ));
            }
        }
        let container = inner.table.insert(Container::new(record));
        inner.publish(&container, "create", &[("undo", removal.to_string())]);
        Ok(missing)
    }
}

fn read(body: &str) -> Result<Record> {
    serde_json::from_str(body).map_err(|error| {
        EngineError::system("the record of a removed container is damaged").with_source(error)
    })
}

fn still(container: &Container, status: Status) -> EngineError {
    let way_out = match status {
        Status::Paused => "container is paused and must be unpaused first",
        Status::Restarting => "container is restarting: stop the container before removing or force remove",
        _ => "container is running: stop the container before removing or force remove",
    };
    EngineError::conflict(format!(
        "cannot remove container \"/{}\": {way_out}",
        container.read().name
    ))
}

/// Removes a container that does not run so that it can be brought back, with its anonymous volumes if asked to; the caller
/// holds `op`. Its record and those of the volumes go at the same moment.
fn keep_removed(
    inner: &Arc<Inner>,
    container: &Arc<Container>,
    volumes: bool,
    operation: &Operation,
) -> Result<()> {
    let id = container.id.as_str();
    let before = container.read().clone();
    let next = before.state.status.after(Transition::Remove)?;
    container.change(|record| record.state.status = next);
    let taken = Taken {
        kind: KIND,
        id,
        snapshot: Some(id),
        data: None,
    };
    let owned = before.mounts.iter().filter(|mount| volumes && mount.owned);
    let owned: Vec<&str> = owned.map(|mount| mount.point.name.as_str()).collect();
    if let Err(error) = inner.volumes.take_with(operation, taken, id, &owned) {
        // All or nothing: it is what it was.
        container.change(|record| record.state.status = before.state.status);
        container.notify(&[WaitCondition::Removed], Some(error.to_string()));
        return Err(error);
    }
    gone(inner, container);
    Ok(())
}

/// Removes a container that does not run for good; the caller holds `op`. Nothing is deleted in the foreground: directories go
/// to the store's trash.
pub(super) fn remove(inner: &Arc<Inner>, container: &Arc<Container>, volumes: bool) -> Result<()> {
    let id = container.id.as_str();
    let before = container.read().clone();
    let next = match before.state.status.after(Transition::Remove) {
        Ok(next) => next,
        Err(_) if before.state.status == Status::Removing => {
            return Err(EngineError::conflict(format!(
                "removal of container {id} is already in progress"
            )));
        }
        Err(error) => return Err(error.into()),
    };
    let owned: Vec<&str> = before
        .mounts
        .iter()
        .filter(|mount| volumes && mount.owned)
        .map(|mount| mount.point.name.as_str())
        .collect();
    if owned.is_empty() {
        container.change(|record| record.state.status = next);
    } else {
        // Stored, so that a daemon that dies now takes the volumes along at its next start.
        container.transit(&inner.store, Transition::Remove, |_| ())?;
    }
    // Before the record goes: nobody would remember them after it.
    inner.volumes.release(id);
    for name in owned {
        if let Err(error) = inner.volumes.delete(name) {
            tracing::debug!(volume = name, %error, "an anonymous volume stays");
        }
    }
    if let Err(error) = inner.store.meta().delete_document(KIND, id) {
        let error = EngineError::from(error);
        container.change(|record| {
            record.state.status = record
                .state
                .status
                .after(Transition::RemoveFailed)
                .unwrap_or(Status::Dead);
            record.state.error = error.to_string();
        });
        container.notify(&[WaitCondition::Removed], Some(error.to_string()));
        return Err(error);
    }
    gone(inner, container);
    if let Err(error) = inner.store.snapshots().remove(id) {
        tracing::warn!(container = id, %error, "cannot remove the snapshot of a removed container");
    }
    Ok(())
}

/// What follows when a container has no record any more. Should this be interrupted, the next start does it.
fn gone(inner: &Arc<Inner>, container: &Arc<Container>) {
    let id = container.id.as_str();
    inner.table.remove(id);
    lock(&container.pending).clear();
    inner.execs.container_ended(id, true);
    inner.publish(container, "destroy", &[]);
    container.notify(
        &[
            WaitCondition::Removed,
            WaitCondition::NotRunning,
            WaitCondition::NextExit,
        ],
        None,
    );
    // Until now it was in use. The image may be gone, by force.
    let image = container.read().image.clone();
    let _ = inner.store.meta().touch_image(&image);
    exit::clean_up(inner, id);
}
