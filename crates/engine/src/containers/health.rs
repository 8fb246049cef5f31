//! Health checks: who is probed when, and what comes of it.
//!
//! A container with a check has one sleeping task while it runs; threads are taken only for the moment in which a probe is
//! started, and by a few at a time ([`probe`]). As with Docker, a container that is paused or has ended is `unhealthy`, for
//! nothing probes it.

mod check;
mod probe;
mod state;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

pub(super) use check::validate;
pub use state::{Health, HealthProbe, HealthStatus};

use super::Inner;
use super::record::Record;
use super::table::{Container, lock};
use crate::error::blocking;
use check::Check;

/// Who probes a container: dropping the sender ends it.
pub(super) type Monitor = Mutex<Option<oneshot::Sender<Infallible>>>;

/// The record of a container that has just been started.
pub(super) fn started(record: &mut Record) {
    if Check::of(&record.config).is_some() {
        record.state.health.get_or_insert_with(Health::new).restart();
    }
}

/// The record of a container that is probed no more.
pub(super) fn stopped(record: &mut Record) {
    if let Some(health) = &mut record.state.health {
        health.status = HealthStatus::Unhealthy;
    }
}

/// Begins to probe a container that runs, if it has a check and nobody does yet.
pub(super) fn begin(inner: &Arc<Inner>, container: &Arc<Container>) {
    let (check, started) = {
        let record = container.read();
        let Some(check) = Check::of(&record.config) else {
            return;
        };
        (check, record.state.started_at)
    };
    let mut monitor = lock(&container.monitor);
    if monitor.is_some() {
        return;
    }
    let (sender, stop) = oneshot::channel();
    *monitor = Some(sender);
    let watch = watch(Arc::downgrade(inner), container.clone(), check, started, stop);
    inner.handle.spawn(watch);
}

/// Nothing is noted of a container's health from now on; a probe that runs is killed.
pub(super) fn end(container: &Container) {
    lock(&container.monitor).take();
}

async fn watch(
    engine: Weak<Inner>,
    container: Arc<Container>,
    check: Check,
    started: Option<Timestamp>,
    mut stop: oneshot::Receiver<Infallible>,
) {
    // From here on the clock may be set.
    let ran = started.map(|started| Timestamp::now().duration_since(started));
    let ran = ran
        .and_then(|ran| Duration::try_from(ran).ok())
        .unwrap_or_default();
    let watched = tokio::time::Instant::now();
    loop {
        let status = container.read().state.health.as_ref().map(|health| health.status);
        let pause = check.pause(ran + watched.elapsed(), status.unwrap_or(HealthStatus::Starting));
        let probe = async {
            tokio::time::sleep(pause).await;
            probe::run(&engine, &container, &check).await
        };
        let probe = tokio::select! {
            _ = &mut stop => return,
            probe = probe => probe,
        };
        let Some(inner) = engine.upgrade() else { return };
        if !note(&inner, &container, &check, probe, &mut stop) {
            return;
        }
    }
}

/// Takes a probe into account, unless it has been called off meanwhile: then false.
fn note(
    inner: &Arc<Inner>,
    container: &Arc<Container>,
    check: &Check,
    probe: HealthProbe,
    stop: &mut oneshot::Receiver<Infallible>,
) -> bool {
    let changed = {
        // Who calls off holds this lock.
        let _monitor = lock(&container.monitor);
        if stop.try_recv() != Err(oneshot::error::TryRecvError::Empty) {
            return false;
        }
        container.change(|record| {
            let started = record.state.started_at;
            let health = record.state.health.get_or_insert_with(Health::new);
            health.note(check, started, probe).then_some(health.status)
        })
    };
    if let Some(status) = changed {
        store(inner, container);
        inner.publish(container, &format!("health_status: {}", status.as_str()), &[]);
    }
    true
}

/// Writes the record down for the next daemon as soon as nobody else changes it.
fn store(inner: &Arc<Inner>, container: &Arc<Container>) {
    let (engine, container) = (Arc::downgrade(inner), container.clone());
    inner.handle.spawn(async move {
        let op = container.op.clone().lock_owned().await;
        let Some(inner) = engine.upgrade() else { return };
        let stored = blocking(move || {
            let _op = op;
            match inner.table.get(&container.id) {
                Some(container) => container.update(&inner.store, |_| ()),
                None => Ok(()),
            }
        });
        if let Err(error) = stored.await {
            tracing::warn!(%error, "cannot note the health of a container");
        }
    });
}
