//! Between daemon and shim: a 4-byte little-endian length and that many bytes of JSON, one request and one reply per
//! connection. After the reply to an attach or an attached exec the connection is the stream itself.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{RuntimeError, StartError};
use crate::external::ExternalRuntime;
use crate::logs::LogPosition;
use crate::shim_client::{AttachRequest, ExitStatus, ShimState};
use crate::spec::{ExecSpec, LogConfig, Stage};

/// Arguments and environment together are at most 2 MiB for the kernel; JSON may double that.
pub(crate) const MAX_MESSAGE: usize = 8 << 20;
/// Socket addresses are 108 bytes with their NUL.
const MAX_SOCKET_PATH: usize = 107;

/// What a shim is started with, over its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) id: String,
    /// The container's directory in the state directory.
    pub(crate) directory: PathBuf,
    pub(crate) cgroup: String,
    pub(crate) tty: bool,
    pub(crate) tty_size: Option<(u16, u16)>,
    pub(crate) stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) init: bool,
    /// Owner of the streams on the host, so that the program can open `/dev/stdout` again.
    pub(crate) uid: u32,
    /// The container's processes do not die with its init: kill them.
    pub(crate) shared_pids: bool,
    pub(crate) device_rules: Vec<serde_json::Value>,
    /// Bounding, permitted and effective set.
    pub(crate) capabilities: Vec<String>,
    pub(crate) no_new_privileges: bool,
    /// Flags of the seccomp filter in `bundle/seccomp.bpf`, if there is one.
    pub(crate) seccomp_flags: Option<u32>,
    pub(crate) log: LogConfig,
    /// Of a container in a user namespace.
    #[serde(default)]
    pub(crate) stage: Option<Stage>,
    /// Who makes the processes, if not the shim itself.
    #[serde(default)]
    pub(crate) runtime: Option<ExternalRuntime>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    State,
    Start,
    Kill {
        signal: i32,
    },
    Resize {
        width: u16,
        height: u16,
    },
    Attach {
        #[serde(flatten)]
        want: AttachRequest,
        /// The client reads the log first.
        #[serde(default)]
        after_log: bool,
    },
    Exec(Box<ExecSpec>),
    ExecResize {
        exec: String,
        width: u16,
        height: u16,
    },
    ExecKill {
        exec: String,
        signal: i32,
        /// Its whole process group: every exec leads one.
        #[serde(default)]
        group: bool,
    },
    ExecWait {
        exec: String,
    },
    Wait,
    /// Answers the container's questions for names, from now on.
    ServeNames {
        /// Of `havre_dns::Directory`.
        directory: PathBuf,
        /// The container's network namespace.
        namespace: PathBuf,
        port: u16,
    },
    /// Takes connections at these ports of the host, and at no others any more, and leads them to the container.
    Relay {
        ports: Vec<RelayedPort>,
        /// The container's addresses, the one to be tried first in front.
        targets: Vec<IpAddr>,
    },
    /// Kills the container if it runs and ends the shim.
    Shutdown,
}

/// A published port that is relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayedPort {
    /// UDP, not TCP.
    pub datagram: bool,
    pub host_ip: IpAddr,
    pub host_port: u16,
    pub container_port: u16,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    /// Where in the log the stream joins.
    Attached {
        position: LogPosition,
    },
    State(ShimState),
    Exit(ExitStatus),
    Exec {
        pid: i32,
    },
    Failed(Failure),
}

/// Errors as they travel.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    NotFound { arg: String, message: String },
    NotExecutable { arg: String, message: String },
    WorkingDirectory { path: String, message: String },
    Mount { message: String },
    Setup { message: String },
    NotRunning,
    NoSuchExec { exec: String },
    Refused { message: String },
}

impl Failure {
    pub(crate) fn into_start_error(self, id: &str) -> StartError {
        match self {
            Failure::NotFound { arg, message } => StartError::NotFound { arg, message },
            Failure::NotExecutable { arg, message } => StartError::NotExecutable { arg, message },
            Failure::WorkingDirectory { path, message } => StartError::WorkingDirectory { path, message },
            Failure::Mount { message } => StartError::Mount { message },
            Failure::Setup { message } => StartError::Setup { message },
            other => StartError::Runtime(other.into_runtime_error(id)),
        }
    }

    pub(crate) fn into_runtime_error(self, id: &str) -> RuntimeError {
        match self {
            Failure::NotRunning => RuntimeError::NotRunning { id: id.to_owned() },
            Failure::NoSuchExec { exec } => RuntimeError::NoSuchExec { exec },
            Failure::NotFound { message, .. }
            | Failure::NotExecutable { message, .. }
            | Failure::WorkingDirectory { message, .. }
            | Failure::Mount { message }
            | Failure::Setup { message }
            | Failure::Refused { message } => RuntimeError::Refused {
                id: id.to_owned(),
                message,
            },
        }
    }
}

/// A message as it is sent.
pub(crate) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "message too long"));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(frame)
}

pub(crate) fn send(mut stream: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    stream.write_all(&encode(message)?)
}

pub(crate) fn receive<T: for<'de> Deserialize<'de>>(mut stream: &UnixStream) -> io::Result<T> {
    read(&mut stream)
}

/// One message from whatever it comes from.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(stream: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_MESSAGE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message too long"));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(serde_json::from_slice(&message)?)
}

/// Connects to the socket at `path`, however long the path is.
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    with_short_path(path, |path| UnixStream::connect(path))
}

/// Listens at `path`, however long it is.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    with_short_path(path, |path| UnixListener::bind(path))
}

fn with_short_path<T>(path: &Path, use_path: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    use rustix::fs::{Mode, OFlags};
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return use_path(path);
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = rustix::fs::open(
        directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    use_path(&Path::new(&havre_sys::process::fd_path(&directory)).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_in_deep_directories() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(120)).join("e".repeat(120));
        fs_err::create_dir_all(&deep).unwrap();
        let listener = listen(&deep.join("sock")).unwrap();
        let client = connect(&deep.join("sock")).unwrap();
        let (server, _) = listener.accept().unwrap();
        send(&client, &Request::Kill { signal: 9 }).unwrap();
        assert!(matches!(receive(&server).unwrap(), Request::Kill { signal: 9 }));
    }

    #[test]
    fn hostile_lengths_are_refused() {
        let (client, server) = UnixStream::pair().unwrap();
        (&client).write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(
            receive::<Request>(&server).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
