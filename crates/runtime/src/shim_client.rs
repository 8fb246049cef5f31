//! The daemon's side of a shim: one short connection per request.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{RuntimeError, StartError};
use crate::spec::ExecSpec;
use crate::stats::Stats;

/// How a container or an exec ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// 0 … 255; 128 + signal number when a signal ended it.
    pub code: i32,
    /// The kernel killed something in the container's cgroup for want of memory.
    pub oom_killed: bool,
    pub at: jiff::Timestamp,
}

/// What a shim knows of its container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimState {
    /// Process id of the container's init in the host's namespace.
    pub pid: i32,
    pub shim_pid: i32,
    /// When [`Shim::start`] was answered; `None` while only created.
    pub started_at: Option<jiff::Timestamp>,
    pub exit: Option<ExitStatus>,
}

/// Which streams a client wants. The connection then carries Docker's attach protocol byte for byte: without a
/// terminal the shim sends stdcopy frames (8-byte header: stream 1 or 2, three zeros, big-endian length), with one
/// raw bytes; what the client sends is standard input, a half-close (`shutdown(Write)`) its end. Closing detaches.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct AttachRequest {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// A handle on the shim of one container: an id and a socket path. Cheap to clone; every call opens a connection.
#[derive(Clone, Debug)]
pub struct Shim {
    id: String,
    socket: PathBuf,
}

/// A started exec.
#[derive(Debug)]
pub struct Exec {
    pub id: String,
    /// Process id in the host's namespace.
    pub pid: i32,
    /// The attached streams, in the form [`AttachRequest`] describes; `None` if none was asked for.
    pub stream: Option<UnixStream>,
}

impl Shim {
    pub fn id(&self) -> &str {
        &self.id
    }
    pub fn state(&self) -> Result<ShimState, RuntimeError> {
        let _ = &self.socket;
        todo!()
    }
    /// Runs the program. Returns once it has been executed, or why it could not be.
    pub fn start(&self) -> Result<(), StartError> {
        todo!()
    }
    /// Sends a signal to the container's init. [`RuntimeError::NotRunning`] once it has ended.
    pub fn kill(&self, _signal: i32) -> Result<(), RuntimeError> {
        todo!()
    }
    /// Sends a signal to every process of the container's cgroup.
    pub fn kill_all(&self, _signal: i32) -> Result<(), RuntimeError> {
        todo!()
    }
    /// Sets the size of the container's terminal, in characters.
    pub fn resize(&self, _width: u16, _height: u16) -> Result<(), RuntimeError> {
        todo!()
    }
    /// Attaches to the streams. Output is delivered from now on; attach before [`Shim::start`] to miss nothing.
    pub fn attach(&self, _request: AttachRequest) -> Result<UnixStream, RuntimeError> {
        todo!()
    }
    /// Runs another process in the container; `spec.attach` chooses the streams of [`Exec::stream`].
    pub fn exec(&self, _spec: &ExecSpec) -> Result<Exec, StartError> {
        todo!()
    }
    pub fn exec_resize(&self, _exec: &str, _width: u16, _height: u16) -> Result<(), RuntimeError> {
        todo!()
    }
    pub fn exec_kill(&self, _exec: &str, _signal: i32) -> Result<(), RuntimeError> {
        todo!()
    }
    /// Blocks until the exec has ended. `oom_killed` is false for execs.
    pub fn exec_wait(&self, _exec: &str) -> Result<ExitStatus, RuntimeError> {
        todo!()
    }
    /// Blocks until the container has ended and its output is in the log, also when it ended long ago.
    /// [`RuntimeError::ShimGone`] if the shim was killed.
    pub fn wait(&self) -> Result<ExitStatus, RuntimeError> {
        todo!()
    }
    /// Process ids in the container, in the host's namespace.
    pub fn pids(&self) -> Result<Vec<i32>, RuntimeError> {
        todo!()
    }
    pub fn stats(&self) -> Result<Stats, RuntimeError> {
        todo!()
    }
}
