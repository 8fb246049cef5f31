//! `rm` and `container prune`.

use std::sync::Arc;

use jiff::Timestamp;

use super::record::KIND;
use super::stop;
use super::table::{Container, lock};
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
                    remove(&inner, &container, options.volumes)
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

    /// Removes every stopped container. Filters: label until.
    pub async fn prune(&self, filters: Filters) -> Result<ContainersPruned> {
        filters.only(&["label", "label!", "until"])?;
        let until = filters
            .values("until")
            .next()
            .map(super::list::point_in_time)
            .transpose()?;
        let mut pruned = ContainersPruned::default();
        for container in self.0.table.all() {
            let op = container.op.clone().lock_owned().await;
            let inner = self.0.clone();
            let (eligible, id) = {
                let record = container.read();
                let stopped = matches!(
                    record.state.status,
                    Status::Created | Status::Exited | Status::Dead
                );
                let old = until.is_none_or(|until: Timestamp| record.created < until);
                (
                    stopped && old && filters.labels(&record.config.labels),
                    record.id.clone(),
                )
            };
            if !eligible || self.0.table.get(&id).is_none() {
                continue;
            }
            let removed = blocking(move || {
                let _op = op;
                let size = inner.store.snapshots().usage(&container.id).unwrap_or(0);
                remove(&inner, &container, false)?;
                Ok(size)
            })
            .await;
            match removed {
                Ok(size) => {
                    pruned.reclaimed += size;
                    pruned.ids.push(id);
                }
                Err(error) => tracing::warn!(container = id, %error, "cannot prune a container"),
            }
        }
        self.0
            .events
            .publish(Event::new(EventType::Container, "prune", "").with("reclaimed", pruned.reclaimed));
        Ok(pruned)
    }
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

/// Removes a container that does not run; the caller holds `op`. Nothing is deleted in the foreground: directories go to
/// the store's trash.
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
    // What is left has no record any more: should this be interrupted, the next start sweeps it.
    exit::clean_up(inner, id);
    if let Err(error) = inner.store.snapshots().remove(id) {
        tracing::warn!(container = id, %error, "cannot remove the snapshot of a removed container");
    }
    Ok(())
}
