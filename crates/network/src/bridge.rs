//! Bridges: interface, subnet, and what the host must allow for them.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use fs_err as fs;
use ipnet::Ipv4Net;
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};

use crate::config::NetworkConfig;
use crate::endpoint::MacAddress;
use crate::error::NetworkError;
use crate::netlink::{self, Connection, Link, Route};
use crate::pool;

/// The largest MTU a bridge gets, whatever its uplink can carry.
const MTU_MAX: u32 = 1500;

/// The bridge as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bridge {
    pub(crate) index: u32,
    pub(crate) subnet: Ipv4Net,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) mtu: u32,
    /// Whether it was made just now.
    pub(crate) fresh: bool,
}

/// What a bridge is to be.
pub(crate) struct Wanted<'a> {
    pub(crate) interface: &'a str,
    /// `None`: the uplink's, at most 1500.
    pub(crate) mtu: Option<u32>,
    /// Published ports are to be reached from the host's 127.0.0.1.
    pub(crate) from_loopback: bool,
}

/// Finds the default bridge or makes it. `remembered` is the subnet of an earlier life, preferred when it is still free;
/// `reserved` are those of other networks.
pub(crate) fn ensure_default(
    config: &NetworkConfig,
    remembered: Option<Ipv4Net>,
    reserved: &[Ipv4Net],
) -> Result<Bridge, NetworkError> {
    let wanted = Wanted {
        interface: &config.bridge,
        mtu: config.mtu,
        from_loopback: true,
    };
    // From the choice of a subnet until its route is there, no other engine may choose.
    let _turn = turn();
    ensure(&wanted, |routes| {
        let remembered = remembered.filter(|subnet| config.pools.contains(subnet));
        let pools: Vec<_> = remembered
            .into_iter()
            .chain(config.pools.iter().copied())
            .collect();
        let subnet = free_subnet(&pools, routes, reserved)?;
        let gateway = Ipv4Addr::from_bits(subnet.network().to_bits() + 1);
        Ipv4Net::new(gateway, subnet.prefix_len()).map_err(|_| NetworkError::PoolsExhausted)
    })
}

/// Finds a bridge or makes it; `address` says what it gets when it has none.
pub(crate) fn ensure(
    wanted: &Wanted<'_>,
    address: impl Fn(&[Route]) -> Result<Ipv4Net, NetworkError>,
) -> Result<Bridge, NetworkError> {
    let name = wanted.interface;
    let mut host = connection()?;
    let failed = |action: &'static str| {
        move |source| NetworkError::Netlink {
            action,
            object: format!("bridge {name}"),
            source,
        }
    };
    let links = host.links().map_err(failed("look for"))?;
    let routes = host.routes().map_err(failed("look for"))?;
    if let Some(found) = links.iter().find(|link| link.name == *name) {
        if !found.is_bridge {
            return Err(NetworkError::NotABridge {
                name: name.to_owned(),
            });
        }
        let addresses = host.addresses().map_err(failed("look for"))?;
        let address = match addresses.iter().find(|(index, _)| *index == found.index) {
            Some((_, address)) => *address,
            None => {
                let address = address(&routes)?;
                host.execute(vec![
                    netlink::set_up(found.index),
                    netlink::add_address(found.index, address),
                ])
                .map_err(failed("give an address to"))?;
                address
            }
        };
        allow(wanted)?;
        return Ok(Bridge {
            index: found.index,
            subnet: address.trunc(),
            gateway: address.addr(),
            mtu: found.mtu,
            fresh: false,
        });
    }

    let address = address(&routes)?;
    let mtu = wanted.mtu.unwrap_or_else(|| uplink_mtu(&links, &routes));
    host.execute(vec![netlink::add_bridge(
        name,
        mtu,
        MacAddress::from_ip(address.addr()),
    )])
    .map_err(failed("create"))?;
    let finish = || -> Result<u32, NetworkError> {
        let index = netlink::link_index(name)
            .and_then(|index| index.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(failed("find"))?;
        Connection::open()
            .and_then(|mut host| host.execute(vec![netlink::add_address(index, address)]))
            .map_err(failed("give an address to"))?;
        allow(wanted)?;
        Ok(index)
    };
    match finish() {
        Ok(index) => Ok(Bridge {
            index,
            subnet: address.trunc(),
            gateway: address.addr(),
            mtu,
            fresh: true,
        }),
        Err(error) => {
            let _ = remove(name);
            Err(error)
        }
    }
}

/// A subnet of the pools that neither a route of the host overlaps nor one of the `reserved` networks.
pub(crate) fn choose_subnet(pools: &[Ipv4Net], reserved: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
    let routes = connection()?.routes().map_err(|source| NetworkError::Netlink {
        action: "list",
        object: "routes".to_owned(),
        source,
    })?;
    free_subnet(pools, &routes, reserved)
}

fn free_subnet(pools: &[Ipv4Net], routes: &[Route], reserved: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
    let mut taken: Vec<_> = routes.iter().map(|route| route.destination).collect();
    taken.extend(reserved);
    // A name server may lie behind the default route, inside a pool: the bridge would hide it.
    let resolv = crate::files::host_resolv_conf();
    taken.extend(
        crate::files::servers(&resolv)
            .iter()
            .filter_map(|server| server.parse::<Ipv4Addr>().ok())
            .map(Ipv4Net::from),
    );
    pool::choose(pools, &taken)
}

fn connection() -> Result<Connection, NetworkError> {
    Connection::open().map_err(|source| NetworkError::Netlink {
        action: "ask the kernel about",
        object: "network interfaces".to_owned(),
        source,
    })
}

/// Removes the bridge. There being none is no error.
pub(crate) fn remove(name: &str) -> Result<(), NetworkError> {
    let gone = Connection::open().and_then(|mut host| host.execute(vec![netlink::delete_link(name)]));
    match gone {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::NODEV.raw_os_error()) => {
            Err(NetworkError::Netlink {
                action: "remove",
                object: format!("bridge {name}"),
                source: error,
            })
        }
        _ => Ok(()),
    }
}

/// What the link of the default route carries.
fn uplink_mtu(links: &[Link], routes: &[Route]) -> u32 {
    routes
        .iter()
        .filter(|route| route.destination.prefix_len() == 0)
        .find_map(|route| links.iter().find(|link| Some(link.index) == route.link))
        .map_or(MTU_MAX, |uplink| uplink.mtu.min(MTU_MAX))
}

/// Forwarding, and 127.0.0.1 as a source on the bridge: what reaches a published port from the host's own 127.0.0.1 is
/// only rerouted if the bridge may carry it. The table's guard keeps containers from using it the other way.
fn allow(wanted: &Wanted<'_>) -> Result<(), NetworkError> {
    turn_on("/proc/sys/net/ipv4/ip_forward")?;
    if wanted.from_loopback {
        turn_on(&format!(
            "/proc/sys/net/ipv4/conf/{}/route_localnet",
            wanted.interface
        ))?;
    }
    Ok(())
}

fn turn_on(path: &str) -> Result<(), NetworkError> {
    let set = || {
        if fs::read_to_string(path)?.trim() == "1" {
            return Ok(());
        }
        fs::write(path, "1")
    };
    let name = path.trim_start_matches("/proc/sys/").replace('/', ".");
    set().map_err(|source| NetworkError::Sysctl { name, source })
}

/// Waits for the right to choose a subnet on this host. The lock is an abstract socket's name: it belongs to the network
/// namespace, as routes do, and ends with its process. Somebody who holds it for seconds is not waited for.
pub(crate) fn turn() -> Option<OwnedFd> {
    let address = SocketAddrUnix::new_abstract_name(b"havre-bridge-setup").ok()?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    let patience = Instant::now() + Duration::from_secs(5);
    while bind(&socket, &address).is_err() {
        if Instant::now() > patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Some(socket)
}
