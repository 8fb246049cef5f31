//! What can go wrong between a specification and a running process.

use std::io;
use std::path::PathBuf;

/// A failure of the runtime itself: the shim, its socket, its files, the cgroups.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A file or directory of the runtime could not be used.
    #[error("{action} {path}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The shim process could not be started.
    #[error("start the shim of container {id}")]
    Spawn { id: String, source: io::Error },
    /// The shim is gone (it was killed, or the container was deleted).
    #[error("container {id} has no running shim")]
    ShimGone { id: String },
    /// The shim answered something that is not the protocol.
    #[error("unexpected answer from the shim of container {id}: {detail}")]
    Protocol { id: String, detail: String },
    /// The shim understood and refused.
    #[error("{message}")]
    Refused { id: String, message: String },
    /// A container of this id exists in the state directory.
    #[error("container {id} exists in the runtime already")]
    Exists { id: String },
    /// The container's process has ended already (kill, resize and exec need a running one).
    #[error("container {id} is not running")]
    NotRunning { id: String },
    /// No exec of this id is known to the shim.
    #[error("no such exec: {exec}")]
    NoSuchExec { exec: String },
    /// The specification asks for something impossible; nothing was started.
    #[error(transparent)]
    Spec(#[from] crate::spec::SpecError),
    /// The kernel does not take a limit.
    #[error("failed to write \"{value}\" to {file}{hint}")]
    Limit {
        file: String,
        value: String,
        /// What it may be for, in words; empty if nothing is known.
        hint: String,
        source: io::Error,
    },
    /// Several things went wrong while removing; everything that could be removed was.
    #[error("remove container {id}: {}", .failures.join("; "))]
    Delete { id: String, failures: Vec<String> },
}

/// Why a container or an exec did not start. [`StartError::exit_code`] is what Docker's clients report for it.
///
/// The messages are the last part of runc's (`exec: "foo": executable file not found in $PATH`), because scripts and
/// people match them; what Docker puts before and after them is the engine's business.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program does not exist: exit code 127.
    #[error("{message}")]
    NotFound { arg: String, message: String },
    /// The program exists but cannot be executed: exit code 126.
    #[error("{message}")]
    NotExecutable { arg: String, message: String },
    /// The working directory cannot be entered: 127 if it does not exist, else 126.
    #[error("{message}")]
    WorkingDirectory { path: String, message: String },
    /// A mount could not be made: 125.
    #[error("{message}")]
    Mount { message: String },
    /// Making the namespaces, cgroups or security settings failed.
    #[error("{message}")]
    Setup { message: String },
    /// Anything of the runtime itself.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl StartError {
    /// The exit status `docker run` ends with for this failure: 127, 126 or 125; an exec's stored exit code likewise.
    pub fn exit_code(&self) -> i32 {
        match self {
            StartError::NotFound { .. } => 127,
            StartError::NotExecutable { .. } => 126,
            StartError::WorkingDirectory { message, .. }
                if message.ends_with("no such file or directory") =>
            {
                127
            }
            StartError::WorkingDirectory { .. } => 126,
            StartError::Mount { .. } | StartError::Setup { .. } | StartError::Runtime(_) => 125,
        }
    }
}

/// An error of the operating system in the words Go programs use: `permission denied`.
pub(crate) fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}
