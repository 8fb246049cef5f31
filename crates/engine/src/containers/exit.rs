//! What happens when a container's first process has ended: ports, state, waiters, restart policy, clean-up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use havre_runtime::{ExitStatus, RuntimeError, Shim};
use jiff::Timestamp;

use super::record::Record;
use super::table::{Container, lock};
use super::{
    Inner, RestartPolicyName, Status, Transition, WaitCondition, health, lingering, mountpoints, remove,
    sources, start,
};
use crate::Result;

/// The first automatic restart waits this long; every further one twice as long as the one before.
pub(crate) const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// A container that ran so long is healthy: its next restart waits as the first did.
const HEALTHY: Duration = Duration::from_secs(10);

/// The exit code when nobody saw the end: the machine or the shim went down.
pub(super) const UNKNOWN_CODE: i32 = 255;

/// Waits for the end on a thread of its own, which then does the work below.
pub(super) fn watch(inner: &Arc<Inner>, container: &Arc<Container>, shim: Shim) -> Result<()> {
    let (engine, container) = (Arc::downgrade(inner), container.clone());
    std::thread::Builder::new()
        .name("exit".to_owned())
        .stack_size(512 << 10)
        .spawn(move || {
            let status = ended(&shim);
            // Without an engine the next one finds what the shim recorded.
            if let Some(inner) = engine.upgrade() {
                let _op = container.op.blocking_lock();
                handle(&inner, &container, &status);
            }
        })?;
    Ok(())
}

fn ended(shim: &Shim) -> ExitStatus {
    match shim.wait() {
        Ok(status) => status,
        Err(error) => {
            if !matches!(error, RuntimeError::ShimGone { .. }) {
                tracing::warn!(container = shim.id(), %error, "lost the shim of a container");
            }
            unknown()
        }
    }
}

pub(super) fn unknown() -> ExitStatus {
    ExitStatus {
        code: UNKNOWN_CODE,
        oom_killed: false,
        at: Timestamp::now(),
    }
}

/// Records the end and carries out what follows. The caller holds `op`. Waiters are woken as early as what they rely on is
/// true: ports are free, the state is stored. Unmounting and the like comes after.
pub(super) fn handle(inner: &Arc<Inner>, container: &Arc<Container>, status: &ExitStatus) {
    let before = container.read().clone();
    if !before.state.status.is_live() {
        return;
    }
    let stopping = container.stopping.swap(false, Ordering::SeqCst);
    health::end(container);
    inner.execs.container_ended(&container.id, false);
    inner.network.disconnect(&container.id);
    inner.networks.leave_all(&container.id);
    sources::unmount(inner, &container.id);
    let ran = before.state.started_at.map_or(Duration::ZERO, |started| {
        status.at.duration_since(started).try_into().unwrap_or_default()
    });
    let restart = !stopping && wants_restart(&before, i64::from(status.code));
    let after = |record: &mut Record| {
        record.state.pid = 0;
        record.state.exit_code = i64::from(status.code);
        record.state.oom_killed = status.oom_killed;
        record.state.finished_at = Some(status.at);
        record.network = None;
        health::stopped(record);
        if restart {
            record.restart_count += 1;
        }
    };
    let auto_remove = before.host_config.auto_remove;
    let transition = if restart {
        Transition::ExitToRestart
    } else {
        Transition::Exit
    };
    let recorded = if auto_remove {
        // Not stored: should the daemon die before the removal, the next one finds the exit with the shim.
        container
            .status()
            .after(transition)
            .map_err(Into::into)
            .map(|next| {
                container.change(|record| {
                    record.state.status = next;
                    after(record);
                });
            })
    } else {
        container.transit(&inner.store, transition, after)
    };
    if let Err(error) = recorded {
        tracing::error!(container = container.id, %error, "cannot record the end of a container");
    }
    if status.oom_killed {
        inner.publish(container, "oom", &[]);
    }
    let extra = [
        ("exitCode", status.code.to_string()),
        ("execDuration", ran.as_secs().to_string()),
    ];
    inner.publish(container, "die", &extra);
    for (name, endpoint) in before.network.iter().flat_map(|network| &network.endpoints) {
        start::publish_network(inner, "disconnect", name, &endpoint.network_id, &container.id);
    }
    sources::publish_unmounts(inner, &before);
    container.notify(&[WaitCondition::NotRunning, WaitCondition::NextExit], None);
    if auto_remove {
        if let Err(error) = remove::remove(inner, container, true) {
            tracing::error!(container = container.id, %error, "cannot remove a container that has ended");
        }
        return;
    }
    take_down(inner, &container.id);
    lingering::unmount_later(inner, container);
    if restart {
        schedule(inner, container, ran);
    }
}

/// Takes down what a container has beside its record while it runs: runtime, namespace, mount. Does what it can.
pub(super) fn clean_up(inner: &Inner, id: &str) {
    take_down(inner, id);
    lingering::unmount(&inner.store, id);
}

/// All of it but the mount.
fn take_down(inner: &Inner, id: &str) {
    if let Err(error) = inner.runtime.delete(id) {
        tracing::warn!(container = id, %error, "cannot remove the runtime state of a container");
    }
    if let Err(error) = inner.network.sandbox_remove(id) {
        tracing::warn!(container = id, %error, "cannot remove the network namespace of a container");
    }
    inner.networks.leave_all(id);
    super::spec::remove_shared_memory(inner, id);
    sources::unmount(inner, id);
    if let Some(container) = inner.table.get(id) {
        let made = container.read().mountpoints.clone();
        let merged = inner
            .store
            .snapshots()
            .find(id)
            .ok()
            .flatten()
            .map(|snapshot| snapshot.merged);
        if let Some(Err(error)) = merged.map(|merged| mountpoints::remove(&merged, &made)) {
            tracing::debug!(container = id, %error, "mount points stay behind");
        }
    }
}

/// Whether the policy starts a container again that ended by itself.
pub(super) fn wants_restart(record: &Record, exit_code: i64) -> bool {
    let policy = &record.host_config.restart_policy;
    match policy.name {
        RestartPolicyName::No => false,
        RestartPolicyName::Always | RestartPolicyName::UnlessStopped => true,
        RestartPolicyName::OnFailure => {
            let left = policy.maximum_retry_count == 0
                || record.restart_count < u64::try_from(policy.maximum_retry_count).unwrap_or(0);
            exit_code != 0 && left
        }
    }
}

/// Starts the container again after its back-off, unless that is called off meanwhile.
fn schedule(inner: &Arc<Inner>, container: &Arc<Container>, ran: Duration) {
    let delay = {
        let mut backoff = lock(&container.backoff);
        if ran >= HEALTHY {
            *backoff = FIRST_BACKOFF;
        }
        let delay = *backoff;
        *backoff = (delay * 2).min(LONGEST_BACKOFF);
        delay
    };
    restart_later(inner, container, delay);
}

/// Starts a container whose status is `restarting` after a delay.
pub(super) fn restart_later(inner: &Arc<Inner>, container: &Arc<Container>, delay: Duration) {
    let generation = container.generation.load(Ordering::SeqCst);
    let (engine, container) = (Arc::downgrade(inner), container.clone());
    inner.handle.spawn(async move {
        tokio::time::sleep(delay).await;
        let op = container.op.clone().lock_owned().await;
        let Some(inner) = engine.upgrade() else { return };
        let started = tokio::task::spawn_blocking(move || {
            let _op = op;
            let called_off = container.generation.load(Ordering::SeqCst) != generation;
            if called_off || container.status() != Status::Restarting {
                return;
            }
            if let Err(error) = start::start(&inner, &container, &havre_runtime::Timings::off()) {
                tracing::warn!(container = container.id, %error, "cannot restart a container");
            }
        });
        let _ = started.await;
    });
}

/// A waiting restart will find that it is no longer wanted.
pub(super) fn call_off_restart(container: &Container) {
    container.generation.fetch_add(1, Ordering::SeqCst);
}
