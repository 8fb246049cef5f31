//! Sockets that were opened for this daemon: by systemd, or by the daemon that ran in this process before.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use havre_api::Listener;
use havre_sys::activation;
use rustix::net::AddressFamily;
use rustix::net::sockopt::{socket_acceptconn, socket_domain};

use crate::daemon::with_sources;
use crate::error::CliError;
use crate::listening::Place;

/// Set by a daemon that hands over, a line each: whose its API socket is, and where each socket is that it passes. (A socket of
/// the engine was bound under another name before it was renamed, and knows that one only.)
pub(crate) const PLACES: &str = "HAVRE_SOCKETS";
/// In the first line: the engine's own, not systemd's.
pub(crate) const OWN: &str = "own";

/// The sockets that were passed and that nobody has taken yet.
#[derive(Default)]
pub(crate) struct Passed {
    unix: Vec<(PathBuf, UnixListener)>,
    tcp: Vec<TcpListener>,
    own: bool,
}

impl Passed {
    /// Takes them from the environment. Once per process, before anything else is opened.
    pub(crate) fn take() -> Result<Self, CliError> {
        let numbers = sd_notify::listen_fds().map_err(|error| {
            CliError::Invalid(format!("cannot take the sockets that were passed: {error}"))
        })?;
        let places = std::env::var(PLACES).unwrap_or_default();
        let mut places = places.lines();
        let mut passed = Self {
            own: places.next() == Some(OWN),
            ..Self::default()
        };
        for (number, socket) in activation::adopt(numbers).into_iter().enumerate() {
            let place = places.next().filter(|place| place.starts_with('/'));
            passed.sort(socket, place).map_err(|reason| {
                CliError::Invalid(format!("socket {number} of those that were passed {reason}"))
            })?;
        }
        Ok(passed)
    }

    fn sort(&mut self, socket: OwnedFd, place: Option<&str>) -> Result<(), String> {
        let failed = |error: rustix::io::Errno| format!("cannot be used: {error}");
        if !socket_acceptconn(&socket).map_err(failed)? {
            return Err("does not listen: use ListenStream= in its unit, without Accept=".to_owned());
        }
        match socket_domain(&socket).map_err(failed)? {
            AddressFamily::UNIX => {
                let socket = UnixListener::from(socket);
                let bound = socket.local_addr().ok();
                let bound = bound.as_ref().and_then(|address| address.as_pathname());
                let path = place.map(Path::new).or(bound).unwrap_or(Path::new(""));
                self.unix.push((path.to_owned(), socket));
            }
            AddressFamily::INET | AddressFamily::INET6 => self.tcp.push(socket.into()),
            other => return Err(format!("is of the family {}, not Unix or TCP", other.as_raw())),
        }
        Ok(())
    }

    /// The socket at `path`, if it was passed; and whether it is the engine's own.
    pub(crate) fn unix(&mut self, path: &Path) -> Result<Option<(Listener, bool)>, CliError> {
        let Some(at) = self.unix.iter().position(|(place, _)| place == path) else {
            return Ok(None);
        };
        let listener = Listener::adopt_unix(self.unix.swap_remove(at).1)?;
        Ok(Some((listener, self.own)))
    }

    /// The socket of an address, if it was passed.
    pub(crate) fn place(&mut self, place: &Place) -> Result<Option<Listener>, CliError> {
        match place {
            Place::Unix(path) => Ok(self.unix(path)?.map(|(listener, _)| listener)),
            Place::Tcp(address, identity) => {
                let same = |socket: &TcpListener| socket.local_addr().is_ok_and(|other| other == *address);
                let Some(at) = self.tcp.iter().position(same) else {
                    return Ok(None);
                };
                let adopted = Listener::adopt_tcp(self.tcp.swap_remove(at), identity.as_ref());
                adopted
                    .map(Some)
                    .map_err(|error| CliError::Invalid(with_sources(&error)))
            }
        }
    }

    /// What neither flags nor configuration name: an administrator has opened them in a unit, so they are served.
    pub(crate) fn rest(self) -> Result<Vec<Listener>, CliError> {
        let mut listeners = Vec::new();
        for (_, socket) in self.unix {
            listeners.push(Listener::adopt_unix(socket)?);
        }
        for socket in self.tcp {
            let address: SocketAddr = socket.local_addr()?;
            tracing::warn!(%address, "listening without authentication, for the socket was passed: whoever reaches it is root on this machine");
            let adopted = Listener::adopt_tcp(socket, None);
            listeners.push(adopted.map_err(|error| CliError::Invalid(with_sources(&error)))?);
        }
        Ok(listeners)
    }
}
