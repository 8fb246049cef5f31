//! `stop`, `kill`, `restart`, `pause`, `unpause`.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLockWriteGuard};
use std::time::Duration;

use havre_runtime::RuntimeError;

use super::table::Container;
use super::{Containers, Inner, Status, StopOptions, Transition, WaitCondition, exit, health, signal};
use crate::error::blocking;
use crate::{EngineError, ErrorKind, Result};

/// Seconds between the stop signal and SIGKILL.
const DEFAULT_TIMEOUT: i64 = 10;

/// How long a killed container may take to end: storage that hangs can hold a process.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

impl Containers {
    /// `NotModified` when it isn't running.
    pub async fn stop(&self, name: &str, options: StopOptions) -> Result<()> {
        let container = self.find(name)?;
        let inner = self.0.clone();
        detached(async move {
            stop(&inner, &container, &options).await?;
            inner.publish(&container, "stop", &[]);
            Ok(())
        })
        .await
    }

    /// Stops it if it runs, and starts it.
    pub async fn restart(&self, name: &str, options: StopOptions) -> Result<()> {
        let container = self.find(name)?;
        let containers = self.clone();
        detached(async move {
            match stop(&containers.0, &container, &options).await {
                Err(error) if error.kind() != ErrorKind::NotModified => return Err(error),
                _ => {}
            }
            match containers.start(&container.id).await {
                Err(error) if error.kind() != ErrorKind::NotModified => return Err(error),
                _ => {}
            }
            containers.0.publish(&container, "restart", &[]);
            Ok(())
        })
        .await
    }

    /// Sends a signal to the first process; `None`: KILL, which waits for the end.
    pub async fn kill(&self, name: &str, signal: Option<&str>) -> Result<()> {
        let container = self.find(name)?;
        let number = signal
            .filter(|signal| !signal.is_empty())
            .map_or(Ok(signal::KILL), signal::parse)?;
        let inner = self.0.clone();
        let name = name.to_owned();
        detached(async move {
            let op = container.op.clone().lock_owned().await;
            if !container.status().is_live() {
                let restarting = container.status() == Status::Restarting;
                if restarting {
                    drop(op);
                    return stop(&inner, &container, &StopOptions::default()).await;
                }
                return Err(EngineError::conflict(format!(
                    "cannot kill container: {name}: container {} is not running",
                    container.id
                )));
            }
            let ends = number == signal::KILL || number == container.read().stop_signal();
            if ends {
                container.stopping.store(true, Ordering::SeqCst);
            }
            let (engine, killed) = (inner.clone(), container.clone());
            blocking(move || {
                let _op = op;
                if ends {
                    note_wish(&engine, &killed);
                }
                send(&engine, &killed, number)
            })
            .await?;
            inner.publish(&container, "kill", &[("signal", number.to_string())]);
            if number == signal::KILL {
                let ended = container.wait(WaitCondition::NotRunning);
                let _ = tokio::time::timeout(KILL_PATIENCE, ended).await;
            }
            Ok(())
        })
        .await
    }

    /// Freezes every process.
    pub async fn pause(&self, name: &str) -> Result<()> {
        self.freeze(name, true).await
    }

    pub async fn unpause(&self, name: &str) -> Result<()> {
        self.freeze(name, false).await
    }

    async fn freeze(&self, name: &str, freeze: bool) -> Result<()> {
        let container = self.find(name)?;
        let op = container.op.clone().lock_owned().await;
        let inner = self.0.clone();
        blocking(move || {
            let _op = op;
            let status = container.status();
            match (freeze, status) {
                (true, Status::Running) | (false, Status::Paused) => {}
                (true, Status::Paused) => {
                    return Err(EngineError::conflict(format!(
                        "container {} is already paused",
                        container.id
                    )));
                }
                (true, _) => {
                    return Err(EngineError::conflict(format!(
                        "container {} is not running",
                        container.id
                    )));
                }
                (false, _) => {
                    return Err(EngineError::conflict(format!(
                        "Container {} is not paused",
                        container.id
                    )));
                }
            }
            if freeze {
                let _freezing = container.freezing();
                set_frozen(&inner, &container.id, true)?;
                health::end(&container);
                container.transit(&inner.store, Transition::Pause, health::stopped)?;
            } else {
                set_frozen(&inner, &container.id, false)?;
                container.transit(&inner.store, Transition::Unpause, |_| ())?;
                health::begin(&inner, &container);
            }
            inner.publish(&container, if freeze { "pause" } else { "unpause" }, &[]);
            Ok(())
        })
        .await
    }
}

/// Carries work to its end, also when the caller goes away.
async fn detached<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(EngineError::new(
            ErrorKind::Unavailable,
            "the engine is shutting down",
        )),
    }
}

async fn stop(inner: &Arc<Inner>, container: &Arc<Container>, options: &StopOptions) -> Result<()> {
    let (number, timeout) = {
        let record = container.read();
        let number = match options.signal.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => signal::parse(name)?,
            None => record.stop_signal(),
        };
        (
            number,
            options
                .timeout
                .or(record.config.stop_timeout)
                .unwrap_or(DEFAULT_TIMEOUT),
        )
    };
    let op = container.op.clone().lock_owned().await;
    match container.status() {
        Status::Running | Status::Paused => {}
        Status::Restarting => {
            exit::call_off_restart(container);
            let (inner, container) = (inner.clone(), container.clone());
            return blocking(move || {
                let _op = op;
                container.transit(&inner.store, Transition::Exit, |record| {
                    record.stopped_by_user = true
                })
            })
            .await;
        }
        _ => {
            return Err(EngineError::new(
                ErrorKind::NotModified,
                "container is already stopped",
            ));
        }
    }
    // From here on the exit is not the restart policy's business.
    container.stopping.store(true, Ordering::SeqCst);
    let ended = container.wait(WaitCondition::NextExit);
    {
        let (engine, container) = (inner.clone(), container.clone());
        blocking(move || {
            let _op = op;
            note_wish(&engine, &container);
            send(&engine, &container, number)
        })
        .await?;
    }
    inner.publish(container, "kill", &[("signal", number.to_string())]);
    let ended = match u64::try_from(timeout) {
        Ok(seconds) => match tokio::time::timeout(Duration::from_secs(seconds), ended).await {
            Ok(_) => return Ok(()),
            Err(_) => container.wait(WaitCondition::NotRunning),
        },
        // Negative: no limit.
        Err(_) => {
            let _ = ended.await;
            return Ok(());
        }
    };
    let (engine, killed) = (inner.clone(), container.clone());
    blocking(move || send(&engine, &killed, signal::KILL)).await?;
    inner.publish(container, "kill", &[("signal", signal::KILL.to_string())]);
    must_end(container, ended).await
}

/// Somebody wants it stopped. If that cannot be stored, as on a disk that the container itself has filled, it is stopped all the
/// same: only the next engine would not know.
fn note_wish(inner: &Inner, container: &Container) {
    if let Err(error) = container.update(&inner.store, |record| record.stopped_by_user = true) {
        tracing::warn!(container = container.id, %error, "cannot record that a container is to stop");
    }
}

/// Kills a container and waits until its end is recorded.
pub(super) async fn kill_and_wait(inner: &Arc<Inner>, container: &Arc<Container>) -> Result<()> {
    container.stopping.store(true, Ordering::SeqCst);
    let ended = container.wait(WaitCondition::NotRunning);
    let (engine, killed) = (inner.clone(), container.clone());
    blocking(move || send(&engine, &killed, signal::KILL)).await?;
    inner.publish(container, "kill", &[("signal", signal::KILL.to_string())]);
    must_end(container, ended).await
}

async fn must_end(
    container: &Container,
    ended: tokio::sync::oneshot::Receiver<super::WaitOutcome>,
) -> Result<()> {
    match tokio::time::timeout(KILL_PATIENCE, ended).await {
        Ok(_) => Ok(()),
        Err(_) => Err(EngineError::system(format!(
            "container {} did not end within {} seconds of SIGKILL: a process hangs in the kernel, often on storage",
            container.id,
            KILL_PATIENCE.as_secs()
        ))),
    }
}

/// Sends a signal; a container that has just ended is no error. A paused one is thawed, or it would never see it.
fn send(inner: &Inner, container: &Container, number: i32) -> Result<()> {
    let shim = inner.runtime.shim(&container.id);
    match shim.kill(number) {
        Ok(()) | Err(RuntimeError::NotRunning { .. } | RuntimeError::ShimGone { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if container.status() == Status::Paused {
        set_frozen(inner, &container.id, false)?;
        if number == signal::KILL || number == container.read().stop_signal() {
            container.change(|record| record.state.status = Status::Running);
        }
    }
    Ok(())
}

fn set_frozen(inner: &Inner, id: &str, frozen: bool) -> Result<()> {
    let shim = inner.runtime.shim(id);
    if frozen {
        shim.pause()?
    } else {
        shim.resume()?
    }
    Ok(())
}

/// A container frozen for a moment, without being `paused` for anybody else.
pub(super) struct Frozen<'a> {
    inner: &'a Inner,
    container: &'a Container,
    _freezing: RwLockWriteGuard<'a, ()>,
}

impl<'a> Frozen<'a> {
    pub(super) fn new(inner: &'a Inner, container: &'a Container) -> Result<Self> {
        let freezing = container.freezing();
        set_frozen(inner, &container.id, true)?;
        Ok(Frozen {
            inner,
            container,
            _freezing: freezing,
        })
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if let Err(error) = set_frozen(self.inner, &self.container.id, false) {
            tracing::error!(container = self.container.id, %error, "cannot thaw a container");
        }
    }
}
