//! The daemon's side of a shim: one short connection per request.

use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::error::{RuntimeError, StartError};
use crate::logs::LogPosition;
use crate::protocol::{self, RelayedPort, Reply, Request};
use crate::spec::{ExecSpec, Resources};
use crate::stats::Stats;

/// How long a shim may take to tell its state; one that was left alone in the middle of a creation can hang.
const STATE_PATIENCE: Duration = Duration::from_secs(5);

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
///
/// A client that does not read holds the container's output back once 256 KiB wait for it, as a pipe would; if it
/// takes nothing for five minutes it is disconnected. The log is written before any client and misses nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRequest {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// A handle on the shim of one container: an id and paths. Cheap to clone; every call opens a connection.
#[derive(Clone, Debug)]
pub struct Shim {
    id: String,
    directory: PathBuf,
    cgroup: Cgroup,
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
    pub(crate) fn new(id: &str, directory: PathBuf, cgroup: Cgroup) -> Self {
        Shim {
            id: id.to_owned(),
            directory,
            cgroup,
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Also answers when the shim has ended with its container; the process ids are then 0.
    pub fn state(&self) -> Result<ShimState, RuntimeError> {
        match self.call_within(&Request::State, Some(STATE_PATIENCE)) {
            Ok((Reply::State(state), _)) => Ok(state),
            Ok((reply, _)) => Err(self.unexpected(reply)),
            Err(RuntimeError::ShimGone { .. }) => {
                let exit = self.recorded_exit()?.ok_or_else(|| self.gone())?;
                Ok(ShimState {
                    pid: 0,
                    shim_pid: 0,
                    started_at: None,
                    exit: Some(exit),
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Lets the created container run its program. That the program exists and may be executed was checked by
    /// [`crate::Runtime::create`]; what only executing it tells (a wrong format, a missing interpreter) is written to
    /// its standard error, and it ends with 255, as under Docker.
    pub fn start(&self) -> Result<(), StartError> {
        match self.call(&Request::Start)? {
            (Reply::Done, _) => Ok(()),
            (Reply::Failed(failure), _) => Err(failure.into_start_error(&self.id)),
            (reply, _) => Err(self.unexpected(reply).into()),
        }
    }

    /// Sends a signal to the container's init. [`RuntimeError::NotRunning`] once it has ended.
    pub fn kill(&self, signal: i32) -> Result<(), RuntimeError> {
        self.command(&Request::Kill { signal })
    }

    /// Sends a signal to every process of the container's cgroup.
    pub fn kill_all(&self, signal: i32) -> Result<(), RuntimeError> {
        self.cgroup
            .kill(signal)
            .map_err(|source| self.cgroup_error("signal the processes of", source))
    }

    /// Freezes every process of the container; returns when they stand.
    pub fn pause(&self) -> Result<(), RuntimeError> {
        self.cgroup
            .freeze(true)
            .map_err(|source| self.cgroup_error("freeze the processes of", source))
    }

    /// Lets frozen processes go on.
    pub fn resume(&self) -> Result<(), RuntimeError> {
        self.cgroup
            .freeze(false)
            .map_err(|source| self.cgroup_error("thaw the processes of", source))
    }

    /// Changes limits while it runs: those that are given, memory and swap always together.
    pub fn update(&self, resources: &Resources) -> Result<(), RuntimeError> {
        self.cgroup.update(resources)
    }

    /// Has the shim answer the container's questions for names, at `port` of [`havre_dns::ADDRESS`] in the network namespace
    /// `namespace`, from what `directory` says. Once it does, it goes on to the container's end.
    pub fn serve_names(&self, directory: &Path, namespace: &Path, port: u16) -> Result<(), RuntimeError> {
        self.command(&Request::ServeNames {
            directory: directory.to_path_buf(),
            namespace: namespace.to_path_buf(),
            port,
        })
    }

    /// Has the shim take connections at these ports of the host, instead of those it was told before, and lead them to the
    /// first of the container's addresses `targets` that accepts. It goes on to the container's end.
    pub fn relay(&self, ports: &[RelayedPort], targets: &[IpAddr]) -> Result<(), RuntimeError> {
        self.command(&Request::Relay {
            ports: ports.to_vec(),
            targets: targets.to_vec(),
        })
    }

    /// Sets the size of the container's terminal, in characters.
    pub fn resize(&self, width: u16, height: u16) -> Result<(), RuntimeError> {
        self.command(&Request::Resize { width, height })
    }

    /// Attaches to the streams. Output is delivered from now on; attach before [`Shim::start`] to miss nothing.
    pub fn attach(&self, request: AttachRequest) -> Result<UnixStream, RuntimeError> {
        Ok(self.attach_with(request, false)?.0)
    }

    /// As [`Shim::attach`], for a client that is shown the log first: up to the place that is given it has what the stream does
    /// not, and the stream has all from there on. No place is given where the output has ended, and by shims of before.
    pub fn attach_after_log(
        &self,
        request: AttachRequest,
    ) -> Result<(UnixStream, Option<LogPosition>), RuntimeError> {
        self.attach_with(request, true)
    }

    fn attach_with(
        &self,
        want: AttachRequest,
        after_log: bool,
    ) -> Result<(UnixStream, Option<LogPosition>), RuntimeError> {
        match self.call(&Request::Attach { want, after_log })? {
            (Reply::Done, stream) => Ok((stream, None)),
            (Reply::Attached { position }, stream) => Ok((stream, Some(position))),
            (reply, _) => Err(self.unexpected(reply)),
        }
    }

    /// Runs another process in the container; `spec.attach` chooses the streams of [`Exec::stream`].
    pub fn exec(&self, spec: &ExecSpec) -> Result<Exec, StartError> {
        self.exec_limited(spec, None)
    }

    fn exec_limited(&self, spec: &ExecSpec, limit: Option<Duration>) -> Result<Exec, StartError> {
        match self.call_within(&Request::Exec(Box::new(spec.clone())), limit)? {
            (Reply::Exec { pid }, stream) => {
                let attached = spec.attach != AttachRequest::default();
                Ok(Exec {
                    id: spec.id.clone(),
                    pid,
                    stream: attached.then_some(stream),
                })
            }
            (Reply::Failed(failure), _) => Err(failure.into_start_error(&self.id)),
            (reply, _) => Err(self.unexpected(reply).into()),
        }
    }

    pub fn exec_resize(&self, exec: &str, width: u16, height: u16) -> Result<(), RuntimeError> {
        self.command(&Request::ExecResize {
            exec: exec.to_owned(),
            width,
            height,
        })
    }

    pub fn exec_kill(&self, exec: &str, signal: i32) -> Result<(), RuntimeError> {
        self.command(&Request::ExecKill {
            exec: exec.to_owned(),
            signal,
            group: false,
        })
    }

    /// Kills an exec and what it started that stayed in its process group.
    pub fn exec_end(&self, exec: &str) -> Result<(), RuntimeError> {
        self.command(&Request::ExecKill {
            exec: exec.to_owned(),
            signal: rustix::process::Signal::KILL.as_raw(),
            group: true,
        })
    }

    /// As [`Shim::exec`], but gives up with an error of kind `WouldBlock` when the shim does not answer in time.
    pub fn exec_within(&self, spec: &ExecSpec, limit: Duration) -> Result<Exec, StartError> {
        self.exec_limited(spec, Some(limit))
    }

    /// Asks for the end of an exec without waiting for it: what the shim sends on this connection until it closes it is
    /// for [`Shim::exec_exit`].
    pub fn exec_ending(&self, exec: &str) -> Result<UnixStream, RuntimeError> {
        let request = Request::ExecWait {
            exec: exec.to_owned(),
        };
        let socket = self.socket();
        let ask = || {
            let stream = protocol::connect(&socket)?;
            protocol::send(&stream, &request)?;
            Ok(stream)
        };
        ask().map_err(|source| self.socket_error(source))
    }

    /// How the exec ended, from all that came on the connection of [`Shim::exec_ending`].
    pub fn exec_exit(&self, mut answer: &[u8]) -> Result<ExitStatus, RuntimeError> {
        match protocol::read(&mut answer).map_err(|source| self.socket_error(source))? {
            Reply::Exit(exit) => Ok(exit),
            reply => Err(self.unexpected(reply)),
        }
    }

    /// Blocks until the exec has ended. `oom_killed` is false for execs. The shim remembers the last 128.
    pub fn exec_wait(&self, exec: &str) -> Result<ExitStatus, RuntimeError> {
        match self.call(&Request::ExecWait {
            exec: exec.to_owned(),
        })? {
            (Reply::Exit(exit), _) => Ok(exit),
            (reply, _) => Err(self.unexpected(reply)),
        }
    }

    /// Blocks until the container has ended and its output is in the log, also when it ended long ago.
    /// [`RuntimeError::ShimGone`] if the shim was killed.
    pub fn wait(&self) -> Result<ExitStatus, RuntimeError> {
        match self.call(&Request::Wait) {
            Ok((Reply::Exit(exit), _)) => Ok(exit),
            Ok((reply, _)) => Err(self.unexpected(reply)),
            Err(RuntimeError::ShimGone { .. }) => self.recorded_exit()?.ok_or_else(|| self.gone()),
            Err(error) => Err(error),
        }
    }

    /// Process ids in the container, in the host's namespace; empty once it has ended.
    pub fn pids(&self) -> Result<Vec<i32>, RuntimeError> {
        match self.cgroup.pids() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result.map_err(|source| self.cgroup_error("list the processes of", source)),
        }
    }

    /// Read from the cgroup directly; zeros once the container is gone.
    pub fn stats(&self) -> Result<Stats, RuntimeError> {
        Ok(self.cgroup.stats())
    }

    /// Asks the shim to end and waits for it; not an error if it is gone.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        let stream = match protocol::connect(&self.socket()) {
            Ok(stream) => stream,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let sent = protocol::send(&stream, &Request::Shutdown);
        match sent.and_then(|()| protocol::receive::<Reply>(&stream)) {
            Ok(_) => Ok(()),
            // It ends by closing the connection.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.kill_hung(),
            Err(_) => Ok(()),
        }
    }

    /// Ends a shim that does not answer. It is known by its command line only: it did not live to tell its process id.
    fn kill_hung(&self) -> io::Result<()> {
        for entry in fs_err::read_dir("/proc")?.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let Ok(line) = fs_err::read(entry.path().join("cmdline")) else {
                continue;
            };
            let mut words = line
                .split(|byte| *byte == 0)
                .rev()
                .filter(|word| !word.is_empty());
            if words.next() == Some(self.id.as_bytes())
                && line.starts_with(b"havre\0")
                && let Some(pid) = rustix::process::Pid::from_raw(pid)
            {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
            }
        }
        Ok(())
    }

    /// The exit status on disk, if the container has ended.
    pub(crate) fn recorded_exit(&self) -> Result<Option<ExitStatus>, RuntimeError> {
        let path = self.directory.join("exit.json");
        match fs_err::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| RuntimeError::Protocol {
                    id: self.id.clone(),
                    detail: format!("{}: {error}", path.display()),
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RuntimeError::Io {
                action: "read",
                path,
                source,
            }),
        }
    }

    fn socket(&self) -> PathBuf {
        socket_path(&self.directory)
    }

    fn command(&self, request: &Request) -> Result<(), RuntimeError> {
        match self.call(request) {
            Ok((Reply::Done, _)) => Ok(()),
            Ok((reply, _)) => Err(self.unexpected(reply)),
            // The shim ends soon after its container.
            Err(RuntimeError::ShimGone { .. }) if self.recorded_exit()?.is_some() => {
                Err(RuntimeError::NotRunning { id: self.id.clone() })
            }
            Err(error) => Err(error),
        }
    }

    fn call(&self, request: &Request) -> Result<(Reply, UnixStream), RuntimeError> {
        self.call_within(request, None)
    }

    /// With a limit, a shim that does not answer in time is as good as gone, and an error of kind `WouldBlock`.
    fn call_within(
        &self,
        request: &Request,
        limit: Option<Duration>,
    ) -> Result<(Reply, UnixStream), RuntimeError> {
        let socket = self.socket();
        let attempt = || {
            let stream = protocol::connect(&socket)?;
            stream.set_read_timeout(limit)?;
            protocol::send(&stream, request)?;
            let reply = protocol::receive(&stream)?;
            Ok((reply, stream))
        };
        attempt().map_err(|source| self.socket_error(source))
    }

    fn socket_error(&self, source: io::Error) -> RuntimeError {
        if is_gone(&source) {
            self.gone()
        } else {
            RuntimeError::Io {
                action: "talk to the shim at",
                path: self.socket(),
                source,
            }
        }
    }

    fn gone(&self) -> RuntimeError {
        RuntimeError::ShimGone { id: self.id.clone() }
    }

    fn unexpected(&self, reply: Reply) -> RuntimeError {
        match reply {
            Reply::Failed(failure) => failure.into_runtime_error(&self.id),
            reply => RuntimeError::Protocol {
                id: self.id.clone(),
                detail: format!("{reply:?}"),
            },
        }
    }

    fn cgroup_error(&self, action: &'static str, source: io::Error) -> RuntimeError {
        RuntimeError::Io {
            action,
            path: self.directory.clone(),
            source,
        }
    }
}

pub(crate) fn socket_path(directory: &Path) -> PathBuf {
    directory.join("sock")
}

/// Whether an error of the socket means that nobody is behind it any more.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}
