//! The server in a container's network namespace.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fs_err as fs;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::answer::{self, Decision};
use crate::directory::{Cached, Directory, Names, Resolver, Upstream};
use crate::forward;

/// Where containers find their name server, as Docker's do.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Questions that others are asked at one time; more are not answered, and asked again by those who want to know.
const AT_ONCE: usize = 100;
/// TCP connections at one time.
const CONNECTIONS: usize = 32;
/// How long a TCP client may be silent.
const SILENCE: Duration = Duration::from_secs(10);
const STACK: usize = 128 << 10;

/// The namespaces questions are asked from.
pub(crate) struct Namespaces {
    pub(crate) container: fs::File,
    pub(crate) host: fs::File,
}

struct Server {
    namespaces: Namespaces,
    known: Mutex<Known>,
    asking: AtomicUsize,
    connections: AtomicUsize,
}

struct Known {
    directory: Directory,
    resolver: Cached<Resolver>,
    networks: Vec<(String, Cached<Names>)>,
}

/// Serves a container from now on, on threads of its own that end with the process: listens at `port` of [`ADDRESS`] in the
/// network namespace `namespace`, by datagram and TCP. When this returns it listens.
pub fn serve(directory: &Path, container: &str, namespace: &Path, port: u16) -> io::Result<()> {
    let directory = Directory::open(directory)?;
    let server = Arc::new(Server {
        namespaces: Namespaces {
            container: fs::File::open(namespace)?,
            host: fs::File::open("/proc/thread-self/ns/net")?,
        },
        known: Mutex::new(Known {
            resolver: Cached::new(directory.resolver_path(container)),
            directory,
            networks: Vec::new(),
        }),
        asking: AtomicUsize::new(0),
        connections: AtomicUsize::new(0),
    });
    // A thread that enters the namespace; those it starts are born in it.
    let (listening, listens) = std::sync::mpsc::sync_channel(1);
    spawn("names", move || {
        let sockets = server.listen(port);
        let (sockets, outcome) = match sockets {
            Ok(sockets) => (Some(sockets), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let _ = listening.send(outcome);
        if let Some((datagrams, listener)) = sockets {
            let streams = server.clone();
            let _ = spawn("names-tcp", move || streams.serve_streams(&listener));
            server.serve_datagrams(&Arc::new(datagrams));
        }
    })?;
    listens
        .recv()
        .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let builder = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    builder.spawn(work).map(|_| ())
}

impl Server {
    fn listen(&self, port: u16) -> io::Result<(UdpSocket, TcpListener)> {
        move_into_link_name_space(
            self.namespaces.container.as_fd(),
            Some(LinkNameSpaceType::Network),
        )?;
        Ok((
            UdpSocket::bind((ADDRESS, port))?,
            TcpListener::bind((ADDRESS, port))?,
        ))
    }

    fn serve_datagrams(self: &Arc<Self>, socket: &Arc<UdpSocket>) {
        let mut buffer = [0; 4096];
        loop {
            let Ok((length, client)) = socket.recv_from(&mut buffer) else {
                thread::sleep(Duration::from_millis(10));
                continue;
            };
            let packet = &buffer[..length];
            match self.decide(packet, true) {
                (Decision::Answer(answer), _) => {
                    let _ = socket.send_to(&answer, client);
                }
                (Decision::Forward, servers) => {
                    let (server, socket, packet) = (self.clone(), socket.clone(), packet.to_vec());
                    if !admit(&self.asking, AT_ONCE) {
                        continue;
                    }
                    let started = spawn("names-ask", move || {
                        let answer = forward::ask(&packet, &servers, &server.namespaces, true);
                        if let Some(answer) = answer.or_else(|| answer::failure(&packet)) {
                            let _ = socket.send_to(&answer, client);
                        }
                        server.asking.fetch_sub(1, Ordering::SeqCst);
                    });
                    if started.is_err() {
                        self.asking.fetch_sub(1, Ordering::SeqCst);
                    }
                }
                (Decision::Ignore, _) => {}
            }
        }
    }

    fn serve_streams(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(Duration::from_millis(10));
                continue;
            };
            if !admit(&self.connections, CONNECTIONS) {
                continue;
            }
            let server = self.clone();
            let started = spawn("names-tcp", move || {
                let _ = server.converse(stream);
                server.connections.fetch_sub(1, Ordering::SeqCst);
            });
            if started.is_err() {
                self.connections.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        loop {
            let packet = forward::read_framed(&mut stream)?;
            let answer = match self.decide(&packet, false) {
                (Decision::Answer(answer), _) => Some(answer),
                (Decision::Forward, servers) => forward::ask(&packet, &servers, &self.namespaces, false)
                    .or_else(|| answer::failure(&packet)),
                (Decision::Ignore, _) => None,
            };
            match answer {
                Some(answer) => forward::write_framed(&mut stream, &answer)?,
                None => return Ok(()),
            }
        }
    }

    fn decide(&self, packet: &[u8], datagram: bool) -> (Decision, Vec<Upstream>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let resolver = known.resolver.get().clone();
        let same = known.networks.iter().map(|(id, _)| id).eq(&resolver.networks);
        if !same {
            let fresh = |id: &String| (id.clone(), Cached::new(known.directory.names_path(id)));
            known.networks = resolver.networks.iter().map(fresh).collect();
        }
        for (_, names) in &mut known.networks {
            names.get();
        }
        let networks = known.networks.iter().map(|(_, names)| names.last());
        (answer::decide(packet, networks, datagram), resolver.servers)
    }
}

/// Counts one more, unless there are as many as may be.
fn admit(count: &AtomicUsize, most: usize) -> bool {
    count
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
            (now < most).then_some(now + 1)
        })
        .is_ok()
}
