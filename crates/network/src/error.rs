//! What can go wrong between a container and the world.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use crate::endpoint::Protocol;

/// Failures of the network. `PortAllocated` and `PortInUse` are the user's conflicts, `AddressInUse` and
/// `AddressOutside` wrong wishes; the rest is the machine's.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Another container of this engine publishes the port.
    #[error("Bind for {} failed: port is already allocated", SocketAddr::new(*ip, *port))]
    PortAllocated {
        ip: IpAddr,
        port: u16,
        protocol: Protocol,
    },
    /// A process of the host holds the port.
    #[error("failed to bind host port {}/{protocol}: address already in use", SocketAddr::new(*ip, *port))]
    PortInUse {
        ip: IpAddr,
        port: u16,
        protocol: Protocol,
    },
    /// The host refuses the port: not one of its addresses, or not permitted.
    #[error("failed to bind host port {}/{protocol}", SocketAddr::new(*ip, *port))]
    PortRefused {
        ip: IpAddr,
        port: u16,
        protocol: Protocol,
        #[source]
        source: io::Error,
    },
    /// Every port of a range is taken.
    #[error("Bind for {}-{last} failed: all ports are allocated", SocketAddr::new(*ip, *first))]
    PortRangeExhausted {
        ip: IpAddr,
        first: u16,
        last: u16,
        protocol: Protocol,
    },

    #[error("address {ip} is already in use")]
    AddressInUse { ip: IpAddr },
    #[error("address {ip} is not a host address of the network's subnet {subnet}")]
    AddressOutside { ip: IpAddr, subnet: IpNet },
    #[error("no free address left in the subnet {subnet}")]
    AddressesExhausted { subnet: IpNet },
    #[error(
        "could not find an available, non-overlapping {family} address pool: every pool overlaps a route of this host"
    )]
    PoolsExhausted { family: &'static str },
    #[error("network {network} has no {family} addresses")]
    NoAddresses { network: String, family: &'static str },
    #[error("network {network} has no addresses of either family")]
    NoSubnet { network: String },
    #[error("the kernel has no IPv6: networks with it cannot be made")]
    Ipv6Missing,

    #[error("invalid interface name {name:?}: 1 to 15 letters, digits, '-', '_' or '.'")]
    InvalidInterfaceName { name: String },
    #[error("invalid firewall table name {name:?}: letters, digits, '_' and '-', beginning with a letter")]
    InvalidTableName { name: String },
    #[error("invalid container id {id:?}")]
    InvalidContainer { id: String },
    #[error("container {container} already has an endpoint on network {network}")]
    EndpointExists { container: String, network: String },
    #[error("network {network} is not known")]
    UnknownNetwork { network: String },
    #[error("container {container} has an interface {name} already: choose another name")]
    InterfaceTaken { container: String, name: String },
    /// What containers are to share does not exist, and its name does not say how to make it.
    #[error(
        "there is no parent interface {name}, and it is an invalid subinterface vlan name: example formatting is eth0.10, for \
         VLAN 10 of eth0"
    )]
    ParentMissing { name: String },
    #[error("vlan id must be between 1-4094, received: {id}")]
    VlanOutside { id: String },
    #[error("-o parent interface was not found on the host: {name}")]
    VlanLinkMissing { name: String },
    #[error("interface {name} exists already: choose another name for the bridge")]
    InterfaceExists { name: String },
    #[error("interface {name} exists and is no bridge: remove it or choose another bridge name")]
    NotABridge { name: String },

    #[error(
        "the nft program was not found: install it with `apt-get install nftables`, or run the container with --network host or none"
    )]
    NftMissing,
    #[error("the firewall refused the rules of table {table}: {message}")]
    Firewall { table: String, message: String },
    #[error("failed to {action} firewall table {table}")]
    FirewallTalk {
        action: &'static str,
        table: String,
        #[source]
        source: io::Error,
    },

    /// A netlink request failed.
    #[error("failed to {action} {object}")]
    Netlink {
        action: &'static str,
        object: String,
        #[source]
        source: io::Error,
    },
    #[error("failed to {action} the network namespace {}", path.display())]
    Namespace {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A setting under /proc/sys could not be read or written.
    #[error("failed to set {name}")]
    Sysctl {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("failed to keep the network's state")]
    State(#[source] io::Error),
    #[error("failed to read {}", path.display())]
    StateFormat {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// Taking something down met several failures; everything that could be removed was.
    #[error("failed to take down {object}: {}", failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Teardown {
        object: String,
        failures: Vec<NetworkError>,
    },
}
