//! The loop of the shim: requests, signals and streams.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use havre_sys::process::{self, IdleMemory};
use havre_sys::tty;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::container::{self, Made};
use super::relay::Relay;
use super::stdio::{Source, Streams, earlier};
use crate::cgroup::Cgroup;
use crate::protocol::{self, Failure, MAX_MESSAGE, Reply, Request, Setup};
use crate::shim_client::{AttachRequest, ExitStatus, ShimState};
use crate::spec::ExecSpec;

/// Connections at one time, waiting ones included.
const MAX_CONNECTIONS: usize = 1024;
/// How long a client may take to send its request or to take its reply.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Ended execs whose status is kept.
const MAX_ENDED: usize = 128;
/// When nothing has happened for so long, memory that work needed is given back.
const IDLE: Duration = Duration::from_millis(500);

pub(super) struct Server {
    setup: Setup,
    listener: UnixListener,
    children: OwnedFd,
    container: Made,
    pid: i32,
    started_at: Option<jiff::Timestamp>,
    /// The init has been reaped.
    ended: Option<ExitStatus>,
    /// The status is on disk and all output in the log.
    recorded: bool,
    streams: Streams,
    execs: Vec<ExecProcess>,
    ended_execs: VecDeque<(String, ExitStatus)>,
    serial: u64,
    connections: Vec<Connection>,
    /// Who waits for the container's end.
    waiting: Vec<UnixStream>,
    names: Option<havre_dns::Server>,
    relay: Relay,
    busy: bool,
    /// To be given back before the next rest.
    idle: Option<IdleMemory>,
    done: bool,
}

struct ExecProcess {
    id: String,
    pid: i32,
    streams: Streams,
    ended: Option<ExitStatus>,
    waiting: Vec<UnixStream>,
}

/// A client whose request is not complete yet.
struct Connection {
    socket: UnixStream,
    received: Vec<u8>,
    since: Instant,
}

/// What a poll entry was for.
#[derive(Clone, Copy)]
enum Watched {
    Listener,
    Children,
    Connection(usize),
    Waiting(usize),
}

impl Server {
    pub(super) fn new(
        setup: Setup,
        listener: UnixListener,
        children: OwnedFd,
        container: Made,
        pid: i32,
        streams: Streams,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Server {
            setup,
            listener,
            children,
            container,
            pid,
            started_at: None,
            ended: None,
            recorded: false,
            streams,
            execs: Vec::new(),
            ended_execs: VecDeque::new(),
            serial: 0,
            connections: Vec::new(),
            waiting: Vec::new(),
            names: None,
            relay: Relay::default(),
            busy: true,
            idle: None,
            done: false,
        })
    }

    pub(super) fn state(&self) -> ShimState {
        ShimState {
            pid: self.pid,
            shim_pid: rustix::process::getpid().as_raw_pid(),
            started_at: self.started_at,
            // Known to others only once it is on disk and the log is complete.
            exit: self.ended.clone().filter(|_| self.recorded),
        }
    }

    pub(super) fn serve(mut self) -> io::Result<()> {
        // The container may have ended while it was created.
        self.reap();
        while !self.finished() {
            self.turn()?;
            self.advance();
        }
        Ok(())
    }

    fn finished(&self) -> bool {
        self.done
            || (self.recorded
                && self.streams.finished()
                && self.execs.is_empty()
                && self.connections.is_empty()
                && self.waiting.is_empty())
    }

    /// Waits for something to happen and handles it.
    fn turn(&mut self) -> io::Result<()> {
        let mut fds = vec![
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.children, PollFlags::IN),
        ];
        let mut watched = vec![Watched::Listener, Watched::Children];
        for (index, connection) in self.connections.iter().enumerate() {
            fds.push(PollFd::new(&connection.socket, PollFlags::IN));
            watched.push(Watched::Connection(index));
        }
        for (index, socket) in self.waiting.iter().enumerate() {
            fds.push(PollFd::new(socket, PollFlags::empty()));
            watched.push(Watched::Waiting(index));
        }
        let mut timeout = (!self.connections.is_empty()).then_some(CLIENT_TIMEOUT);
        if self.busy {
            timeout = earlier(timeout, Some(IDLE));
        }
        // The streams of the container, then those of each exec.
        let mut sources = Vec::new();
        let mut ends = Vec::new();
        for streams in std::iter::once(&self.streams).chain(self.execs.iter().map(|exec| &exec.streams)) {
            timeout = earlier(timeout, streams.watch(&mut fds, &mut sources));
            ends.push(sources.len());
        }
        if let Some(names) = &self.names {
            timeout = earlier(timeout, names.watch(&mut fds));
        }
        timeout = earlier(timeout, self.relay.watch(&mut fds));

        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs() as _,
            tv_nsec: timeout.subsec_nanos() as _,
        });
        if let Some(idle) = self.idle.take() {
            idle.release();
        }
        let count = match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let events: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        if count == 0 && self.busy {
            self.busy = false;
            self.idle = Some(IdleMemory::find());
        } else if count > 0 {
            self.busy = true;
        }

        let (control, stream_events) = events.split_at(watched.len());
        let (stream_events, name_events) = stream_events.split_at(sources.len());
        let (name_events, relay_events) = name_events.split_at(name_events.len() - self.relay.watched());
        if let Some(names) = &mut self.names {
            names.handle(name_events);
        }
        self.relay.handle(relay_events);
        let mut start = 0;
        for (index, end) in ends.iter().enumerate() {
            let ready: Vec<(Source, PollFlags)> = sources[start..*end]
                .iter()
                .zip(&stream_events[start..*end])
                .filter(|(_, events)| !events.is_empty())
                .map(|(source, events)| (*source, *events))
                .collect();
            start = *end;
            match index.checked_sub(1) {
                None => self.streams.handle(&ready),
                Some(exec) => self.execs[exec].streams.handle(&ready),
            }
        }

        let mut ready_connections = Vec::new();
        let mut gone = Vec::new();
        let mut accept = false;
        for (watched, events) in watched.iter().zip(control) {
            if events.is_empty() {
                continue;
            }
            match *watched {
                Watched::Listener => accept = true,
                Watched::Children => self.reap(),
                Watched::Connection(index) => ready_connections.push(index),
                Watched::Waiting(index) => gone.push(index),
            }
        }
        for index in gone.into_iter().rev() {
            self.waiting.swap_remove(index);
        }
        for index in ready_connections.into_iter().rev() {
            let connection = self.connections.swap_remove(index);
            self.read_request(connection);
        }
        self.connections
            .retain(|connection| connection.since.elapsed() < CLIENT_TIMEOUT);
        if accept {
            self.accept();
        }
        Ok(())
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            if self.connections.len() + self.waiting.len() >= MAX_CONNECTIONS {
                continue;
            }
            if socket.set_nonblocking(true).is_ok() {
                let connection = Connection {
                    socket,
                    received: Vec::new(),
                    since: Instant::now(),
                };
                // The request is usually there already.
                self.read_request(connection);
            }
        }
    }

    fn read_request(&mut self, mut connection: Connection) {
        let mut buffer = vec![0; 16 << 10];
        loop {
            // Not a byte more than the request: what follows it belongs to the stream.
            let received = connection.received.len();
            let wanted = match connection.received.first_chunk::<4>() {
                None => 4 - received,
                Some(length) => match u32::from_le_bytes(*length) as usize {
                    length if length > MAX_MESSAGE => return,
                    length if 4 + length == received => break,
                    length => 4 + length - received,
                },
            };
            let wanted = wanted.min(buffer.len());
            match (&connection.socket).read(&mut buffer[..wanted]) {
                Ok(0) => return,
                Ok(read) => connection.received.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.connections.push(connection);
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
        match serde_json::from_slice(&connection.received[4..]) {
            Ok(request) => self.handle(request, connection.socket),
            Err(error) => {
                let message = format!("request not understood: {error}");
                reply(&connection.socket, &Reply::Failed(Failure::Refused { message }));
            }
        }
    }

    fn handle(&mut self, request: Request, socket: UnixStream) {
        let answer = match request {
            Request::State => Reply::State(self.state()),
            Request::Start => done(self.start()),
            Request::Kill { signal } => done(self.kill(signal)),
            Request::Resize { width, height } => done(resize(&self.streams, width, height)),
            Request::Attach { want, after_log } => {
                let position = self.streams.log_position().filter(|_| after_log);
                match position {
                    Some(position) if reply(&socket, &Reply::Attached { position }) => {
                        let _ = self.streams.attach_after_log(socket, want);
                    }
                    None if reply(&socket, &Reply::Done) => {
                        let _ = self.streams.attach(socket, want);
                    }
                    _ => {}
                }
                return;
            }
            Request::Exec(spec) => return self.exec(&spec, socket),
            Request::ExecResize { exec, width, height } => done(
                self.exec_process(&exec)
                    .and_then(|exec| resize(&exec.streams, width, height)),
            ),
            Request::ExecKill { exec, signal, group } => done(self.exec_process(&exec).and_then(|exec| {
                if exec.ended.is_some() {
                    Err(Failure::NotRunning)
                } else if group {
                    kill_group(exec.pid, signal)
                } else {
                    kill(exec.pid, signal)
                }
            })),
            Request::ExecWait { exec } => {
                if let Some((_, exit)) = self.ended_execs.iter().find(|(id, _)| *id == exec) {
                    Reply::Exit(exit.clone())
                } else if let Some(process) = self.execs.iter_mut().find(|process| process.id == exec) {
                    process.waiting.push(socket);
                    return;
                } else {
                    Reply::Failed(Failure::NoSuchExec { exec })
                }
            }
            Request::Wait => match &self.ended {
                Some(exit) if self.recorded => Reply::Exit(exit.clone()),
                _ => return self.waiting.push(socket),
            },
            Request::ServeNames {
                directory,
                namespace,
                port,
            } => done(self.serve_names(&directory, &namespace, port)),
            Request::Relay { ports, targets } => {
                done(self.relay.set(&ports, targets).map_err(|error| Failure::Refused {
                    message: format!("cannot listen at the published ports: {error}"),
                }))
            }
            Request::Shutdown => {
                self.shutdown();
                Reply::Done
            }
        };
        reply(&socket, &answer);
    }

    fn start(&mut self) -> Result<(), Failure> {
        if self.ended.is_some() {
            return Err(Failure::NotRunning);
        }
        if self.started_at.is_some() {
            return Err(Failure::Refused {
                message: "the container has been started already".into(),
            });
        }
        container::start(&mut self.container)?;
        self.started_at = Some(jiff::Timestamp::now());
        Ok(())
    }

    fn kill(&self, signal: i32) -> Result<(), Failure> {
        // Until it is reaped, which only we do, the number belongs to it.
        if self.ended.is_some() {
            return Err(Failure::NotRunning);
        }
        match &self.container {
            Made::Here(_) => kill(self.pid, signal),
            Made::There(container) => container.kill(signal),
        }
    }

    fn exec(&mut self, spec: &ExecSpec, socket: UnixStream) {
        let result = if self.ended.is_some() || self.started_at.is_none() {
            Err(Failure::NotRunning)
        } else if self.execs.iter().any(|exec| exec.id == spec.id) {
            Err(Failure::Refused {
                message: format!("exec {} exists already", spec.id),
            })
        } else {
            self.serial += 1;
            container::exec(&self.setup, &self.container, self.pid, self.serial, spec)
        };
        let (pid, mut streams) = match result {
            Ok(started) => started,
            Err(failure) => {
                reply(&socket, &Reply::Failed(super::limit(failure)));
                return;
            }
        };
        if reply(&socket, &Reply::Exec { pid }) && spec.attach != AttachRequest::default() {
            let _ = streams.attach(socket, spec.attach);
        }
        // It may have ended already; only the loop reaps, so its status is still to come.
        self.execs.push(ExecProcess {
            id: spec.id.clone(),
            pid,
            streams,
            ended: None,
            waiting: Vec::new(),
        });
    }

    fn serve_names(&mut self, directory: &Path, namespace: &Path, port: u16) -> Result<(), Failure> {
        if self.names.is_none() {
            let served = havre_dns::Server::new(directory, &self.setup.id, namespace, port);
            self.names = Some(served.map_err(|error| Failure::Refused {
                message: format!(
                    "cannot answer for names at port {port} of {}: {error}",
                    havre_dns::ADDRESS
                ),
            })?);
        }
        Ok(())
    }

    fn exec_process(&self, id: &str) -> Result<&ExecProcess, Failure> {
        self.execs
            .iter()
            .find(|exec| exec.id == id)
            .ok_or_else(|| Failure::NoSuchExec { exec: id.to_owned() })
    }

    /// Takes the status of every child that has ended.
    fn reap(&mut self) {
        let mut buffer = [0; 1024];
        while let Ok(1..) = rustix::io::read(&self.children, &mut buffer) {}
        while let Some((pid, code)) = process::reap() {
            if pid == self.pid && self.ended.is_none() {
                self.end(code);
            } else if let Some(exec) = self.execs.iter_mut().find(|exec| exec.pid == pid) {
                exec.end(code);
            }
        }
    }

    fn end(&mut self, code: i32) {
        let cgroup = Cgroup::new(&*self.setup.cgroup);
        self.ended = Some(ExitStatus {
            code,
            oom_killed: cgroup.oom_kills() > 0,
            at: jiff::Timestamp::now(),
        });
        if self.setup.shared_pids {
            // No pid namespace of its own takes the rest down with its init.
            let _ = cgroup.kill(rustix::process::Signal::KILL.as_raw());
        }
        self.streams.program_ended();
    }

    /// Records and tells what has come to its end.
    fn advance(&mut self) {
        if !self.recorded
            && self.streams.drained()
            && let Some(exit) = &self.ended
        {
            if let Err(error) = record(&self.setup, exit) {
                let message = format!("cannot record the exit status: {error}\n");
                let _ = rustix::io::write(rustix::stdio::stderr(), message.as_bytes());
            }
            self.recorded = true;
            for socket in self.waiting.drain(..) {
                reply(&socket, &Reply::Exit(exit.clone()));
            }
        }
        let mut index = 0;
        while index < self.execs.len() {
            let exec = &mut self.execs[index];
            if let Some(exit) = exec.ended.clone().filter(|_| exec.streams.drained()) {
                for socket in exec.waiting.drain(..) {
                    reply(&socket, &Reply::Exit(exit.clone()));
                }
                if !self.ended_execs.iter().any(|(id, _)| *id == exec.id) {
                    self.ended_execs.push_back((exec.id.clone(), exit));
                    if self.ended_execs.len() > MAX_ENDED {
                        self.ended_execs.pop_front();
                    }
                }
                if exec.streams.finished() {
                    self.execs.swap_remove(index);
                    continue;
                }
            }
            index += 1;
        }
    }

    fn shutdown(&mut self) {
        if self.ended.is_none() {
            let _ = kill(self.pid, rustix::process::Signal::KILL.as_raw());
            let _ = Cgroup::new(&*self.setup.cgroup).kill(rustix::process::Signal::KILL.as_raw());
            let deadline = Instant::now() + Duration::from_secs(5);
            while self.ended.is_none() && Instant::now() < deadline {
                let mut fds = [PollFd::new(&self.children, PollFlags::IN)];
                let _ = rustix::event::poll(
                    &mut fds,
                    Some(&Timespec {
                        tv_sec: 0,
                        tv_nsec: 20_000_000,
                    }),
                );
                self.reap();
            }
            // What it still had to say belongs in the log.
            self.streams.handle(&[]);
        }
        self.done = true;
    }
}

impl ExecProcess {
    fn end(&mut self, code: i32) {
        self.ended = Some(ExitStatus {
            code,
            oom_killed: false,
            at: jiff::Timestamp::now(),
        });
        self.streams.program_ended();
    }
}

/// Sends a reply; false if the client is gone. Replies are smaller than a socket's buffer, and it is empty.
fn reply(socket: &UnixStream, reply: &Reply) -> bool {
    socket.set_nonblocking(false).is_ok()
        && socket.set_write_timeout(Some(CLIENT_TIMEOUT)).is_ok()
        && protocol::send(socket, reply).is_ok()
}

fn done(result: Result<(), Failure>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(failure) => Reply::Failed(failure),
    }
}

fn kill(pid: i32, signal: i32) -> Result<(), Failure> {
    let invalid = || Failure::Refused {
        message: format!("invalid signal: {signal}"),
    };
    let pid = rustix::process::Pid::from_raw(pid).ok_or(Failure::NotRunning)?;
    process::send_signal(pid, signal).map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::SRCH.raw_os_error() => Failure::NotRunning,
        Some(code) if code == rustix::io::Errno::INVAL.raw_os_error() => invalid(),
        _ => Failure::Refused {
            message: format!("send signal {signal}: {error}"),
        },
    })
}

/// As [`kill`], for the process group that a process leads.
fn kill_group(leader: i32, signal: i32) -> Result<(), Failure> {
    let leader = rustix::process::Pid::from_raw(leader).ok_or(Failure::NotRunning)?;
    let signal = rustix::process::Signal::from_named_raw(signal).ok_or_else(|| Failure::Refused {
        message: format!("invalid signal: {signal}"),
    })?;
    rustix::process::kill_process_group(leader, signal).map_err(|_| Failure::NotRunning)
}

fn resize(streams: &Streams, width: u16, height: u16) -> Result<(), Failure> {
    match streams.master() {
        Some(master) => tty::set_size(master.as_fd(), width, height).map_err(|error| Failure::Refused {
            message: format!("resize the terminal: {error}"),
        }),
        None => Err(Failure::Refused {
            message: "there is no terminal to resize".into(),
        }),
    }
}

/// Writes `exit.json` aside and renames it: whoever sees it sees all of it.
fn record(setup: &Setup, exit: &ExitStatus) -> io::Result<()> {
    let temporary = setup.directory.join("exit.json.new");
    fs_err::write(&temporary, serde_json::to_vec(exit)?)?;
    fs_err::rename(&temporary, setup.directory.join("exit.json"))
}
