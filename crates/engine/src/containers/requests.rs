//! Arguments and answers of the container service.

use std::collections::BTreeMap;

use havre_oci::Digest;
use havre_store::Operation;
use jiff::Timestamp;

use super::{Config, DetachKeys, EndpointConfig, HostConfig, Output, Resources, RestartPolicy};
use crate::Filters;

/// `create`
#[derive(Debug, Clone, Default)]
pub struct CreateContainer {
    /// Without or with a leading slash; `None` picks one.
    pub name: Option<String>,
    pub config: Config,
    pub host_config: HostConfig,
    /// By network name or id.
    pub networks: BTreeMap<String, EndpointConfig>,
    /// `os[/arch[/variant]]`; must match the image.
    pub platform: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Created {
    pub id: String,
    pub warnings: Vec<String>,
}

/// `stop` and `restart`
#[derive(Debug, Clone, Default)]
pub struct StopOptions {
    /// Name or number; `None`: the container's.
    pub signal: Option<String>,
    /// Seconds until SIGKILL; -1 never; `None`: the container's, else 10.
    pub timeout: Option<i64>,
}

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitCondition {
    /// Not running; at once when it isn't.
    #[default]
    NotRunning,
    /// The next exit, whatever the state is now.
    NextExit,
    /// Removed.
    Removed,
}

/// A registered wait: whatever happens from its creation on is not missed.
pub struct Waiter {
    pub(crate) receiver: tokio::sync::oneshot::Receiver<WaitOutcome>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitOutcome {
    pub exit_code: i64,
    /// Why waiting failed (removal error), worded for the user.
    pub error: Option<String>,
}

impl Waiter {
    /// Blocks until the condition holds.
    pub async fn outcome(self) -> crate::Result<WaitOutcome> {
        self.receiver.await.map_err(|_| {
            crate::EngineError::new(crate::ErrorKind::Unavailable, "the engine is shutting down")
        })
    }
}

/// `attach`
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Follow what comes from now on.
    pub stream: bool,
    /// First what was logged so far.
    pub logs: bool,
    pub detach_keys: Option<DetachKeys>,
}

/// `logs`
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    pub stdout: bool,
    pub stderr: bool,
    pub follow: bool,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Each line starts with its RFC 3339 time.
    pub timestamps: bool,
    /// Attributes after the time (`details`).
    pub details: bool,
    /// The last so many lines; `None`: all.
    pub tail: Option<usize>,
}

/// The answer of `logs`.
pub struct Logs {
    /// A terminal: raw bytes instead of frames.
    pub tty: bool,
    pub output: Output,
}

/// `ps`
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    pub all: bool,
    /// The newest so many, whatever their state.
    pub limit: Option<usize>,
    pub size: bool,
    /// ancestor before expose exited health id is-task label name network publish since status volume
    pub filters: Filters,
}

/// `rm`
#[derive(Debug, Clone, Default)]
pub struct RemoveOptions {
    /// Kill it first.
    pub force: bool,
    /// Its anonymous volumes too.
    pub volumes: bool,
    /// Only a link.
    pub link: bool,
    /// It can be brought back as part of this; `None`: it cannot.
    pub operation: Option<Operation>,
}

#[derive(Debug, Clone, Default)]
pub struct ContainersPruned {
    pub ids: Vec<String>,
    pub reclaimed: u64,
}

/// `commit`
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// `name[:tag]`
    pub reference: Option<String>,
    pub author: String,
    pub message: String,
    pub pause: bool,
    /// Dockerfile lines: CMD ENTRYPOINT ENV EXPOSE LABEL ONBUILD USER VOLUME WORKDIR STOPSIGNAL HEALTHCHECK SHELL.
    pub changes: Vec<String>,
    /// The configuration to commit instead of the container's own.
    pub config: Option<Config>,
}

/// `update`
#[derive(Debug, Clone, Default)]
pub struct UpdateContainer {
    /// Only non-default limits are changed.
    pub resources: Resources,
    pub restart_policy: Option<RestartPolicy>,
}

/// `exec` create
#[derive(Debug, Clone, Default)]
pub struct ExecConfig {
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    pub tty: bool,
    /// height, width
    pub console_size: Option<[u16; 2]>,
    pub detach_keys: Option<DetachKeys>,
    pub env: Vec<String>,
    pub cmd: Vec<String>,
    pub privileged: bool,
    pub user: String,
    pub working_dir: String,
}

/// `exec` start
#[derive(Debug, Clone, Default)]
pub struct ExecStart {
    pub detach: bool,
    /// height, width
    pub console_size: Option<[u16; 2]>,
}

/// `exec` inspect
#[derive(Debug, Clone)]
pub struct ExecView {
    pub id: String,
    pub container_id: String,
    pub running: bool,
    /// `None` until it ended.
    pub exit_code: Option<i64>,
    /// 0 before the start.
    pub pid: i64,
    pub can_remove: bool,
    pub config: ExecConfig,
}

/// `GET archive` header and `HEAD archive`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    pub name: String,
    pub size: u64,
    /// `st_mode` bits of the type and the permissions; the API translates to Go's.
    pub mode: u32,
    pub mtime: Timestamp,
    /// Where a symbolic link points (resolved within the container), else empty.
    pub link_target: String,
}

/// `PUT archive`
#[derive(Debug, Clone, Copy, Default)]
pub struct ArchivePut {
    /// Refuse to replace a directory by a non-directory and the reverse.
    pub no_overwrite_dir_non_dir: bool,
    /// Everything belongs to the container's user (if its configuration names one); otherwise as the archive says.
    pub copy_uid_gid: bool,
}

/// The answer of `commit`.
#[derive(Debug, Clone)]
pub struct Committed {
    pub image: Digest,
}
