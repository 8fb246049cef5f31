//! Published ports that the firewall cannot pass on to the container, because the two speak different families or the host's
//! own `::1` is called: connections are taken here and made to the container anew. For a loop that polls; it has no thread
//! of its own, because the process it lives in forks.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::protocol::RelayedPort;

/// TCP connections at one time; more wait to be accepted.
const CONNECTIONS: usize = 512;
/// Clients of datagrams at one time; those silent for longest make room for others.
const CLIENTS: usize = 512;
/// How long the container may take to accept.
const PATIENCE: Duration = Duration::from_secs(15);
/// After so long a silence a datagram's sender is forgotten.
const SILENCE: Duration = Duration::from_secs(90);
/// Bytes that are moved at once, and read but not yet taken at most.
const PIECE: usize = 64 << 10;
/// Pieces or datagrams moved in one turn: others wait for the loop, too.
const TURN: usize = 16;

/// The relay of one container.
#[derive(Default)]
pub(super) struct Relay {
    /// The container's addresses, the one to be tried first in front.
    targets: Vec<IpAddr>,
    listeners: Vec<(RelayedPort, Listener)>,
    streams: Vec<Stream>,
    clients: Vec<Client>,
}

enum Listener {
    Stream(TcpListener),
    Datagram(UdpSocket),
}

/// A connection, and the one to the container that was made for it.
struct Stream {
    client: TcpStream,
    server: TcpStream,
    /// Until when the container may accept; then nobody waits any more.
    connecting: Option<Instant>,
    /// Where else to try.
    others: Vec<SocketAddr>,
    inward: Pipe,
    outward: Pipe,
}

/// One direction.
#[derive(Default)]
struct Pipe {
    /// Read and not yet taken.
    pending: Vec<u8>,
    /// The sender has sent everything.
    ended: bool,
    /// And the receiver knows.
    told: bool,
}

/// Who sent a datagram, and the socket that stands for him towards the container.
struct Client {
    port: RelayedPort,
    address: SocketAddr,
    socket: UdpSocket,
    heard: Instant,
}

impl Relay {
    /// Listens at these ports and at no others, and leads new connections to these addresses. On failure all is as it was.
    pub(super) fn set(&mut self, ports: &[RelayedPort], targets: Vec<IpAddr>) -> io::Result<()> {
        let mut new = Vec::new();
        for port in ports {
            if !self.listeners.iter().any(|(known, _)| known == port) {
                new.push((*port, open(port)?));
            }
        }
        self.listeners.retain(|(known, _)| ports.contains(known));
        self.clients
            .retain(|client| ports.contains(&client.port) && self.targets == targets);
        self.listeners.extend(new);
        self.targets = targets;
        Ok(())
    }

    /// Adds what to poll for; [`Relay::handle`] takes the events in the same order. At the latest after the time returned
    /// something is to be done.
    pub(super) fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) -> Option<Duration> {
        let room = self.streams.len() < CONNECTIONS;
        for (_, listener) in &self.listeners {
            fds.push(match listener {
                Listener::Stream(socket) if room => PollFd::new(socket, PollFlags::IN),
                Listener::Stream(socket) => PollFd::new(socket, PollFlags::empty()),
                Listener::Datagram(socket) => PollFd::new(socket, PollFlags::IN),
            });
        }
        let mut deadline: Option<Instant> = None;
        let mut until =
            |instant: Instant| deadline = Some(deadline.map_or(instant, |other| other.min(instant)));
        for stream in &self.streams {
            let (client, server) = stream.interest();
            fds.push(PollFd::new(&stream.client, client));
            fds.push(PollFd::new(&stream.server, server));
            stream.connecting.into_iter().for_each(&mut until);
        }
        for client in &self.clients {
            fds.push(PollFd::new(&client.socket, PollFlags::IN));
            until(client.heard + SILENCE);
        }
        deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// How many entries [`Relay::watch`] adds.
    pub(super) fn watched(&self) -> usize {
        self.listeners.len() + 2 * self.streams.len() + self.clients.len()
    }

    pub(super) fn handle(&mut self, events: &[PollFlags]) {
        let (listening, rest) = events.split_at(self.listeners.len());
        let (streaming, hearing) = rest.split_at(2 * self.streams.len());
        let now = Instant::now();
        let mut index = 0;
        self.streams.retain_mut(|stream| {
            let (client, server) = (streaming[index], streaming[index + 1]);
            index += 2;
            stream.go_on(client, server, now).unwrap_or(false)
        });
        let mut index = 0;
        let listeners = &self.listeners;
        self.clients.retain_mut(|client| {
            let ready = !hearing[index].is_empty();
            index += 1;
            let listener = listeners.iter().find(|(port, _)| *port == client.port);
            if let (true, Some((_, Listener::Datagram(socket)))) = (ready, listener) {
                client.hear(socket, now);
            }
            now < client.heard + SILENCE
        });
        for (index, events) in listening.iter().enumerate() {
            if !events.is_empty() {
                self.take(index, now);
            }
        }
    }

    fn take(&mut self, index: usize, now: Instant) {
        let (port, listener) = &self.listeners[index];
        let addresses = self
            .targets
            .iter()
            .map(|ip| SocketAddr::new(*ip, port.container_port));
        match listener {
            Listener::Stream(socket) => {
                for _ in 0..TURN {
                    if self.streams.len() >= CONNECTIONS {
                        return;
                    }
                    let Ok((client, _)) = socket.accept() else { return };
                    if let Ok(stream) = Stream::new(client, addresses.clone().collect()) {
                        self.streams.push(stream);
                    }
                }
            }
            Listener::Datagram(socket) => {
                let Some(target) = addresses.clone().next() else {
                    return;
                };
                let mut buffer = [0; PIECE];
                for _ in 0..TURN {
                    let Ok((length, address)) = socket.recv_from(&mut buffer) else {
                        return;
                    };
                    let known = |client: &&mut Client| client.port == *port && client.address == address;
                    let client = match self.clients.iter_mut().find(known) {
                        Some(client) => client,
                        None => {
                            let Ok(socket) = towards(target) else { continue };
                            if self.clients.len() >= CLIENTS {
                                forget_one(&mut self.clients);
                            }
                            self.clients.push(Client {
                                port: *port,
                                address,
                                socket,
                                heard: now,
                            });
                            let last = self.clients.len() - 1;
                            &mut self.clients[last]
                        }
                    };
                    client.heard = now;
                    let _ = client.socket.send(&buffer[..length]);
                }
            }
        }
    }
}

/// The one that has been silent for longest.
fn forget_one(clients: &mut Vec<Client>) {
    let oldest = clients.iter().enumerate().min_by_key(|(_, client)| client.heard);
    if let Some((index, _)) = oldest {
        clients.swap_remove(index);
    }
}

impl Client {
    fn hear(&mut self, listener: &UdpSocket, now: Instant) {
        let mut buffer = [0; PIECE];
        for _ in 0..TURN {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    self.heard = now;
                    let _ = listener.send_to(&buffer[..length], self.address);
                }
                // Also "refused", which the container's kernel says of a port where nobody listens.
                Err(_) => return,
            }
        }
    }
}

impl Stream {
    /// `addresses`: where to try, in order; at least one.
    fn new(client: TcpStream, addresses: Vec<SocketAddr>) -> io::Result<Self> {
        client.set_nonblocking(true)?;
        client.set_nodelay(true)?;
        let mut others = addresses;
        others.reverse();
        let server = next(&mut others)?;
        Ok(Self {
            client,
            server,
            connecting: Some(Instant::now() + PATIENCE),
            others,
            inward: Pipe::default(),
            outward: Pipe::default(),
        })
    }

    fn interest(&self) -> (PollFlags, PollFlags) {
        if self.connecting.is_some() {
            return (PollFlags::empty(), PollFlags::OUT);
        }
        let side = |from: &Pipe, to: &Pipe| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, from.pending.is_empty() && !from.ended);
            flags.set(PollFlags::OUT, !to.pending.is_empty());
            flags
        };
        (
            side(&self.inward, &self.outward),
            side(&self.outward, &self.inward),
        )
    }

    /// Whether the connection goes on.
    fn go_on(&mut self, client: PollFlags, server: PollFlags, now: Instant) -> io::Result<bool> {
        if let Some(deadline) = self.connecting {
            // The client has gone before anybody answered.
            if !client.is_empty() {
                return Ok(false);
            }
            if server.is_empty() {
                return Ok(now < deadline);
            }
            if let Some(refusal) = self.server.take_error()? {
                self.server = next(&mut self.others).map_err(|_| refusal)?;
                return Ok(true);
            }
            self.connecting = None;
            self.server.set_nodelay(true)?;
        }
        let over = PollFlags::HUP | PollFlags::ERR;
        // Nothing to read and nothing to write, and yet there is something: it is over.
        let (wanted_client, wanted_server) = self.interest();
        if wanted_client.is_empty() && client.intersects(over)
            || wanted_server.is_empty() && server.intersects(over)
        {
            return Ok(false);
        }
        if !client.is_empty() || !server.is_empty() {
            self.inward.pump(&mut self.client, &mut self.server)?;
            self.outward.pump(&mut self.server, &mut self.client)?;
        }
        Ok(!(self.inward.told && self.outward.told))
    }
}

impl Pipe {
    fn pump(&mut self, from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
        let mut buffer = [0; PIECE];
        for _ in 0..TURN {
            if !self.pending.is_empty() {
                match would_block(to.write(&self.pending))? {
                    Some(written) => drop(self.pending.drain(..written)),
                    None => return Ok(()),
                }
                if !self.pending.is_empty() {
                    return Ok(());
                }
                self.pending = Vec::new();
            }
            if self.ended {
                break;
            }
            match would_block(from.read(&mut buffer))? {
                None => return Ok(()),
                Some(0) => self.ended = true,
                Some(length) => {
                    let written = would_block(to.write(&buffer[..length]))?.unwrap_or(0);
                    self.pending.extend_from_slice(&buffer[written..length]);
                }
            }
        }
        if self.ended && self.pending.is_empty() && !self.told {
            self.told = true;
            // A receiver that has gone already needs not be told.
            let _ = to.shutdown(Shutdown::Write);
        }
        Ok(())
    }
}

/// `None`: not now.
fn would_block(outcome: io::Result<usize>) -> io::Result<Option<usize>> {
    match outcome {
        Ok(count) => Ok(Some(count)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Begins to connect to the last of the addresses, or to one before it.
fn next(addresses: &mut Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    while let Some(address) = addresses.pop() {
        match connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family(address.ip()), SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}

fn towards(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    Ok(socket)
}

/// A socket at a port whose place somebody holds until it is there.
fn open(port: &RelayedPort) -> io::Result<Listener> {
    let kind = match port.datagram {
        true => SocketType::DGRAM,
        false => SocketType::STREAM,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family(port.host_ip), kind, flags, None)?;
    if port.host_ip.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddr::new(port.host_ip, port.host_port))?;
    if port.datagram {
        // From now on the port is nobody else's.
        sockopt::set_socket_reuseaddr(&socket, false)?;
        return Ok(Listener::Datagram(socket.into()));
    }
    rustix::net::listen(socket.as_fd(), 512)?;
    Ok(Listener::Stream(socket.into()))
}

fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::thread;

    use super::*;

    const HERE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A relay that runs until it is dropped.
    struct Running {
        relay: Arc<Mutex<Relay>>,
        stop: Arc<AtomicBool>,
    }

    impl Running {
        fn new(ports: &[RelayedPort], targets: Vec<IpAddr>) -> Self {
            let mut relay = Relay::default();
            relay.set(ports, targets).expect("listen");
            let running = Self {
                relay: Arc::new(Mutex::new(relay)),
                stop: Arc::default(),
            };
            let (relay, stop) = (running.relay.clone(), running.stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut relay = relay.lock().expect("relay");
                    let mut fds = Vec::new();
                    relay.watch(&mut fds);
                    assert_eq!(fds.len(), relay.watched());
                    let patience = rustix::event::Timespec {
                        tv_sec: 0,
                        tv_nsec: 5_000_000,
                    };
                    rustix::event::poll(&mut fds, Some(&patience)).expect("poll");
                    let events: Vec<_> = fds.iter().map(PollFd::revents).collect();
                    drop(fds);
                    relay.handle(&events);
                    drop(relay);
                    thread::yield_now();
                }
            });
            running
        }

        fn streams(&self) -> usize {
            self.relay.lock().expect("relay").streams.len()
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn relayed(datagram: bool, container_port: u16) -> RelayedPort {
        let host_port = match datagram {
            true => UdpSocket::bind((HERE, 0)).and_then(|socket| socket.local_addr()),
            false => TcpListener::bind((HERE, 0)).and_then(|socket| socket.local_addr()),
        };
        RelayedPort {
            datagram,
            host_ip: HERE,
            host_port: host_port.expect("a free port").port(),
            container_port,
        }
    }

    /// Answers every connection, after its end, with what it sent.
    fn echo() -> u16 {
        let listener = TcpListener::bind((THERE, 0)).expect("listen");
        let port = listener.local_addr().expect("address").port();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut all = Vec::new();
                    stream.read_to_end(&mut all).expect("read");
                    stream.write_all(&all).expect("write");
                });
            }
        });
        port
    }

    #[test]
    fn everything_arrives_and_each_side_ends_by_itself() {
        let port = relayed(false, echo());
        // Nobody listens at the first address.
        let running = Running::new(&[port], vec![IpAddr::V6(Ipv6Addr::LOCALHOST), THERE]);
        let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let sent = sent.clone();
                thread::spawn(move || {
                    let mut stream = TcpStream::connect((HERE, port.host_port)).expect("connect");
                    let mut writer = stream.try_clone().expect("clone");
                    let data = sent.clone();
                    let writing = thread::spawn(move || {
                        writer.write_all(&data).expect("write");
                        writer.shutdown(Shutdown::Write).expect("end");
                    });
                    let mut received = Vec::new();
                    stream.read_to_end(&mut received).expect("read");
                    writing.join().expect("writer");
                    assert!(received == sent, "{} bytes came back", received.len());
                })
            })
            .collect();
        workers
            .into_iter()
            .for_each(|worker| worker.join().expect("worker"));
        let patience = Instant::now() + Duration::from_secs(5);
        while running.streams() > 0 {
            assert!(
                Instant::now() < patience,
                "connections that ended are still there"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_container_that_does_not_listen_ends_the_connection() {
        let free = TcpListener::bind((THERE, 0)).and_then(|socket| socket.local_addr());
        let port = relayed(false, free.expect("a port").port());
        let running = Running::new(&[port], vec![THERE]);
        let mut stream = TcpStream::connect((HERE, port.host_port)).expect("accepted");
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("patience");
        assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0);
        assert_eq!(running.streams(), 0);
    }

    #[test]
    fn datagrams_find_their_way_back() {
        let server = UdpSocket::bind((THERE, 0)).expect("server");
        let port = relayed(true, server.local_addr().expect("address").port());
        let _running = Running::new(&[port], vec![THERE]);
        let clients: Vec<_> = (0..2)
            .map(|_| UdpSocket::bind((HERE, 0)).expect("client"))
            .collect();
        for (number, client) in clients.iter().enumerate() {
            client
                .set_read_timeout(Some(Duration::from_secs(5)))
                .expect("patience");
            client
                .send_to(&[number as u8], (HERE, port.host_port))
                .expect("send");
        }
        for _ in &clients {
            let mut buffer = [0; 8];
            let (length, from) = server.recv_from(&mut buffer).expect("arrives");
            server.send_to(&[buffer[0] + 10], from).expect("answer");
            assert_eq!(length, 1);
        }
        for (number, client) in clients.iter().enumerate() {
            let mut buffer = [0; 8];
            client.recv(&mut buffer).expect("the answer");
            assert_eq!(usize::from(buffer[0]), number + 10);
        }
        assert!(
            UdpSocket::bind((HERE, port.host_port)).is_err(),
            "the port is taken"
        );
    }

    #[test]
    fn ports_are_taken_and_let_go() {
        let (kept, dropped) = (relayed(false, echo()), relayed(false, 1));
        let mut relay = Relay::default();
        relay.set(&[kept, dropped], vec![THERE]).expect("listen");
        relay.set(&[kept], vec![THERE]).expect("fewer");
        TcpListener::bind((HERE, dropped.host_port)).expect("free again");
        let other = TcpListener::bind((HERE, 0)).expect("listen");
        let taken = RelayedPort {
            host_port: other.local_addr().expect("address").port(),
            ..kept
        };
        relay.set(&[taken], vec![THERE]).expect_err("somebody else's");
        assert_eq!(relay.listeners.len(), 1, "all is as it was");
        TcpStream::connect((HERE, kept.host_port)).expect("still there");
    }
}
