//! `RUN`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use havre_sys::rooted::{Mode, Root};
use tokio::runtime::Handle;

use super::{Outcome, StageRun, blocking, cache, io, mounts};
use crate::error::StepError;
use crate::event::{BuildEvent, Step};
use crate::executor::RunRequest;
use crate::expand;
use crate::files;
use crate::instructions::{CommandLine, Mount, MountKind, Run};
use crate::key::Key;
use crate::parser::heredoc_word;
use crate::report::Reporter;
use crate::state::State;

/// How often a cancelled step is told so until it ends.
const KILL_EVERY: Duration = Duration::from_millis(100);
/// Files and directories a runtime makes to mount something of its own there; they belong in no layer.
const RUNTIME_MOUNT_POINTS: [&str; 12] = [
    "/dev/pts",
    "/dev/shm",
    "/dev/mqueue",
    "/dev/console",
    "/dev",
    "/proc",
    "/sys/fs/cgroup",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc",
];

/// What a `RUN` executes.
struct Command {
    args: Vec<String>,
    /// As history and errors show it.
    shown: String,
    /// A script with an interpreter line of its own.
    script: Option<String>,
}

impl StageRun {
    pub(super) async fn run_step(
        &self,
        step: &Arc<Step>,
        state: &State,
        run: &Run,
    ) -> Result<Outcome, StepError> {
        let mut sources = Vec::new();
        for mount in &run.mounts {
            let mount = self.expand_mount(state, mount)?;
            let layers = match &mount.kind {
                MountKind::Bind { from: Some(name), .. } => Some(self.source_layers(step, name).await?),
                _ => None,
            };
            sources.push((mount, layers));
        }
        let (shared, state, run) = (Arc::clone(&self.shared), state.clone(), run.clone());
        let (reporter, step, handle) = (Arc::clone(&self.reporter), Arc::clone(step), Handle::current());
        blocking(move || {
            let command = command(&state, &run);
            let mut prepared = Vec::new();
            for (mount, layers) in &sources {
                prepared.push(mounts::prepare(
                    &shared,
                    mount,
                    layers.as_deref(),
                    state.workdir(),
                )?);
            }
            let mut key = Key::new("run");
            key.text(state.base.as_str())
                .texts(&state.layers)
                .texts(&command.args);
            key.text(command.script.as_deref().unwrap_or_default())
                .texts(&state.run_env());
            key.text(state.workdir()).text(&state.config.config.user);
            key.text(if run.network_none { "no network" } else { "" });
            for mount in &prepared {
                mount.add_to(&mut key);
            }
            let key = key.finish();
            let created_by = match state.args.is_empty() {
                true => command.shown.clone(),
                false => {
                    let args: Vec<String> = state
                        .args
                        .iter()
                        .map(|(name, value)| format!("{name}={value}"))
                        .collect();
                    format!("|{} {} {}", args.len(), args.join(" "), command.shown)
                }
            };
            let mut cached = cache::find(&shared, &key, &state.layers)?;
            // What is mounted is not in the history.
            if cached.is_none() && prepared.is_empty() {
                cached = cache::borrow(&shared, &state, &created_by)?;
            }
            if let Some((layers, created)) = cached {
                reporter.emit(BuildEvent::Cached { step });
                return Ok(Outcome {
                    created_by,
                    key,
                    layers,
                    created,
                });
            }

            let mut work = cache::Work::prepare(&shared, &state.layers)?;
            let scratch = tempfile::tempdir_in(&shared.scratch).map_err(io("create a scratch directory"))?;
            let mut made = Vec::new();
            let mut request_mounts = Vec::new();
            for mount in &prepared {
                request_mounts.push(mount.realise(&shared, scratch.path(), &work.root, &mut made)?);
            }
            let absent: Vec<PathBuf> = RUNTIME_MOUNT_POINTS
                .iter()
                .map(PathBuf::from)
                .filter(|path| work.root.stat(path, false).is_err())
                .collect();
            let mut args = command.args;
            let script = command.script.map(|text| {
                let path = format!("/.run-{}", &work.id()[..12]);
                args = vec![path.clone()];
                work.root
                    .write(Path::new(&path), text.as_bytes(), Mode::from_raw_mode(0o755))
                    .map(|()| path)
                    .map_err(io("write the script"))
            });
            let script = script.transpose()?;
            ensure_cwd(&work.root, state.workdir())?;
            let network = if run.network_none {
                "none".to_owned()
            } else {
                shared.network.clone()
            };
            let mut env = state.run_env();
            env.extend(state.proxy_env(&shared.globals));
            let request = RunRequest {
                id: work.id().to_owned(),
                rootfs: work.root.path().to_path_buf(),
                args,
                env,
                cwd: state.workdir().to_owned(),
                user: state.config.config.user.clone(),
                network,
                extra_hosts: shared.extra_hosts.clone(),
                resources: shared.resources.clone(),
                mounts: request_mounts,
            };
            let id = work.id().to_owned();
            reporter.emit(BuildEvent::Running {
                step: Arc::clone(&step),
                container: id.clone(),
            });
            let shift = shared.executor.shift();
            if shift.is_some() {
                work.show(&shared, shift)?;
            }
            let code = execute(&shared, request, &reporter, &step, &handle)?;
            if shift.is_some() {
                work.show(&shared, None)?;
            }
            if code != 0 {
                return Err(StepError::Run {
                    command: command.shown,
                    code,
                });
            }
            if let Some(path) = script {
                work.root
                    .remove(Path::new(&path))
                    .map_err(io("remove the script"))?;
            }
            mounts::clear(&work.root, &made);
            for path in &absent {
                files::remove_if_empty(&work.root, path);
            }
            let layer = work.commit(&shared)?;
            reporter.emit(BuildEvent::ContainerRemoved { step, container: id });
            let layers = [state.layers.as_slice(), &[layer.diff_id]].concat();
            cache::put(&shared, &key, layers, layer.size, &created_by)
        })
        .await
    }

    fn expand_mount(&self, state: &State, mount: &Mount) -> Result<Mount, StepError> {
        let expand = |text: &str| {
            expand::word(text, state, self.shared.escape).map_err(|source| StepError::Expand {
                text: text.to_owned(),
                source,
            })
        };
        let kind = match &mount.kind {
            MountKind::Bind {
                from,
                source,
                writable,
            } => MountKind::Bind {
                from: from.clone(),
                source: expand(source)?,
                writable: *writable,
            },
            MountKind::Cache {
                id,
                read_only,
                mode,
                uid,
                gid,
            } => MountKind::Cache {
                id: id.as_deref().map(expand).transpose()?,
                read_only: *read_only,
                mode: *mode,
                uid: *uid,
                gid: *gid,
            },
            other => other.clone(),
        };
        Ok(Mount {
            kind,
            target: expand(&mount.target)?,
        })
    }
}

/// A working directory that only a base image's configuration names may be missing.
fn ensure_cwd(root: &Root, cwd: &str) -> Result<(), StepError> {
    root.ensure_dir(Path::new(cwd), Mode::from_raw_mode(0o755))
        .map(drop)
        .map_err(io("create the working directory"))
}

fn command(state: &State, run: &Run) -> Command {
    let text = match &run.command {
        CommandLine::Exec(words) => {
            return Command {
                args: words.clone(),
                shown: words.join(" "),
                script: None,
            };
        }
        CommandLine::Shell(text) => text,
    };
    let with_shell = |text: String| {
        let args = [state.shell(), vec![text]].concat();
        Command {
            shown: args.join(" "),
            args,
            script: None,
        }
    };
    match run.heredocs.as_slice() {
        [] => with_shell(text.clone()),
        // Nothing but a heredoc: its text is the script.
        [only] if heredoc_word(text).is_some() => {
            let content = only.content();
            match content.starts_with("#!") {
                true => Command {
                    args: vec![content.clone()],
                    shown: content.clone(),
                    script: Some(content),
                },
                false => with_shell(content),
            }
        }
        // Part of a command: the shell reads it.
        several => {
            let mut full = text.clone();
            for heredoc in several {
                full.push('\n');
                full.push_str(&heredoc.body);
                full.push_str(&heredoc.name);
            }
            with_shell(full)
        }
    }
}

/// Runs the container; kills it when the build is cancelled.
fn execute(
    shared: &Arc<super::Shared>,
    request: RunRequest,
    reporter: &Reporter,
    step: &Arc<Step>,
    handle: &Handle,
) -> Result<i32, StepError> {
    if shared.cancel.is_cancelled() {
        return Err(StepError::Cancelled);
    }
    let (watched, id) = (Arc::clone(shared), request.id.clone());
    let watcher = handle.spawn(async move {
        watched.cancel.cancelled().await;
        loop {
            let (executor, id) = (Arc::clone(&watched.executor), id.clone());
            let _ = tokio::task::spawn_blocking(move || executor.kill(&id)).await;
            tokio::time::sleep(KILL_EVERY).await;
        }
    });
    let result = shared.executor.run(request, &mut |stream, data| {
        reporter.output(handle, step, stream, data)
    });
    watcher.abort();
    if shared.cancel.is_cancelled() {
        return Err(StepError::Cancelled);
    }
    Ok(result?)
}
