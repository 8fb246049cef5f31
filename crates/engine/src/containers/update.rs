//! `rename` and `update`.

use super::record::{KIND, Record};
use super::table::{Container, encode};
use super::validate::validate;
use super::{Containers, HostConfig, Inner, Resources, Status, UpdateContainer, abilities, names, spec};
use crate::error::blocking;
use crate::{EngineError, Result};

impl Containers {
    /// Gives a container another name.
    pub async fn rename(&self, name: &str, new: &str) -> Result<()> {
        let container = self.find(name)?;
        let new = new.strip_prefix('/').unwrap_or(new).to_owned();
        if new.is_empty() {
            return Err(EngineError::invalid("Neither old nor new names may be empty"));
        }
        if !names::is_valid(&new) {
            return Err(EngineError::invalid(format!(
                "Error when allocating new name: Invalid container name (/{new}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )));
        }
        let op = container.op.clone().lock_owned().await;
        let inner = self.0.clone();
        blocking(move || {
            let _op = op;
            let old = container.read().name.clone();
            if old == new {
                return Err(EngineError::invalid(
                    "Renaming a container with the same name as its current name",
                ));
            }
            inner
                .table
                .reserve(&new, &container.id)
                .map_err(|error| error.context("Error when allocating new name"))?;
            let record = Record {
                name: new.clone(),
                ..container.read().clone()
            };
            let stored = encode(&record).and_then(|body| {
                Ok(inner
                    .store
                    .meta()
                    .rename_document(KIND, &container.id, &new, Some(&body))?)
            });
            if let Err(error) = stored {
                inner.table.release(&new, &container.id);
                return Err(error);
            }
            container.change(|record| record.name = new);
            inner.table.release(&old, &container.id);
            inner.publish(&container, "rename", &[("oldName", format!("/{old}"))]);
            Ok(())
        })
        .await
    }

    /// Changes limits, also of a container that runs, and the restart policy. Returns warnings.
    pub async fn update(&self, name: &str, update: UpdateContainer) -> Result<Vec<String>> {
        let container = self.find(name)?;
        let op = container.op.clone().lock_owned().await;
        let inner = self.0.clone();
        blocking(move || {
            let _op = op;
            update_limits(&inner, &container, update)
        })
        .await
    }
}

fn update_limits(inner: &Inner, container: &Container, mut update: UpdateContainer) -> Result<Vec<String>> {
    let cannot = |error: EngineError| error.context(format!("Cannot update container {}", container.id));
    if matches!(container.status(), Status::Removing | Status::Dead) {
        return Err(cannot(EngineError::conflict(
            "container is marked for removal and cannot be \"update\"",
        )));
    }
    let old = container.read().host_config.clone();
    let mut host = old.clone();
    let mut warnings = Vec::new();
    if update.resources != Resources::default() {
        warnings = abilities::discard(&mut update.resources, inner.runtime.abilities())?;
        merge(&mut host, &update.resources).map_err(cannot)?;
    }
    if let Some(policy) = update.restart_policy {
        if host.auto_remove && policy.name != super::RestartPolicyName::No {
            return Err(cannot(EngineError::conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            )));
        }
        host.restart_policy = policy;
    }
    validate(&container.read().config, &host)?;
    let shim = inner.runtime.shim(&container.id);
    let live = container.status().is_live();
    if live {
        let changed = changed(&update.resources, &host);
        if let Err(error) = shim.update(&changed) {
            // What was changed before it failed.
            if let Err(error) = shim.update(&spec::resources(&old)) {
                tracing::debug!(container = container.id, %error, "a failed update is not undone");
            }
            return Err(cannot(error.into()));
        }
    }
    container.update(&inner.store, |record| record.host_config = host)?;
    inner.publish(container, "update", &[]);
    Ok(warnings)
}

/// What has to be written for a container that runs: what was given, with what belongs to it.
fn changed(given: &Resources, host: &HostConfig) -> havre_runtime::spec::Resources {
    let mut asked = given.clone();
    if asked.memory != 0 || asked.memory_swap != 0 {
        asked.memory = host.resources.memory;
        asked.memory_swap = host.resources.memory_swap;
    }
    let only = HostConfig {
        resources: asked,
        ..HostConfig::default()
    };
    havre_runtime::spec::Resources {
        // None lifts the limit.
        pids: given.pids_limit.map(|limit| if limit > 0 { limit } else { -1 }),
        ..spec::resources(&only)
    }
}

/// Takes over every limit that was given.
fn merge(host: &mut HostConfig, new: &Resources) -> Result<()> {
    let own = &mut host.resources;
    if own.memory_swap > 0 && new.memory > own.memory_swap && new.memory_swap == 0 {
        return Err(EngineError::conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ));
    }
    for (new, old, what) in [
        (
            new.nano_cpus,
            own.cpu_period,
            "Nano CPUs cannot be updated as CPU Period has",
        ),
        (
            new.nano_cpus,
            own.cpu_quota,
            "Nano CPUs cannot be updated as CPU Quota has",
        ),
        (
            new.cpu_period,
            own.nano_cpus,
            "CPU Period cannot be updated as NanoCPUs has",
        ),
        (
            new.cpu_quota,
            own.nano_cpus,
            "CPU Quota cannot be updated as NanoCPUs has",
        ),
    ] {
        if new != 0 && old != 0 {
            return Err(EngineError::conflict(format!(
                "Conflicting options: {what} already been set"
            )));
        }
    }
    let number = |own: &mut i64, new: i64| {
        if new != 0 {
            *own = new;
        }
    };
    number(&mut own.cpu_shares, new.cpu_shares);
    number(&mut own.memory, new.memory);
    number(&mut own.memory_swap, new.memory_swap);
    super::create::default_swap(own);
    number(&mut own.memory_reservation, new.memory_reservation);
    number(&mut own.nano_cpus, new.nano_cpus);
    number(&mut own.cpu_period, new.cpu_period);
    number(&mut own.cpu_quota, new.cpu_quota);
    number(&mut own.cpu_realtime_period, new.cpu_realtime_period);
    number(&mut own.cpu_realtime_runtime, new.cpu_realtime_runtime);
    if !new.cpuset_cpus.is_empty() {
        own.cpuset_cpus.clone_from(&new.cpuset_cpus);
    }
    if !new.cpuset_mems.is_empty() {
        own.cpuset_mems.clone_from(&new.cpuset_mems);
    }
    if new.blkio_weight != 0 {
        own.blkio_weight = new.blkio_weight;
    }
    if let Some(limit) = new.pids_limit {
        own.pids_limit = Some(limit).filter(|limit| *limit > 0);
    }
    let mut left = new.clone();
    for number in [
        &mut left.cpu_shares,
        &mut left.memory,
        &mut left.memory_swap,
        &mut left.memory_reservation,
        &mut left.nano_cpus,
        &mut left.cpu_period,
        &mut left.cpu_quota,
        &mut left.cpu_realtime_period,
        &mut left.cpu_realtime_runtime,
    ] {
        *number = 0;
    }
    left.cpuset_cpus.clear();
    left.cpuset_mems.clear();
    left.blkio_weight = 0;
    left.pids_limit = None;
    match left == Resources::default() {
        true => Ok(()),
        false => Err(EngineError::invalid(
            "only limits of CPU, memory and pids, the weight of block I/O and the restart policy can be updated: create the \
             container anew for other changes",
        )),
    }
}
