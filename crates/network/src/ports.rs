//! Ports of the host: reserved by sockets that are bound, and for TCP listening, but never served.
//!
//! The firewall takes published traffic away before it reaches a socket, so these only keep other programs from taking
//! the port, and find out when another program already has it. What the firewall cannot pass on is served by a socket of
//! somebody else (see [`Endpoint::relayed`](crate::Endpoint::relayed)): for those only a place is held until it is there.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt};

use crate::endpoint::{PortBinding, PortRequest, Protocol};
use crate::error::NetworkError;

/// Other ports that are tried when the one the kernel chose for the first address is taken on another one.
const ATTEMPTS: usize = 32;

/// Keeps ports of the host until dropped.
#[derive(Debug, Default)]
pub(crate) struct Reservation {
    sockets: Vec<(PortBinding, OwnedFd)>,
}

impl Reservation {
    /// Lets go of ports that somebody else has taken over.
    pub(crate) fn release(&mut self, bindings: &[PortBinding]) {
        self.sockets.retain(|(binding, _)| !bindings.contains(binding));
    }

    /// Reserves those of `bindings` that are neither `relayed` nor reserved yet: an earlier daemon had them, or somebody who
    /// relayed them no longer does. A port that another program took meanwhile stays published, since the firewall comes
    /// first; the other program is named in the log.
    pub(crate) fn complete(&mut self, bindings: &[PortBinding], relayed: &[PortBinding]) {
        for binding in bindings {
            if relayed.contains(binding) || self.sockets.iter().any(|(known, _)| known == binding) {
                continue;
            }
            match open(binding.protocol, binding.host_ip, binding.host_port, false) {
                Ok((_, socket)) => self.sockets.push((*binding, socket)),
                Err(error) => {
                    let address = SocketAddr::new(binding.host_ip, binding.host_port);
                    let protocol = binding.protocol;
                    tracing::warn!(%error, "published port {address}/{protocol} could not be reserved again");
                }
            }
        }
    }

    /// Of ports that are to be relayed from now on only their places are held, so that somebody else can listen.
    pub(crate) fn make_way(&mut self, relayed: &[PortBinding]) {
        for (binding, socket) in self
            .sockets
            .extract_if(.., |(binding, _)| relayed.contains(binding))
            .collect::<Vec<_>>()
        {
            drop(socket);
            if let Ok((_, place)) = open(binding.protocol, binding.host_ip, binding.host_port, true) {
                self.sockets.push((binding, place));
            }
        }
    }
}

/// Whether this host can listen on IPv6 addresses.
pub fn has_ipv6() -> bool {
    static KNOWN: LazyLock<bool> =
        LazyLock::new(|| open(Protocol::Tcp, Ipv6Addr::LOCALHOST.into(), 0, false).is_ok());
    *KNOWN
}

/// Reserves a host port for every request; `taken` are the bindings of this engine's other containers, `relayed` says which
/// bindings somebody else will listen on.
pub(crate) fn reserve(
    requests: &[PortRequest],
    taken: &[PortBinding],
    relayed: impl Fn(IpAddr) -> bool,
) -> Result<(Vec<PortBinding>, Reservation), NetworkError> {
    let mut sockets: Vec<(PortBinding, OwnedFd)> = Vec::with_capacity(requests.len());
    for request in requests {
        let reserved = reserve_one(request, &relayed, |ip, port| {
            taken
                .iter()
                .chain(sockets.iter().map(|(binding, _)| binding))
                .any(|binding| conflicts(binding, request.protocol, ip, port))
        })?;
        sockets.extend(reserved);
    }
    let bindings = sockets.iter().map(|(binding, _)| *binding).collect();
    Ok((bindings, Reservation { sockets }))
}

fn conflicts(binding: &PortBinding, protocol: Protocol, ip: IpAddr, port: u16) -> bool {
    let same_address = binding.host_ip == ip
        || binding.host_ip.is_ipv4() == ip.is_ipv4()
            && (binding.host_ip.is_unspecified() || ip.is_unspecified());
    binding.host_port == port && binding.protocol == protocol && same_address
}

fn reserve_one(
    request: &PortRequest,
    relayed: &impl Fn(IpAddr) -> bool,
    allocated: impl Fn(IpAddr, u16) -> bool,
) -> Result<Vec<(PortBinding, OwnedFd)>, NetworkError> {
    let PortRequest { protocol, .. } = *request;
    let Some(first_ip) = request.host_ips.first().copied() else {
        return Ok(Vec::new());
    };
    let refused = |ip: IpAddr, port: u16, error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => NetworkError::PortInUse { ip, port, protocol },
        _ => NetworkError::PortRefused {
            ip,
            port,
            protocol,
            source: error,
        },
    };
    // The same port on all addresses, or none.
    let take = |wanted: u16| -> Result<Vec<(PortBinding, OwnedFd)>, (IpAddr, u16, io::Error)> {
        let mut port = wanted;
        let mut sockets = Vec::with_capacity(request.host_ips.len());
        for ip in &request.host_ips {
            let (bound, socket) =
                open(protocol, *ip, port, relayed(*ip)).map_err(|error| (*ip, port, error))?;
            port = bound;
            let binding = PortBinding {
                container_port: request.container_port,
                protocol,
                host_ip: *ip,
                host_port: port,
            };
            sockets.push((binding, socket));
        }
        Ok(sockets)
    };
    let Some(range) = request.host_ports.clone().filter(|range| *range != (0..=0)) else {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match take(0) {
                Ok(sockets) => return Ok(sockets),
                Err((ip, _, error))
                    if error.kind() == io::ErrorKind::AddrInUse && ip != first_ip && attempts < ATTEMPTS => {}
                Err((ip, port, error)) => return Err(refused(ip, port, error)),
            }
        }
    };
    let (first, last) = (*range.start(), *range.end());
    for port in range {
        if port == 0 {
            continue;
        }
        if let Some(ip) = request.host_ips.iter().copied().find(|ip| allocated(*ip, port)) {
            if first == last {
                return Err(NetworkError::PortAllocated { ip, port, protocol });
            }
            continue;
        }
        match take(port) {
            Ok(reserved) => return Ok(reserved),
            Err((ip, port, error)) if first == last || error.kind() != io::ErrorKind::AddrInUse => {
                return Err(refused(ip, port, error));
            }
            Err(_) => {}
        }
    }
    Err(NetworkError::PortRangeExhausted {
        ip: first_ip,
        first,
        last,
        protocol,
    })
}

/// A socket at the port, or at any when it is 0. `place`: another socket will listen there while this one still is.
fn open(protocol: Protocol, ip: IpAddr, port: u16, place: bool) -> io::Result<(u16, OwnedFd)> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let family = match ip {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if ip.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // Without SO_REUSEADDR, connections of an earlier life in TIME_WAIT would refuse the port for a minute. It lets
    // nobody share a port on which somebody listens.
    if protocol == Protocol::Tcp {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(ip, port))?;
    if protocol == Protocol::Tcp && !place {
        listen(&socket, 1)?;
    }
    if protocol == Protocol::Udp && place {
        // Only now: bound with it, the port could be somebody else's already.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    let bound = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((bound.port(), socket))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};

    use super::*;

    const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

    fn reserve(
        requests: &[PortRequest],
        taken: &[PortBinding],
    ) -> Result<(Vec<PortBinding>, Reservation), NetworkError> {
        super::reserve(requests, taken, |_| false)
    }

    fn request(
        protocol: Protocol,
        host_ip: Ipv4Addr,
        ports: Option<std::ops::RangeInclusive<u16>>,
    ) -> PortRequest {
        PortRequest {
            container_port: 80,
            protocol,
            host_ips: vec![host_ip.into()],
            host_ports: ports,
        }
    }

    #[test]
    fn a_reserved_port_is_nobody_elses() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let (bindings, reservation) =
                reserve(&[request(protocol, LOCAL, None)], &[]).expect("any free port");
            let port = bindings[0].host_port;
            assert_ne!(port, 0);
            let refused = match protocol {
                Protocol::Tcp => TcpListener::bind((LOCAL, port)).map(|_| ()),
                Protocol::Udp => UdpSocket::bind((LOCAL, port)).map(|_| ()),
            };
            assert_eq!(
                refused.map_err(|error| error.kind()),
                Err(io::ErrorKind::AddrInUse),
                "{protocol}"
            );
            drop(reservation);
            reserve(&[request(protocol, LOCAL, Some(port..=port))], &[]).expect("free again");
        }
    }

    #[test]
    fn a_port_of_another_program_is_told_from_one_of_another_container() {
        let other = TcpListener::bind((LOCAL, 0)).expect("listener");
        let port = other.local_addr().expect("address").port();
        let wanted = [request(Protocol::Tcp, LOCAL, Some(port..=port))];
        let error = reserve(&wanted, &[]).expect_err("taken by a program");
        assert_eq!(
            error.to_string(),
            format!("failed to bind host port 127.0.0.1:{port}/tcp: address already in use")
        );

        let binding = PortBinding {
            container_port: 1,
            protocol: Protocol::Tcp,
            host_ip: Ipv4Addr::UNSPECIFIED.into(),
            host_port: port,
        };
        let error = reserve(&wanted, &[binding]).expect_err("taken by a container");
        assert_eq!(
            error.to_string(),
            format!("Bind for 127.0.0.1:{port} failed: port is already allocated")
        );
        let udp = PortBinding {
            protocol: Protocol::Udp,
            ..binding
        };
        let error = reserve(&wanted, &[udp]).expect_err("taken by the program, not by the other protocol");
        assert!(matches!(error, NetworkError::PortInUse { .. }), "{error}");
    }

    #[test]
    fn the_first_free_port_of_a_range_is_taken() {
        let other = TcpListener::bind((LOCAL, 0)).expect("listener");
        let port = other.local_addr().expect("address").port().min(u16::MAX - 9);
        let range = port..=port + 9;
        let two = [
            request(Protocol::Tcp, LOCAL, Some(range.clone())),
            request(Protocol::Tcp, LOCAL, Some(range)),
        ];
        let (bindings, _kept) = reserve(&two, &[]).expect("two of ten");
        assert!(bindings[0].host_port > port || other.local_addr().expect("address").port() > port);
        assert!(bindings[1].host_port > bindings[0].host_port);

        let first = bindings[0].host_port;
        let error =
            reserve(&[request(Protocol::Tcp, LOCAL, Some(first..=first))], &bindings).expect_err("allocated");
        assert!(matches!(error, NetworkError::PortAllocated { .. }), "{error}");
    }

    #[test]
    fn both_families_get_the_same_port() {
        let any = PortRequest {
            host_ips: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            ..request(Protocol::Tcp, LOCAL, None)
        };
        let (bindings, kept) = reserve(std::slice::from_ref(&any), &[]).expect("a port");
        assert_eq!(bindings.len(), 2);
        assert_eq!(bindings[0].host_port, bindings[1].host_port);
        let port = bindings[0].host_port;
        let one = PortRequest {
            host_ips: vec![Ipv6Addr::LOCALHOST.into()],
            host_ports: Some(port..=port),
            ..any
        };
        let error = reserve(std::slice::from_ref(&one), &bindings).expect_err("allocated");
        assert_eq!(
            error.to_string(),
            format!("Bind for [::1]:{port} failed: port is already allocated")
        );
        drop(kept);
        reserve(&[one], &[]).expect("free again");
    }

    #[test]
    fn a_place_is_held_for_the_socket_that_will_serve() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let wanted = PortRequest {
                host_ips: vec![Ipv6Addr::LOCALHOST.into()],
                ..request(protocol, LOCAL, None)
            };
            let (bindings, mut kept) = super::reserve(&[wanted], &[], |_| true).expect("a port");
            let address = SocketAddr::new(bindings[0].host_ip, bindings[0].host_port);
            if protocol == Protocol::Udp {
                assert!(
                    UdpSocket::bind(address).is_err(),
                    "somebody who does not know of it"
                );
            }
            let kind = match protocol {
                Protocol::Tcp => SocketType::STREAM,
                Protocol::Udp => SocketType::DGRAM,
            };
            let serving =
                socket_with(AddressFamily::INET6, kind, SocketFlags::CLOEXEC, None).expect("socket");
            sockopt::set_socket_reuseaddr(&serving, true).expect("option");
            bind(&serving, &address).expect("the place is free for it");
            if protocol == Protocol::Tcp {
                listen(&serving, 1).expect("listen");
            }
            kept.release(&bindings);
            assert!(kept.sockets.is_empty());
        }
    }

    #[test]
    fn an_address_the_host_does_not_have_is_refused() {
        let error = reserve(
            &[request(Protocol::Tcp, Ipv4Addr::new(203, 0, 113, 7), None)],
            &[],
        )
        .expect_err("foreign");
        assert!(matches!(error, NetworkError::PortRefused { .. }), "{error}");
    }
}
