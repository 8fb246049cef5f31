//! The standard streams of one process: its pipes or its terminal on one side, the log and the attached clients on
//! the other.
//!
//! Nothing here grows without bound. Input is read from clients while less than 64 KiB wait for the program; output
//! is read from the program while no client has more than 256 KiB waiting, so a client that does not read slows the
//! program down, as a pipe would. A client that takes nothing for [`STALL`] is disconnected. Once the program has
//! ended its last output (at most a pipe full) is read whatever clients do.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::log::LogWriter;
use crate::logs::{LogPosition, LogStream};
use crate::shim_client::AttachRequest;

const MAX_INPUT: usize = 64 << 10;
const MAX_OUTPUT: usize = 256 << 10;
const READ_SIZE: usize = 32 << 10;
/// How long a client may leave its output alone before it is disconnected.
const STALL: Duration = Duration::from_secs(300);
/// The same once the program has ended: nobody waits for the program any more, but the shim waits for the client.
const STALL_AFTER_END: Duration = Duration::from_secs(30);
/// How long output may stay silent after the program's end while something it left behind holds it open.
const QUIET: Duration = Duration::from_millis(250);

/// The ends that the program gets.
pub(super) struct ProgramEnds {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// The streams of a process.
pub(super) struct Streams {
    terminal: bool,
    /// A pipe's write end, or the terminal.
    input: Option<OwnedFd>,
    waiting_input: Vec<u8>,
    close_input: bool,
    /// Close the input when a client that attached it leaves.
    once: bool,
    /// Standard output (or the terminal) and standard error.
    outputs: [Option<OwnedFd>; 2],
    log: Option<LogWriter>,
    clients: Vec<Client>,
    /// When the program ended or was last heard of after that.
    ended: Option<Instant>,
}

struct Client {
    socket: UnixStream,
    want: AttachRequest,
    /// Still sends input.
    sends: bool,
    /// Has closed the connection, but what it sent before waits for the program to take it.
    left: bool,
    waiting: Vec<u8>,
    sent: usize,
    progress: Instant,
}

/// Which descriptor of a [`Streams`] a poll entry was for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Input,
    Output(usize),
    Client(usize),
}

impl Streams {
    /// Pipes for a program without a terminal: a null device for what is not wanted, which with `own_null` is nobody else's.
    /// `uid` becomes their owner.
    pub(super) fn pipes(
        want: AttachRequest,
        once: bool,
        uid: u32,
        log: Option<LogWriter>,
        own_null: bool,
    ) -> io::Result<(Streams, ProgramEnds)> {
        use rustix::pipe::{PipeFlags, pipe_with};
        let null = || match own_null {
            true => havre_sys::mount::null_device(),
            false => rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()),
        };
        let give = |end: &OwnedFd| {
            // Only matters to programs that open /dev/stdout again as an unprivileged user.
            let _ = rustix::fs::fchown(end, Some(rustix::fs::Uid::from_raw(uid)), None);
        };
        let mut streams = Streams {
            terminal: false,
            input: None,
            waiting_input: Vec::new(),
            close_input: false,
            once,
            outputs: [None, None],
            log,
            clients: Vec::new(),
            ended: None,
        };
        let stdin = if want.stdin {
            let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&ours, true)?;
            give(&theirs);
            streams.input = Some(ours);
            theirs
        } else {
            null()?
        };
        let mut output = |wanted: bool, index: usize| -> io::Result<OwnedFd> {
            if !wanted {
                return Ok(null()?);
            }
            let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&ours, true)?;
            give(&theirs);
            streams.outputs[index] = Some(ours);
            Ok(theirs)
        };
        let stdout = output(want.stdout, 0)?;
        let stderr = output(want.stderr, 1)?;
        Ok((
            streams,
            ProgramEnds {
                stdin,
                stdout,
                stderr,
            },
        ))
    }

    /// A terminal, whose controlling end is `master`.
    pub(super) fn terminal(
        master: OwnedFd,
        stdin: bool,
        once: bool,
        log: Option<LogWriter>,
    ) -> io::Result<Streams> {
        rustix::io::ioctl_fionbio(&master, true)?;
        let input = if stdin {
            Some(rustix::io::fcntl_dupfd_cloexec(&master, 3)?)
        } else {
            None
        };
        Ok(Streams {
            terminal: true,
            input,
            waiting_input: Vec::new(),
            close_input: false,
            once,
            outputs: [Some(master), None],
            log,
            clients: Vec::new(),
            ended: None,
        })
    }

    /// The terminal, if there is one and it is open.
    pub(super) fn master(&self) -> Option<BorrowedFd<'_>> {
        if self.terminal {
            self.outputs[0].as_ref().map(|fd| fd.as_fd())
        } else {
            None
        }
    }

    /// Where in the log what a client gets from now on belongs; what of it is not in the log is what lines began with that
    /// have not ended ([`Streams::attach_after_log`]). `None` without a log, and when all output has ended.
    pub(super) fn log_position(&self) -> Option<LogPosition> {
        self.log.as_ref()?.position()
    }

    /// Attaches a client that reads the log up to [`Streams::log_position`].
    pub(super) fn attach_after_log(&mut self, socket: UnixStream, want: AttachRequest) -> io::Result<()> {
        self.attach(socket, want)?;
        if let (Some(log), Some(client)) = (&self.log, self.clients.last_mut()) {
            for index in 0..self.outputs.len() {
                let begun = log.unfinished(stream(index));
                if !begun.is_empty() {
                    client.deliver(self.terminal, index, begun);
                }
            }
        }
        Ok(())
    }

    pub(super) fn attach(&mut self, socket: UnixStream, want: AttachRequest) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let sends = want.stdin && self.input.is_some();
        self.clients.push(Client {
            socket,
            want,
            sends,
            left: false,
            waiting: Vec::new(),
            sent: 0,
            progress: Instant::now(),
        });
        Ok(())
    }

    /// The program has ended: what it wrote is read to the end, then clients are let go.
    pub(super) fn program_ended(&mut self) {
        self.ended = Some(Instant::now());
        self.input = None;
        self.waiting_input = Vec::new();
    }

    /// All output was read and is in the log.
    pub(super) fn drained(&self) -> bool {
        self.outputs.iter().all(Option::is_none)
    }

    /// Drained, and every client has everything.
    pub(super) fn finished(&self) -> bool {
        self.drained() && self.clients.is_empty()
    }

    /// Adds what has to be watched, and says when to look again at the latest.
    pub(super) fn watch<'a>(
        &'a self,
        fds: &mut Vec<PollFd<'a>>,
        sources: &mut Vec<Source>,
    ) -> Option<Duration> {
        if let Some(input) = self.input.as_ref().filter(|_| !self.waiting_input.is_empty()) {
            fds.push(PollFd::new(input, PollFlags::OUT));
            sources.push(Source::Input);
        }
        let held_back =
            self.ended.is_none() && self.clients.iter().any(|client| client.pending() > MAX_OUTPUT);
        if !held_back {
            for (index, output) in self.outputs.iter().enumerate() {
                if let Some(output) = output {
                    fds.push(PollFd::new(output, PollFlags::IN));
                    sources.push(Source::Output(index));
                }
            }
        }
        let mut timeout = None;
        for (index, client) in self.clients.iter().enumerate() {
            let mut events = PollFlags::empty();
            if client.sends && self.waiting_input.len() < MAX_INPUT {
                events |= PollFlags::IN;
            } else if client.left {
                continue;
            }
            if client.pending() > 0 {
                events |= PollFlags::OUT;
                timeout = earlier(timeout, Some(Duration::from_secs(1)));
            }
            fds.push(PollFd::new(&client.socket, events));
            sources.push(Source::Client(index));
        }
        if self.ended.is_some() && !self.drained() {
            timeout = earlier(timeout, Some(QUIET));
        }
        timeout
    }

    /// Handles what `poll` reported; entries as [`Streams::watch`] gave them.
    pub(super) fn handle(&mut self, ready: &[(Source, PollFlags)]) {
        let mut gone = Vec::new();
        for (source, events) in ready {
            match *source {
                Source::Input => self.feed_program(),
                Source::Output(index) => self.read_program(index),
                Source::Client(index) => {
                    let hung_up = events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
                    let mut here = true;
                    if events.contains(PollFlags::OUT) {
                        here = self.clients[index].send();
                    }
                    if here && events.contains(PollFlags::IN) {
                        here = self.read_client(index);
                    } else if hung_up && self.clients[index].sends && self.input.is_some() {
                        self.clients[index].left = true;
                        self.clients[index].waiting = Vec::new();
                        self.clients[index].sent = 0;
                    } else if hung_up {
                        here = false;
                    }
                    if !here {
                        gone.push(index);
                    }
                }
            }
        }
        let limit = if self.ended.is_some() {
            STALL_AFTER_END
        } else {
            STALL
        };
        for (index, client) in self.clients.iter().enumerate() {
            if client.pending() > 0 && client.progress.elapsed() > limit {
                gone.push(index);
            }
        }
        gone.sort_unstable();
        gone.dedup();
        for index in gone.into_iter().rev() {
            let client = self.clients.swap_remove(index);
            if client.want.stdin && self.once && !self.terminal {
                self.close_input = true;
            }
        }
        self.feed_program();
        self.end_quiet_outputs();
        if self.drained() {
            // Dropping closes the connection, which tells the client that this was all.
            self.clients.retain(|client| client.pending() > 0);
        }
    }

    fn end_quiet_outputs(&mut self) {
        if self.ended.is_some_and(|heard| heard.elapsed() >= QUIET) {
            for index in 0..self.outputs.len() {
                self.end_output(index);
            }
        }
    }

    fn end_output(&mut self, index: usize) {
        if self.outputs[index].take().is_some()
            && let Some(log) = &mut self.log
        {
            log.end(stream(index));
        }
        if self.drained() {
            self.log = None;
        }
    }

    fn read_program(&mut self, index: usize) {
        let Some(output) = &self.outputs[index] else {
            return;
        };
        let mut buffer = vec![0; READ_SIZE];
        match rustix::io::read(output, &mut buffer) {
            // A terminal reports its end as an error.
            Ok(0) | Err(Errno::IO) => self.end_output(index),
            Ok(read) => {
                if self.ended.is_some() {
                    self.ended = Some(Instant::now());
                }
                let data = &buffer[..read];
                if let Some(log) = &mut self.log {
                    log.write(stream(index), data);
                }
                for client in &mut self.clients {
                    client.deliver(self.terminal, index, data);
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.end_output(index),
        }
    }

    /// Writes waiting input to the program, and closes it when all is written and no more comes.
    fn feed_program(&mut self) {
        if let Some(input) = &self.input {
            while !self.waiting_input.is_empty() {
                match rustix::io::write(input, &self.waiting_input) {
                    Ok(written) => drop(self.waiting_input.drain(..written)),
                    Err(Errno::AGAIN | Errno::INTR) => return,
                    Err(_) => {
                        // The program has closed its input: what clients send goes nowhere.
                        self.input = None;
                        break;
                    }
                }
            }
        }
        if self.input.is_none() {
            self.waiting_input = Vec::new();
        }
        if self.close_input && self.waiting_input.is_empty() {
            self.input = None;
        }
    }

    /// Reads input from a client; false if it is gone.
    fn read_client(&mut self, index: usize) -> bool {
        let mut buffer = vec![0; READ_SIZE];
        let client = &mut self.clients[index];
        match rustix::io::read(&client.socket, &mut buffer) {
            Ok(0) => {
                // Its end of input; it may still want output. A full close shows as a hang-up next.
                client.sends = false;
                if self.once && !self.terminal {
                    self.close_input = true;
                }
                true
            }
            Ok(read) => {
                if self.input.is_some() && !self.close_input {
                    self.waiting_input.extend_from_slice(&buffer[..read]);
                }
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }
}

impl Client {
    fn pending(&self) -> usize {
        self.waiting.len() - self.sent
    }

    fn deliver(&mut self, terminal: bool, index: usize, data: &[u8]) {
        let wanted = if terminal {
            self.want.stdout || self.want.stderr
        } else if index == 0 {
            self.want.stdout
        } else {
            self.want.stderr
        };
        if !wanted || self.left {
            return;
        }
        if self.pending() == 0 {
            self.progress = Instant::now();
        }
        if !terminal {
            self.waiting.extend_from_slice(&[index as u8 + 1, 0, 0, 0]);
            self.waiting.extend_from_slice(&(data.len() as u32).to_be_bytes());
        }
        self.waiting.extend_from_slice(data);
        // A client that is gone shows as a hang-up.
        self.send();
    }

    /// Sends what it will take; false if it is gone.
    fn send(&mut self) -> bool {
        use rustix::net::SendFlags;
        while self.pending() > 0 {
            match rustix::net::send(&self.socket, &self.waiting[self.sent..], SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    self.sent += sent;
                    self.progress = Instant::now();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if self.sent > MAX_OUTPUT {
                        self.waiting.drain(..self.sent);
                        self.sent = 0;
                    }
                    return true;
                }
                Err(_) => {
                    self.waiting = Vec::new();
                    self.sent = 0;
                    return false;
                }
            }
        }
        self.waiting = Vec::new();
        self.sent = 0;
        true
    }
}

fn stream(index: usize) -> LogStream {
    if index == 0 {
        LogStream::Stdout
    } else {
        LogStream::Stderr
    }
}

/// The shorter of two timeouts, of which none is for ever.
pub(super) fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    const ALL: AttachRequest = AttachRequest {
        stdin: true,
        stdout: true,
        stderr: true,
    };

    /// One turn of the shim's loop.
    fn turn(streams: &mut Streams) {
        let (mut fds, mut sources) = (Vec::new(), Vec::new());
        streams.watch(&mut fds, &mut sources);
        let timeout = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 10_000_000,
        };
        let ready: Vec<_> = match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) => fds
                .iter()
                .zip(&sources)
                .map(|(fd, source)| (*source, fd.revents()))
                .collect(),
            Err(_) => Vec::new(),
        };
        let ready: Vec<_> = ready
            .into_iter()
            .filter(|(_, events)| !events.is_empty())
            .collect();
        streams.handle(&ready);
    }

    #[test]
    fn a_client_that_does_not_read_holds_back_but_does_not_fill_memory() {
        let (mut streams, ends) = Streams::pipes(ALL, false, 0, None, false).unwrap();
        let (client, server) = UnixStream::pair().unwrap();
        streams.attach(server, ALL).unwrap();
        rustix::io::ioctl_fionbio(&ends.stdout, true).unwrap();
        let mut written = 0;
        for _ in 0..200 {
            while let Ok(n) = rustix::io::write(&ends.stdout, &[b'x'; 4096]) {
                written += n;
            }
            turn(&mut streams);
        }
        assert!(written > MAX_OUTPUT, "{written}");
        assert!(written < 2 << 20, "nothing held the writer back: {written}");
        assert!(streams.clients[0].waiting.len() < 2 * MAX_OUTPUT + READ_SIZE);
        // It reads again, everything comes.
        drop(ends);
        client.set_nonblocking(true).unwrap();
        let mut got = 0;
        for _ in 0..1000 {
            let mut buffer = [0; 65536];
            match (&client).read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(_) => turn(&mut streams),
            }
        }
        assert!(got > written && streams.finished());
    }

    #[test]
    fn input_ends_once() {
        let (mut streams, ends) = Streams::pipes(ALL, true, 0, None, false).unwrap();
        let (client, server) = UnixStream::pair().unwrap();
        streams.attach(server, ALL).unwrap();
        (&client).write_all(b"hello").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        for _ in 0..4 {
            turn(&mut streams);
        }
        let mut text = String::new();
        std::fs::File::from(ends.stdin).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert_eq!(streams.clients.len(), 1, "still wants output");
        drop(client);
        turn(&mut streams);
        assert!(streams.clients.is_empty());
    }

    #[test]
    fn frames_are_dockers() {
        let (mut streams, ends) = Streams::pipes(ALL, false, 0, None, false).unwrap();
        let (client, server) = UnixStream::pair().unwrap();
        streams.attach(server, ALL).unwrap();
        rustix::io::write(&ends.stderr, b"err").unwrap();
        turn(&mut streams);
        drop(ends);
        for _ in 0..3 {
            turn(&mut streams);
        }
        let mut got = Vec::new();
        (&client).read_to_end(&mut got).unwrap();
        assert_eq!(got, b"\x02\0\0\0\0\0\0\x03err");
    }
}
