//! Bridges: interface, subnet, and what the host must allow for them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use fs_err as fs;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
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
    /// Its address, as its containers know it, with the prefix of the subnet.
    pub(crate) ipv4: Option<Ipv4Net>,
    /// The same in IPv6.
    pub(crate) ipv6: Option<Ipv6Net>,
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
    /// The bridge has no IPv4 address of its own.
    pub(crate) unnumbered: bool,
    /// Its IPv6 address with the prefix of the subnet.
    pub(crate) ipv6: Option<Ipv6Net>,
}

impl Wanted<'_> {
    fn ipv6_addresses(&self) -> impl Iterator<Item = IpNet> {
        let own = self.ipv6.map(|ipv6| [IpNet::V6(ipv6), IpNet::V6(LINK_LOCAL)]);
        own.into_iter().flatten()
    }
}

/// What a bridge with IPv6 is to those on it, whatever its subnet: it asks for its neighbours with this address, at once,
/// while the one the kernel chooses is still being tried out.
const LINK_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 64);

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
        unnumbered: false,
        ipv6: config.ipv6.map(first_host),
    };
    // From the choice of a subnet until its route is there, no other engine may choose.
    let _turn = turn();
    let choose = |routes: &[Route]| {
        let remembered = remembered.filter(|subnet| config.pools.contains(subnet));
        let pools: Vec<_> = remembered
            .into_iter()
            .chain(config.pools.iter().copied())
            .collect();
        let subnet = free_subnet(&pools, routes, reserved)?;
        let gateway = Ipv4Addr::from_bits(subnet.network().to_bits() + 1);
        Ipv4Net::new(gateway, subnet.prefix_len())
            .map_err(|_| NetworkError::PoolsExhausted { family: "IPv4" })
    };
    ensure(&wanted, Some(&choose))
}

/// Says which IPv4 address a bridge gets, as the host's routes are.
pub(crate) type Choose<'a> = &'a dyn Fn(&[Route]) -> Result<Ipv4Net, NetworkError>;

/// The first address of an IPv6 subnet, with its prefix.
pub(crate) fn first_host(subnet: Ipv6Net) -> Ipv6Net {
    let first = Ipv6Addr::from_bits(subnet.network().to_bits() | 1);
    Ipv6Net::new(first, subnet.prefix_len()).unwrap_or(subnet)
}

/// Finds a bridge or makes it; `address` says what it gets when it has none. `None`: no IPv4 at all.
pub(crate) fn ensure(wanted: &Wanted<'_>, address: Option<Choose<'_>>) -> Result<Bridge, NetworkError> {
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
        let own = |net: &IpNet| {
            let mut own = addresses.iter().filter(|(index, _)| *index == found.index);
            own.any(|(_, address)| address == net)
        };
        let known = addresses.iter().find_map(|(index, address)| match address {
            IpNet::V4(address) if *index == found.index => Some(*address),
            _ => None,
        });
        let ipv4 = match (known, address) {
            (_, None) => {
                host.execute(vec![netlink::set_up(found.index)])
                    .map_err(failed("set up"))?;
                None
            }
            (Some(known), _) => Some(known),
            (None, Some(address)) => {
                let address = address(&routes)?;
                let mut requests = vec![netlink::set_up(found.index)];
                if !wanted.unnumbered {
                    requests.push(netlink::add_address(found.index, address.into()));
                }
                host.execute(requests).map_err(failed("give an address to"))?;
                Some(address)
            }
        };
        allow(wanted, ipv4.is_some())?;
        let missing: Vec<_> = wanted
            .ipv6_addresses()
            .filter(|address| !own(address))
            .map(|address| netlink::add_address(found.index, address))
            .collect();
        if !missing.is_empty() {
            host.execute(missing).map_err(failed("give an IPv6 address to"))?;
        }
        return Ok(Bridge {
            index: found.index,
            ipv4,
            ipv6: wanted.ipv6,
            mtu: found.mtu,
            fresh: false,
        });
    }

    let ipv4 = address.map(|address| address(&routes)).transpose()?;
    let own = ipv4.map(|net| IpAddr::V4(net.addr()));
    let own = own.or(wanted.ipv6.map(|net| IpAddr::V6(net.addr())));
    let own = own.ok_or_else(|| NetworkError::NoSubnet {
        network: name.to_owned(),
    })?;
    let mtu = wanted.mtu.unwrap_or_else(|| uplink_mtu(&links, &routes));
    host.execute(vec![netlink::add_bridge(name, mtu, MacAddress::from_ip(own))])
        .map_err(failed("create"))?;
    let finish = || -> Result<u32, NetworkError> {
        let index = netlink::link_index(name)
            .and_then(|index| index.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(failed("find"))?;
        // A bridge takes IPv6 addresses only after it was allowed to have any.
        allow(wanted, ipv4.is_some())?;
        let numbered = ipv4.filter(|_| !wanted.unnumbered).map(IpNet::V4);
        let addresses = numbered.into_iter().chain(wanted.ipv6_addresses());
        let requests: Vec<_> = addresses
            .map(|address| netlink::add_address(index, address))
            .collect();
        if !requests.is_empty() {
            Connection::open()
                .and_then(|mut host| host.execute(requests))
                .map_err(failed("give an address to"))?;
        }
        Ok(index)
    };
    match finish() {
        Ok(index) => Ok(Bridge {
            index,
            ipv4,
            ipv6: wanted.ipv6,
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

/// An IPv6 subnet of the pools that neither a route of the host overlaps nor one of the `reserved` networks.
pub(crate) fn choose_ipv6_subnet(pools: &[Ipv6Net], reserved: &[Ipv6Net]) -> Result<Ipv6Net, NetworkError> {
    let routes = connection()?.routes().map_err(|source| NetworkError::Netlink {
        action: "list",
        object: "routes".to_owned(),
        source,
    })?;
    let mut taken: Vec<_> = routes
        .iter()
        .filter_map(|route| match route.destination {
            IpNet::V6(net) => Some(net),
            IpNet::V4(_) => None,
        })
        .collect();
    taken.extend(reserved);
    pool::choose_ipv6(pools, &taken)
}

fn free_subnet(pools: &[Ipv4Net], routes: &[Route], reserved: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
    let mut taken: Vec<_> = routes
        .iter()
        .filter_map(|route| match route.destination {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        })
        .collect();
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
fn allow(wanted: &Wanted<'_>, ipv4: bool) -> Result<(), NetworkError> {
    let name = wanted.interface;
    if ipv4 {
        set("/proc/sys/net/ipv4/ip_forward", "1")?;
        if wanted.from_loopback {
            set(&format!("/proc/sys/net/ipv4/conf/{name}/route_localnet"), "1")?;
        }
    }
    let ipv6 = format!("/proc/sys/net/ipv6/conf/{name}");
    match fs::exists(&ipv6) {
        Ok(true) => {}
        _ if wanted.ipv6.is_some() => return Err(NetworkError::Ipv6Missing),
        _ => return Ok(()),
    }
    // A container is not to tell the host what its routers are.
    set(&format!("{ipv6}/accept_ra"), "0")?;
    if wanted.ipv6.is_some() {
        set(&format!("{ipv6}/disable_ipv6"), "0")?;
        forward_ipv6()?;
    }
    Ok(())
}

/// Whether what a bridge passes from one port to another goes through the firewall of IP, too (`br_netfilter`). There
/// neighbours are kept apart then. The ports must not do it besides: what is published to a neighbour by an address of the
/// host is passed from port to port as well.
pub(crate) fn is_filtered() -> bool {
    let is_on = |file: &str| {
        let path = format!("/proc/sys/net/bridge/{file}");
        fs::read_to_string(path).is_ok_and(|value| value.trim() == "1")
    };
    is_on("bridge-nf-call-iptables") && is_on("bridge-nf-call-ip6tables")
}

/// Turns forwarding on for IPv6. An interface that learns its addresses and routes from a router would stop listening to
/// it: it is told to go on.
fn forward_ipv6() -> Result<(), NetworkError> {
    const ALL: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
    if fs::read_to_string(ALL).is_ok_and(|value| value.trim() == "1") {
        return Ok(());
    }
    let interfaces = fs::read_dir("/proc/sys/net/ipv6/conf")
        .into_iter()
        .flatten()
        .flatten();
    for interface in interfaces {
        let name = interface.file_name();
        let path = interface.path().join("accept_ra");
        if name != "all" && fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1") {
            set(&path.to_string_lossy(), "2")?;
        }
    }
    set(ALL, "1")
}

/// Writes a setting unless it has the value already.
pub(crate) fn set(path: &str, value: &str) -> Result<(), NetworkError> {
    let write = || {
        if fs::read_to_string(path)?.trim() == value {
            return Ok(());
        }
        fs::write(path, value)
    };
    let name = path.trim_start_matches("/proc/sys/").replace('/', ".");
    write().map_err(|source| NetworkError::Sysctl { name, source })
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
