//! `exec`: more processes in a running container.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use havre_runtime::{AttachRequest, ExecSpec, RuntimeError, Shim, StartError};
use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use super::streams::{self, Input};
use super::table::{Container, lock};
use super::{
    Attachment, Containers, ExecConfig, ExecStart, ExecView, Inner, Output, Status, attach, names, spec,
};
use crate::error::{blocking, process_failure};
use crate::{EngineError, Result};

/// How long a finished exec can still be inspected.
const KEPT: Duration = Duration::from_secs(300);

/// How long the end of the output waits for the exit code, so that a client that asks next finds it.
const EXIT_GRACE: Duration = Duration::from_secs(10);

/// How long a request about a running exec waits for one that is just being started, as dockerd does.
const START_GRACE: Duration = Duration::from_secs(10);

/// The exit code of an exec whose end nobody saw: it was killed with its container.
const LOST: i64 = 137;

/// A shim tells an exit code in far fewer bytes.
const LONGEST_ANSWER: u64 = 64 << 10;

/// Every exec by its id.
#[derive(Default)]
pub(crate) struct Execs(Mutex<HashMap<String, Arc<Exec>>>);

pub(crate) struct Exec {
    id: String,
    container: Arc<Container>,
    config: ExecConfig,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Created,
    Starting,
    Running { pid: i32 },
    Ended { pid: i32, code: i64, at: Timestamp },
}

impl Execs {
    fn insert(&self, exec: Arc<Exec>) {
        let mut all = lock(&self.0);
        let now = Timestamp::now();
        all.retain(|_, exec| match *exec.progress.borrow() {
            Progress::Ended { at, .. } => now.duration_since(at).unsigned_abs() < KEPT,
            _ => true,
        });
        all.insert(exec.id.clone(), exec);
    }

    fn get(&self, id: &str) -> Result<Arc<Exec>> {
        lock(&self.0)
            .get(id)
            .cloned()
            .ok_or_else(|| EngineError::not_found(format!("No such exec instance: {id}")))
    }

    /// Ids of a container's unfinished execs.
    pub(crate) fn of(&self, container: &str) -> Vec<String> {
        let all = lock(&self.0);
        let own = all
            .values()
            .filter(|exec| exec.container.id == container && !exec.has_ended());
        own.map(|exec| exec.id.clone()).collect()
    }

    /// The container ended and took them with it, or is gone altogether.
    pub(crate) fn container_ended(&self, container: &str, removed: bool) {
        lock(&self.0).retain(|_, exec| {
            if exec.container.id != container {
                return true;
            }
            exec.progress.send_if_modified(|progress| {
                let Progress::Running { pid } = *progress else {
                    return false;
                };
                *progress = Progress::Ended {
                    pid,
                    code: LOST,
                    at: Timestamp::now(),
                };
                true
            });
            !removed
        });
    }
}

impl Exec {
    fn has_ended(&self) -> bool {
        matches!(*self.progress.borrow(), Progress::Ended { .. })
    }

    /// An event with the command line, written as Docker does: the program, a space, the arguments.
    fn publish(&self, inner: &Inner, action: &str) {
        let (program, arguments) = match self.config.cmd.split_first() {
            Some((program, arguments)) => (program.as_str(), arguments.join(" ")),
            None => ("", String::new()),
        };
        let action = format!("{action}: {program} {arguments}");
        inner.publish(&self.container, &action, &[("execID", self.id.clone())]);
    }

    /// Clients set the size of a terminal as soon as they have its connection, which may be before the program runs: a
    /// start under way is waited for.
    async fn begun(&self) {
        let mut progress = self.progress.subscribe();
        let begun = progress.wait_for(|progress| *progress != Progress::Starting);
        let _ = tokio::time::timeout(START_GRACE, begun).await;
    }

    /// Its exit code, once it has ended.
    pub(super) async fn ended(&self) -> i64 {
        let mut progress = self.progress.subscribe();
        let ended = progress
            .wait_for(|progress| matches!(progress, Progress::Ended { .. }))
            .await;
        match ended.as_deref() {
            Ok(Progress::Ended { code, .. }) => *code,
            _ => LOST,
        }
    }

    /// Kills it with its process group, if it runs. Blocking.
    pub(super) fn kill(&self, inner: &Inner) {
        let shim = inner.runtime.shim(&self.container.id);
        if let Err(error) = shim.exec_end(&self.id) {
            tracing::debug!(exec = self.id, %error, "cannot kill an exec");
        }
    }
}

impl Containers {
    /// Returns the exec's id; [`Containers::exec_start`] starts it.
    pub async fn exec_create(&self, name: &str, config: ExecConfig) -> Result<String> {
        let container = self.find(name)?;
        must_run(&container)?;
        // It is started right after.
        self.0.runtime.anticipate();
        Ok(register(&self.0, &container, config)?.id.clone())
    }

    /// Starts it; `None` when detached. A command that cannot be started is an error, and its exit code (126, 127) can be
    /// inspected.
    pub async fn exec_start(&self, id: &str, start: ExecStart) -> Result<Option<Attachment>> {
        let exec = self.0.execs.get(id)?;
        must_run(&exec.container)?;
        self.0.runtime.anticipate();
        let claimed = exec.progress.send_if_modified(|progress| {
            let free = *progress == Progress::Created;
            if free {
                *progress = Progress::Starting;
            }
            free
        });
        if !claimed {
            let state = if exec.has_ended() {
                "has already run"
            } else {
                "is already running"
            };
            return Err(EngineError::conflict(format!("exec command {id} {state}")));
        }
        let inner = self.0.clone();
        blocking(move || run(&inner, &exec, &start, None)).await
    }

    pub async fn exec_resize(&self, id: &str, height: u16, width: u16) -> Result<()> {
        let exec = self.0.execs.get(id)?;
        exec.begun().await;
        if !matches!(*exec.progress.borrow(), Progress::Running { .. }) {
            return Err(EngineError::conflict(format!("exec process {id} is not running")));
        }
        let shim = self.0.runtime.shim(&exec.container.id);
        blocking(move || Ok(shim.exec_resize(&exec.id, width, height)?)).await
    }

    pub async fn exec_inspect(&self, id: &str) -> Result<ExecView> {
        let exec = self.0.execs.get(id)?;
        let (running, exit_code, pid) = match *exec.progress.borrow() {
            Progress::Created | Progress::Starting => (false, None, 0),
            Progress::Running { pid } => (true, None, i64::from(pid)),
            Progress::Ended { pid, code, .. } => (false, Some(code), i64::from(pid)),
        };
        Ok(ExecView {
            id: exec.id.clone(),
            container_id: exec.container.id.clone(),
            running,
            exit_code,
            pid,
            can_remove: false,
            config: exec.config.clone(),
        })
    }
}

/// Notes an exec that [`run`] starts.
pub(super) fn register(inner: &Inner, container: &Arc<Container>, config: ExecConfig) -> Result<Arc<Exec>> {
    if config.cmd.first().is_none_or(String::is_empty) {
        return Err(EngineError::invalid("No exec command specified"));
    }
    let exec = Arc::new(Exec {
        id: names::new_id(),
        container: container.clone(),
        config,
        progress: watch::Sender::new(Progress::Created),
    });
    inner.execs.insert(exec.clone());
    exec.publish(inner, "exec_create");
    Ok(exec)
}

fn must_run(container: &Container) -> Result<()> {
    match container.status() {
        Status::Running => Ok(()),
        Status::Paused => Err(EngineError::conflict(format!(
            "container {} is paused, unpause the container before exec",
            container.id
        ))),
        Status::Restarting => Err(EngineError::conflict(format!(
            "Container {} is restarting, wait until the container is running",
            container.id
        ))),
        _ => Err(EngineError::conflict(format!(
            "container {} is not running",
            container.id
        ))),
    }
}

/// Starts it; blocking. With a limit, a shim that doesn't answer in time is an error.
pub(super) fn run(
    inner: &Arc<Inner>,
    exec: &Arc<Exec>,
    start: &ExecStart,
    limit: Option<Duration>,
) -> Result<Option<Attachment>> {
    let spec = exec_spec(inner, exec, start);
    let attach = spec.attach;
    let shim = inner.runtime.shim(&exec.container.id);
    let starting = exec.container.starting();
    // It may have been paused meanwhile.
    must_run(&exec.container)?;
    exec.publish(inner, "exec_start");
    let started = match limit {
        Some(limit) => shim.exec_within(&spec, limit),
        None => shim.exec(&spec),
    };
    drop(starting);
    let started = match started {
        Ok(started) => started,
        Err(error) => {
            // 125 is the status of an engine that fails; an exec that cannot start is 126 or 127, as in Docker.
            let code = i64::from(error.exit_code()).max(126);
            exec.progress.send_replace(Progress::Ended {
                pid: 0,
                code,
                at: Timestamp::now(),
            });
            return Err(failure(error));
        }
    };
    exec.progress.send_replace(Progress::Running { pid: started.pid });
    watch_exit(inner, exec, shim);
    let Some(stream) = started.stream else {
        let output: Output = Box::pin(until_ended(exec.clone()));
        return Ok((!start.detach).then_some(Attachment {
            tty: exec.config.tty,
            output,
            input: None,
        }));
    };
    let (read, write) = attach::connect(inner, stream)?;
    let tty = exec.config.tty;
    let input = if attach.stdin {
        let detach = tty.then(|| exec.config.detach_keys.clone().unwrap_or_default());
        Some(Input::new(write, !tty, detach))
    } else {
        write.forget();
        None
    };
    let output = Box::pin(streams::output(read, tty).chain(until_ended(exec.clone())));
    Ok(Some(Attachment { tty, output, input }))
}

/// Yields nothing, and ends when the exec has.
fn until_ended(exec: Arc<Exec>) -> impl futures_util::Stream<Item = std::io::Result<super::Frame>> + Send {
    futures_util::stream::once(async move {
        let mut progress = exec.progress.subscribe();
        let ended = progress.wait_for(|progress| matches!(progress, Progress::Ended { .. }));
        let _ = tokio::time::timeout(EXIT_GRACE, ended).await;
    })
    .filter_map(|()| std::future::ready(None))
}

fn exec_spec(inner: &Inner, exec: &Exec, start: &ExecStart) -> ExecSpec {
    let config = &exec.config;
    let record = exec.container.read();
    let mut env = spec::environment(&super::links::variables(inner, &record));
    env.extend(spec::environment(&config.env));
    let size = start.console_size.or(config.console_size);
    ExecSpec {
        id: exec.id.clone(),
        args: config.cmd.clone(),
        env,
        cwd: if config.working_dir.is_empty() {
            record.config.working_dir.clone()
        } else {
            config.working_dir.clone()
        },
        user: if config.user.is_empty() {
            record.config.user.clone()
        } else {
            config.user.clone()
        },
        tty: config.tty,
        tty_size: size.map(|[height, width]| (width, height)),
        privileged: config.privileged,
        attach: AttachRequest {
            stdin: config.attach_stdin && !start.detach,
            stdout: config.attach_stdout && !start.detach,
            stderr: config.attach_stderr && !start.detach,
        },
    }
}

/// Notes the end of an exec when it comes.
fn watch_exit(inner: &Arc<Inner>, exec: &Arc<Exec>, shim: Shim) {
    let asked = shim.exec_ending(&exec.id);
    let (engine, exec) = (Arc::downgrade(inner), exec.clone());
    inner.handle.spawn(async move {
        let code = match exit_code(&shim, asked).await {
            Ok(code) => code,
            Err(error) => {
                tracing::debug!(exec = exec.id, %error, "the exit code of an exec is lost");
                LOST
            }
        };
        exec.progress.send_if_modified(|progress| {
            let Progress::Running { pid } = *progress else {
                return false;
            };
            *progress = Progress::Ended {
                pid,
                code,
                at: Timestamp::now(),
            };
            true
        });
        if let Some(inner) = engine.upgrade() {
            let extra = [("execID", exec.id.clone()), ("exitCode", code.to_string())];
            inner.publish(&exec.container, "exec_die", &extra);
        }
    });
}

/// Waits without a thread: many execs may run for long.
async fn exit_code(
    shim: &Shim,
    asked: std::result::Result<std::os::unix::net::UnixStream, RuntimeError>,
) -> Result<i64> {
    let stream = asked?;
    stream.set_nonblocking(true)?;
    let mut answer = Vec::new();
    tokio::net::UnixStream::from_std(stream)?
        .take(LONGEST_ANSWER)
        .read_to_end(&mut answer)
        .await?;
    Ok(i64::from(shim.exec_exit(&answer)?.code))
}

fn failure(error: StartError) -> EngineError {
    match error {
        StartError::Runtime(error) => error.into(),
        StartError::Setup { message } if message.starts_with("unable to find ") => {
            EngineError::invalid(message)
        }
        error => EngineError::invalid(format!(
            "OCI runtime exec failed: exec failed: {}: unknown",
            process_failure(&error)
        ))
        .with_source(error),
    }
}
