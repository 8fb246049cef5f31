//! What the builder needs from whoever runs containers.

use std::path::PathBuf;

use havre_store::Shift;

use crate::event::Stream;
use crate::request::Resources;

/// One `RUN`: a container to be made, run to its end, and forgotten.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// 64 hex digits, unique to this step.
    pub id: String,
    /// The root file system: an overlay, already mounted, read-write.
    pub rootfs: PathBuf,
    /// Program and arguments, never empty.
    pub args: Vec<String>,
    /// Complete environment, `NAME=value`, `PATH` included.
    pub env: Vec<String>,
    /// Absolute; exists in the root file system.
    pub cwd: String,
    /// As in the image's `User`: empty (root), `name`, `uid`, `name:group`, `uid:gid`. Resolved by the runtime
    /// in the root file system.
    pub user: String,
    /// As in [`BuildRequest::network`](crate::BuildRequest::network).
    pub network: String,
    pub extra_hosts: Vec<String>,
    pub resources: Resources,
    pub mounts: Vec<RunMount>,
}

/// A mount only this step sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// Absolute path in the container. It exists in the root file system already (the builder makes it and
    /// removes it again), so the runtime only mounts.
    pub target: String,
    pub source: RunMountSource,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunMountSource {
    /// A directory or file of the host that the builder owns; bind-mounted.
    Bind(PathBuf),
    /// A tmpfs; `size` in bytes if limited.
    Tmpfs { size: Option<u64> },
}

/// Why a step could not run at all.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The container could not be created or started; the text is worded as Docker's ("OCI runtime create
    /// failed: …").
    #[error("{message}")]
    Start { message: String },
    #[error("the step was cancelled")]
    Cancelled,
    #[error("{context}")]
    Io { context: String, source: std::io::Error },
}

/// Runs containers for `RUN`. Called from blocking threads.
pub trait Executor: Send + Sync + 'static {
    /// Creates the container, starts it, hands every piece of output to `output` as it comes, waits for the end
    /// and removes everything but the root file system. Returns the exit code (128 + n for a signal).
    fn run(&self, request: RunRequest, output: &mut dyn FnMut(Stream, &[u8])) -> Result<i32, ExecError>;

    /// With whose owners a root file system is to be mounted for [`run`](Executor::run); `None` is as on the disk.
    fn shift(&self) -> Option<Shift<'_>> {
        None
    }

    /// Kills the container of a running [`run`](Executor::run) so that it returns soon. Comes from another
    /// thread, possibly before the container exists; the builder repeats it until `run` returns. Unknown ids
    /// are no error.
    fn kill(&self, id: &str);
}
