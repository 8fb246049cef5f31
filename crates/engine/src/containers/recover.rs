//! After a restart of the daemon: live containers are taken over, what ended meanwhile is recorded, what was interrupted is
//! finished, and restart policies are applied.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use havre_runtime::{Reattached, Shim, ShimState};

use super::record::{KIND, Record};
use super::table::Container;
use super::{Containers, Inner, RestartPolicyName, Status, exit, health, membership, remove};
use crate::{EngineError, Result};

impl Containers {
    /// Blocking; called once, before anybody is served.
    pub(crate) fn recover(&self) -> Result<()> {
        let inner = &self.0;
        for document in inner.store.meta().documents(KIND)? {
            let record: Record = serde_json::from_str(&document.body).map_err(|error| {
                EngineError::system(format!("the record of container {} is damaged", document.id))
                    .with_source(error)
            })?;
            for mount in record.mounts.iter().filter(|mount| mount.is_volume()) {
                inner.volumes.hold(&mount.point.name, &record.id);
            }
            if record.mounts.iter().any(|mount| mount.owned) {
                inner.volumes.confirm(&record.id)?;
            }
            inner.table.reserve(&record.name, &record.id)?;
            inner.table.insert(Container::new(record));
        }

        let mut strays: BTreeSet<String> = inner.runtime.list()?.into_iter().collect();
        let found = find_all(inner, &mut strays);
        for stray in strays {
            tracing::info!(
                container = stray,
                "removing what is left of a container without a record"
            );
            let inner = inner.clone();
            // Not awaited: a shim that hangs takes its time to be given up.
            std::thread::Builder::new()
                .name("recover".to_owned())
                .spawn(move || exit::clean_up(&inner, &stray))?;
        }

        // Live endpoints first, so that nobody else is given their addresses and ports.
        let live: Vec<String> = found
            .iter()
            .filter(|(_, state)| matches!(state, Found::Live(_)))
            .map(|(container, _)| container.id.clone())
            .collect();
        inner
            .volumes
            .recover_mounts(|id| live.iter().any(|live| live == id));
        let lost = inner.network.recover(&live)?;
        membership::recover(inner, &live)?;
        for id in lost.iter().filter(|id| has_endpoint(inner, id)) {
            tracing::warn!(
                container = id,
                "the network of a running container is gone: restart it to connect it again"
            );
        }
        for snapshot in inner.store.snapshots().list()? {
            if inner.table.get(&snapshot.id).is_none()
                && !inner.store.removals().keeps_snapshot(&snapshot.id)?
            {
                tracing::info!(snapshot = snapshot.id, "removing a snapshot without a container");
                inner.volumes.drop_unconfirmed(&snapshot.id)?;
                inner.store.snapshots().remove(&snapshot.id)?;
            }
        }
        for (container, state) in found {
            let op = container.op.clone().try_lock_owned();
            let op = op.map_err(|_| {
                EngineError::system(format!("container {} is busy at the start", container.id))
            })?;
            let in_background = matches!(state, Found::Hung);
            let inner = inner.clone();
            let settle = move || {
                let _op = op;
                if let Err(error) = settle(&inner, &container, state) {
                    tracing::error!(container = container.id, %error, "cannot recover a container");
                }
            };
            if in_background {
                std::thread::Builder::new()
                    .name("recover".to_owned())
                    .spawn(settle)?;
            } else {
                settle();
            }
        }
        Ok(())
    }
}

/// Asks all shims at the same time. Leaves in `strays` what belongs to no container.
fn find_all(inner: &Inner, strays: &mut BTreeSet<String>) -> Vec<(Arc<Container>, Found)> {
    let (known, gone): (Vec<_>, Vec<_>) = inner
        .table
        .all()
        .into_iter()
        .partition(|container| strays.remove(&container.id));
    let mut found: Vec<_> = gone
        .into_iter()
        .map(|container| (container, Found::Nothing))
        .collect();
    std::thread::scope(|scope| {
        for some in known.chunks(ASKED_AT_ONCE) {
            let asked: Vec<_> = some
                .iter()
                .map(|container| (container, scope.spawn(move || find(inner, container))))
                .collect();
            for (container, answer) in asked {
                found.push((container.clone(), answer.join().unwrap_or(Found::Hung)));
            }
        }
    });
    found
}

/// Shims asked at the same time; one that hangs delays only its own group.
const ASKED_AT_ONCE: usize = 64;

enum Found {
    /// Runs; its state may say otherwise if the daemon died during its start.
    Live(Box<(Shim, ShimState)>),
    Ended(havre_runtime::ExitStatus),
    /// Does not run.
    Nothing,
    /// Its shim does not answer; whatever it was doing, it has no program running.
    Hung,
}

fn find(inner: &Inner, container: &Container) -> Found {
    let state = match inner.runtime.reattach(&container.id) {
        Ok(Reattached::Exited(status)) => return Found::Ended(status),
        Ok(Reattached::Gone) => return Found::Nothing,
        Ok(Reattached::Running(shim)) => shim.state().map(|state| (shim, state)),
        Err(error) => Err(error),
    };
    match state {
        Ok((
            _,
            ShimState {
                exit: Some(status), ..
            },
        )) => Found::Ended(status),
        Ok((shim, state)) if state.started_at.is_some() => Found::Live(Box::new((shim, state))),
        // Made, never started: the start was interrupted.
        Ok(_) => Found::Nothing,
        Err(error) => {
            tracing::warn!(container = container.id, %error, "a shim does not answer");
            Found::Hung
        }
    }
}

fn has_endpoint(inner: &Inner, id: &str) -> bool {
    inner.table.get(id).is_some_and(|container| {
        container
            .read()
            .network
            .as_ref()
            .is_some_and(|network| !network.sandbox.is_empty())
    })
}

/// The caller holds `op`.
fn settle(inner: &Arc<Inner>, container: &Arc<Container>, state: Found) -> Result<()> {
    let before = container.read().clone();
    if before.state.status == Status::Removing {
        container.change(|record| record.state.status = Status::Dead);
        return remove::remove(inner, container, true);
    }
    match state {
        Found::Live(live) => {
            let (shim, state) = *live;
            if !before.state.status.is_live() {
                adopt(inner, container, &state)?;
            }
            if container.status() == Status::Running {
                health::begin(inner, container);
            }
            exit::watch(inner, container, shim)
        }
        // The end was recorded; the clean-up after it was interrupted.
        Found::Ended(status)
            if !before.state.status.is_live() && before.state.finished_at == Some(status.at) =>
        {
            exit::clean_up(inner, &container.id);
            match before.state.status {
                Status::Restarting => revive(inner, container, &before),
                _ => after_boot(inner, container),
            }
        }
        Found::Ended(status) => {
            if !before.state.status.is_live() {
                adopt_ended(container, &status);
            }
            // As if it had just ended, without the user having asked for it.
            container.stopping.store(before.stopped_by_user, Ordering::SeqCst);
            exit::handle(inner, container, &status);
            after_boot(inner, container)
        }
        Found::Nothing | Found::Hung => {
            if before.state.status.is_live() {
                // The machine went down with it: restart policies decide below, not the exit.
                container.stopping.store(true, Ordering::SeqCst);
                exit::handle(inner, container, &exit::unknown());
            } else {
                exit::clean_up(inner, &container.id);
            }
            if before.state.status.is_live() || before.state.status == Status::Restarting {
                revive(inner, container, &before)
            } else {
                after_boot(inner, container)
            }
        }
    }
}

/// The daemon died between the start and its record.
fn adopt(inner: &Inner, container: &Container, state: &ShimState) -> Result<()> {
    let sandbox = inner.network.sandbox_path(&container.id);
    let network = super::start::recovered_network(inner, &container.read().clone(), &sandbox);
    container.update(&inner.store, |record| {
        record.state.status = Status::Running;
        record.state.pid = state.pid;
        record.state.started_at = state.started_at;
        record.state.exit_code = 0;
        record.state.error.clear();
        health::started(record);
        record.network = Some(network);
    })
}

fn adopt_ended(container: &Container, status: &havre_runtime::ExitStatus) {
    container.change(|record| {
        record.state.status = Status::Running;
        record.state.started_at = Some(status.at);
    });
}

/// `always` starts even what the user had stopped, as Docker does when it starts; so does `unless-stopped` with the rest.
fn after_boot(inner: &Arc<Inner>, container: &Arc<Container>) -> Result<()> {
    let wanted = {
        let record = container.read();
        let policy = record.host_config.restart_policy.name;
        let ran = record.state.started_at.is_some();
        record.state.status == Status::Exited
            && ran
            && match policy {
                RestartPolicyName::Always => true,
                RestartPolicyName::UnlessStopped => !record.stopped_by_user,
                RestartPolicyName::No | RestartPolicyName::OnFailure => false,
            }
    };
    if wanted { restart(inner, container) } else { Ok(()) }
}

/// It ran, or was about to run again, when the machine went down.
fn revive(inner: &Arc<Inner>, container: &Arc<Container>, before: &Record) -> Result<()> {
    if inner.table.get(&container.id).is_none() {
        return Ok(());
    }
    let wanted = match before.host_config.restart_policy.name {
        RestartPolicyName::UnlessStopped => !before.stopped_by_user,
        _ => exit::wants_restart(before, i64::from(exit::UNKNOWN_CODE)),
    };
    match wanted {
        true => restart(inner, container),
        false if container.status() == Status::Restarting => {
            container.update(&inner.store, |record| record.state.status = Status::Exited)
        }
        false => Ok(()),
    }
}

fn restart(inner: &Arc<Inner>, container: &Arc<Container>) -> Result<()> {
    container.update(&inner.store, |record| record.state.status = Status::Restarting)?;
    exit::restart_later(inner, container, Duration::ZERO);
    Ok(())
}
