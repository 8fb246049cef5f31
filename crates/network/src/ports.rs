//! Ports of the host: reserved by sockets that are bound, and for TCP listening, but never served.
//!
//! The firewall takes published traffic away before it reaches a socket, so these only keep other programs from taking
//! the port, and find out when another program already has it.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};

use crate::endpoint::{PortBinding, PortRequest, Protocol};
use crate::error::NetworkError;

/// Keeps ports of the host until dropped.
#[derive(Debug, Default)]
pub(crate) struct Reservation {
    _sockets: Vec<OwnedFd>,
}

/// Reserves a host port for every request; `taken` are the bindings of this engine's other containers.
pub(crate) fn reserve(
    requests: &[PortRequest],
    taken: &[PortBinding],
) -> Result<(Vec<PortBinding>, Reservation), NetworkError> {
    let mut bindings: Vec<PortBinding> = Vec::with_capacity(requests.len());
    let mut sockets = Vec::with_capacity(requests.len());
    for request in requests {
        let (host_port, socket) = reserve_one(request, |port| {
            taken
                .iter()
                .chain(&bindings)
                .any(|binding| conflicts(binding, request, port))
        })?;
        sockets.push(socket);
        bindings.push(PortBinding {
            container_port: request.container_port,
            protocol: request.protocol,
            host_ip: request.host_ip,
            host_port,
        });
    }
    Ok((bindings, Reservation { _sockets: sockets }))
}

/// Reserves again what an earlier daemon had reserved. A port that another program took meanwhile stays published, since
/// the firewall comes first; the other program is named in the log.
pub(crate) fn reserve_again(bindings: &[PortBinding]) -> Reservation {
    let sockets = bindings
        .iter()
        .filter_map(|binding| match open(binding.protocol, binding.host_ip, binding.host_port) {
            Ok((_, socket)) => Some(socket),
            Err(error) => {
                let PortBinding { host_ip, host_port, protocol, .. } = binding;
                tracing::warn!(%error, "published port {host_ip}:{host_port}/{protocol} could not be reserved again");
                None
            }
        })
        .collect();
    Reservation { _sockets: sockets }
}

fn conflicts(binding: &PortBinding, request: &PortRequest, port: u16) -> bool {
    let same_address = binding.host_ip == request.host_ip
        || binding.host_ip.is_unspecified()
        || request.host_ip.is_unspecified();
    binding.host_port == port && binding.protocol == request.protocol && same_address
}

fn reserve_one(
    request: &PortRequest,
    allocated: impl Fn(u16) -> bool,
) -> Result<(u16, OwnedFd), NetworkError> {
    let PortRequest {
        protocol,
        host_ip: ip,
        ..
    } = *request;
    let refused = |port: u16, error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => NetworkError::PortInUse { ip, port, protocol },
        _ => NetworkError::PortRefused {
            ip,
            port,
            protocol,
            source: error,
        },
    };
    let Some(range) = request.host_ports.clone().filter(|range| *range != (0..=0)) else {
        return open(protocol, ip, 0).map_err(|error| refused(0, error));
    };
    let (first, last) = (*range.start(), *range.end());
    for port in range {
        if port == 0 {
            continue;
        }
        if allocated(port) {
            if first == last {
                return Err(NetworkError::PortAllocated { ip, port, protocol });
            }
            continue;
        }
        match open(protocol, ip, port) {
            Ok(reserved) => return Ok(reserved),
            Err(error) if first == last || error.kind() != io::ErrorKind::AddrInUse => {
                return Err(refused(port, error));
            }
            Err(_) => {}
        }
    }
    Err(NetworkError::PortRangeExhausted {
        ip,
        first,
        last,
        protocol,
    })
}

fn open(protocol: Protocol, ip: Ipv4Addr, port: u16) -> io::Result<(u16, OwnedFd)> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    // Without SO_REUSEADDR, connections of an earlier life in TIME_WAIT would refuse the port for a minute. It lets
    // nobody share a port on which somebody listens.
    if protocol == Protocol::Tcp {
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &SocketAddrV4::new(ip, port))?;
    if protocol == Protocol::Tcp {
        listen(&socket, 1)?;
    }
    let bound = SocketAddrV4::try_from(getsockname(&socket)?)?;
    Ok((bound.port(), socket))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

    fn request(
        protocol: Protocol,
        host_ip: Ipv4Addr,
        ports: Option<std::ops::RangeInclusive<u16>>,
    ) -> PortRequest {
        PortRequest {
            container_port: 80,
            protocol,
            host_ip,
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
            host_ip: Ipv4Addr::UNSPECIFIED,
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
    fn an_address_the_host_does_not_have_is_refused() {
        let error = reserve(
            &[request(Protocol::Tcp, Ipv4Addr::new(203, 0, 113, 7), None)],
            &[],
        )
        .expect_err("foreign");
        assert!(matches!(error, NetworkError::PortRefused { .. }), "{error}");
    }
}
