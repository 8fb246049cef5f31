//! The server in a container's network namespace: sockets and what is to be done with them, for a loop that polls. It has
//! no thread of its own, because the process it lives in forks.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::event::{PollFd, PollFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::answer::{self, Decision, Seen};
use crate::directory::{Cached, Directory, Names, Resolver, Upstream};
use crate::forward::{Inquiry, flush, framed, read_framed};

/// Where containers find their name server, as Docker's do.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Questions that others are asked at one time; more are not answered, and asked again by those who want to know.
const AT_ONCE: usize = 100;
/// TCP connections at one time.
const CONNECTIONS: usize = 32;
/// Datagrams taken in one turn: others wait for the loop, too.
const TURN: usize = 64;
/// How long a TCP client may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// The namespaces questions are asked from.
pub(crate) struct Namespaces {
    container: fs::File,
    host: fs::File,
}

impl Namespaces {
    /// Runs `work` in the host's namespace, where the calling thread always is, or in the container's.
    pub(crate) fn within<T>(&self, host: bool, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if host {
            return work();
        }
        let enter = |namespace: &fs::File| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        };
        enter(&self.container)?;
        let outcome = work();
        enter(&self.host)?;
        outcome
    }
}

/// Answers one container's questions.
pub struct Server {
    namespaces: Namespaces,
    known: Known,
    datagrams: UdpSocket,
    listener: TcpListener,
    asked: Vec<(SocketAddr, Inquiry)>,
    streams: Vec<Stream>,
}

struct Known {
    directory: Directory,
    resolver: Cached<Resolver>,
    networks: Vec<(String, Cached<Names>)>,
}

/// A TCP client: it asks, then waits for its answer.
struct Stream {
    socket: TcpStream,
    received: Vec<u8>,
    sending: Vec<u8>,
    inquiry: Option<Inquiry>,
    deadline: Instant,
}

impl Server {
    /// Listens at `port` of [`ADDRESS`] in the network namespace `namespace`, by datagram and TCP. The calling thread
    /// must be the process's only one: it enters the namespace and comes back.
    pub fn new(directory: &Path, container: &str, namespace: &Path, port: u16) -> io::Result<Self> {
        let directory = Directory::open(directory)?;
        let namespaces = Namespaces {
            container: fs::File::open(namespace)?,
            host: fs::File::open("/proc/thread-self/ns/net")?,
        };
        let (datagrams, listener) = namespaces.within(false, || {
            Ok((
                UdpSocket::bind((ADDRESS, port))?,
                TcpListener::bind((ADDRESS, port))?,
            ))
        })?;
        datagrams.set_nonblocking(true)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            namespaces,
            known: Known {
                resolver: Cached::new(directory.resolver_path(container)),
                directory,
                networks: Vec::new(),
            },
            datagrams,
            listener,
            asked: Vec::new(),
            streams: Vec::new(),
        })
    }

    /// Adds what to poll for; [`Server::handle`] takes the events in the same order. At the latest after the time returned
    /// something is to be done.
    pub fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) -> Option<Duration> {
        fds.push(PollFd::new(&self.datagrams, PollFlags::IN));
        fds.push(PollFd::new(&self.listener, PollFlags::IN));
        let mut deadline: Option<Instant> = None;
        let mut until =
            |instant: Instant| deadline = Some(deadline.map_or(instant, |other| other.min(instant)));
        for (_, inquiry) in &self.asked {
            let (fd, events) = inquiry
                .watch()
                .unwrap_or((self.datagrams.as_fd(), PollFlags::empty()));
            fds.push(PollFd::from_borrowed_fd(fd, events));
            until(inquiry.deadline);
        }
        for stream in &self.streams {
            let asking = stream.inquiry.as_ref().and_then(Inquiry::watch);
            let own = match stream.sending.is_empty() {
                true => PollFlags::IN,
                false => PollFlags::OUT,
            };
            let (fd, events) = asking.unwrap_or((stream.socket.as_fd(), own));
            fds.push(PollFd::from_borrowed_fd(fd, events));
            until(
                stream.deadline.min(
                    stream
                        .inquiry
                        .as_ref()
                        .map_or(stream.deadline, |inquiry| inquiry.deadline),
                ),
            );
        }
        deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// How many events [`Server::watch`] asked for.
    pub fn watched(&self) -> usize {
        2 + self.asked.len() + self.streams.len()
    }

    /// Does what is to be done. Never waits.
    pub fn handle(&mut self, events: &[PollFlags]) {
        let happened = |index: usize| events.get(index).is_some_and(|events| !events.is_empty());
        let asked = self.asked.len();
        for index in (0..self.streams.len()).rev() {
            if !self.go_on(index, happened(2 + asked + index)) {
                self.streams.swap_remove(index);
            }
        }
        for index in (0..asked).rev() {
            let (client, inquiry) = &mut self.asked[index];
            if let Some(answer) = inquiry.advance(happened(2 + index), &self.namespaces) {
                if !answer.is_empty() {
                    let _ = self.datagrams.send_to(&answer, *client);
                }
                self.asked.swap_remove(index);
            }
        }
        if happened(0) {
            self.take_datagrams();
        }
        if happened(1) {
            self.accept();
        }
    }

    fn take_datagrams(&mut self) {
        let mut buffer = [0; 4096];
        for _ in 0..TURN {
            let Ok((length, client)) = self.datagrams.recv_from(&mut buffer) else {
                return;
            };
            let packet = &buffer[..length];
            match self.known.decide(packet, true) {
                (Decision::Answer(answer), _) => {
                    let _ = self.datagrams.send_to(&answer, client);
                }
                (Decision::Forward, servers) if self.asked.len() < AT_ONCE => {
                    let inquiry = Inquiry::new(packet, servers, true, &self.namespaces);
                    self.asked.extend(inquiry.map(|inquiry| (client, inquiry)));
                }
                (Decision::Forward | Decision::Ignore, _) => {}
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            if self.streams.len() >= CONNECTIONS || socket.set_nonblocking(true).is_err() {
                continue;
            }
            self.streams.push(Stream {
                socket,
                received: Vec::new(),
                sending: Vec::new(),
                inquiry: None,
                deadline: Instant::now() + SILENCE,
            });
        }
    }

    /// Serves one TCP client; whether it stays.
    fn go_on(&mut self, index: usize, ready: bool) -> bool {
        let Self {
            streams,
            known,
            namespaces,
            ..
        } = self;
        let stream = &mut streams[index];
        if let Some(inquiry) = &mut stream.inquiry {
            let Some(answer) = inquiry.advance(ready, namespaces) else {
                return true;
            };
            if answer.is_empty() {
                return false;
            }
            stream.inquiry = None;
            stream.sending = framed(&answer);
            stream.deadline = Instant::now() + SILENCE;
        }
        if Instant::now() >= stream.deadline || flush(&mut stream.socket, &mut stream.sending).is_err() {
            return false;
        }
        if !ready || !stream.sending.is_empty() {
            return true;
        }
        let packet = match read_framed(&mut stream.socket, &mut stream.received) {
            Ok(Some(packet)) => packet,
            Ok(None) => return true,
            Err(_) => return false,
        };
        stream.deadline = Instant::now() + SILENCE;
        match known.decide(&packet, false) {
            (Decision::Answer(answer), _) => {
                stream.sending = framed(&answer);
                flush(&mut stream.socket, &mut stream.sending).is_ok()
            }
            (Decision::Forward, servers) => {
                stream.inquiry = Inquiry::new(&packet, servers, false, namespaces);
                stream.inquiry.is_some()
            }
            (Decision::Ignore, _) => false,
        }
    }
}

impl Known {
    fn decide(&mut self, packet: &[u8], datagram: bool) -> (Decision, Vec<Upstream>) {
        let resolver = self.resolver.get();
        if !self.networks.iter().map(|(id, _)| id).eq(&resolver.networks) {
            let fresh = |id: &String| (id.clone(), Cached::new(self.directory.names_path(id)));
            self.networks = resolver.networks.iter().map(fresh).collect();
        }
        for (_, names) in &mut self.networks {
            names.get();
        }
        let networks = self.networks.iter().map(|(id, names)| Seen {
            id,
            names: names.last(),
            links: &resolver.links,
        });
        (
            answer::decide(packet, networks, datagram),
            resolver.servers.clone(),
        )
    }
}
