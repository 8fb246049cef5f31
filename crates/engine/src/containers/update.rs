//! `rename` and `update`.

use super::record::{KIND, Record};
use super::table::encode;
use super::validate::validate;
use super::{Containers, UpdateContainer, names};
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

    /// Changes the restart policy, and the limits of a container that does not run. Returns warnings.
    pub async fn update(&self, name: &str, update: UpdateContainer) -> Result<Vec<String>> {
        let container = self.find(name)?;
        let op = container.op.clone().lock_owned().await;
        let inner = self.0.clone();
        blocking(move || {
            let _op = op;
            let mut record = container.read().clone();
            let limits = update.resources != super::Resources::default();
            if limits && container.status().is_live() {
                return Err(EngineError::conflict(format!(
                    "cannot update container {}: limits of a running container cannot be changed: stop it first",
                    container.id
                )));
            }
            if limits {
                merge(&mut record, &update)?;
            }
            if let Some(policy) = update.restart_policy {
                record.host_config.restart_policy = policy;
            }
            validate(&record.config, &record.host_config)?;
            container.update(&inner.store, |live| live.host_config = record.host_config)?;
            inner.publish(&container, "update", &[]);
            Ok(Vec::new())
        })
        .await
    }
}

/// Takes over every limit that was given.
fn merge(record: &mut Record, update: &UpdateContainer) -> Result<()> {
    let (own, new) = (&mut record.host_config.resources, &update.resources);
    if own.memory_swap > 0 && new.memory > own.memory_swap && new.memory_swap == 0 {
        return Err(EngineError::conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ));
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
    if !new.cpuset_cpus.is_empty() {
        own.cpuset_cpus.clone_from(&new.cpuset_cpus);
    }
    if !new.cpuset_mems.is_empty() {
        own.cpuset_mems.clone_from(&new.cpuset_mems);
    }
    if new.blkio_weight != 0 {
        own.blkio_weight = new.blkio_weight;
    }
    if new.pids_limit.is_some() {
        own.pids_limit = new.pids_limit;
    }
    let handled = super::Resources {
        cpu_shares: 0,
        memory: 0,
        memory_swap: 0,
        memory_reservation: 0,
        nano_cpus: 0,
        cpu_period: 0,
        cpu_quota: 0,
        cpuset_cpus: String::new(),
        cpuset_mems: String::new(),
        blkio_weight: 0,
        pids_limit: None,
        ..new.clone()
    };
    match handled == super::Resources::default() {
        true => Ok(()),
        false => Err(EngineError::invalid(
            "only CPU, memory, pids and block I/O weight limits and the restart policy can be updated: create the container \
             anew for other changes",
        )),
    }
}
