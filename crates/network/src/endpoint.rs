//! Endpoints: a container's place on a network, as asked for and as made.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// Transport protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = ParseProtocolError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(ParseProtocolError(text.to_owned())),
        }
    }
}

/// A protocol that cannot be published.
#[derive(Debug, thiserror::Error)]
#[error("invalid proto: {0} (tcp and udp can be published)")]
pub struct ParseProtocolError(String);

/// A port to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRequest {
    pub container_port: u16,
    pub protocol: Protocol,
    /// Addresses of the host to listen on, all at the same port; `0.0.0.0` and `::` mean all of their family.
    pub host_ips: Vec<IpAddr>,
    /// Ports of the host to choose from, the first free one is taken. `None`: any free port.
    pub host_ports: Option<RangeInclusive<u16>>,
}

/// A port as it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortBinding {
    pub container_port: u16,
    pub protocol: Protocol,
    pub host_ip: IpAddr,
    pub host_port: u16,
}

/// Key of the default bridge among the networks.
pub const DEFAULT_NETWORK: &str = "bridge";

/// The addresses of a network, in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool<N, A> {
    pub subnet: N,
    /// Of a bridge, its own address; elsewhere that of a router which is there already.
    pub gateway: A,
    /// Addresses are given from this part of the subnet; `None`: all of it.
    pub range: Option<N>,
    /// Addresses that no container gets.
    pub reserved: Vec<A>,
}

pub type Ipv4Pool = Pool<Ipv4Net, Ipv4Addr>;
pub type Ipv6Pool = Pool<Ipv6Net, Ipv6Addr>;

/// A user-defined network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNetwork {
    /// The key by which endpoints name it.
    pub id: String,
    /// Among networks of equal priority the first name gives the default route.
    pub name: String,
    /// At least one of the two.
    pub ipv4: Option<Ipv4Pool>,
    pub ipv6: Option<Ipv6Pool>,
    /// No way out and no way in, but to and from the host itself.
    pub internal: bool,
    /// `None`: the uplink's, at most 1500; of a parent, its own.
    pub mtu: Option<u32>,
    /// Begins the names of interfaces in containers: `eth`.
    pub prefix: String,
    pub driver: Driver,
}

/// What carries a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    Bridge(BridgeDriver),
    Parent(ParentDriver),
}

/// A bridge of the network's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeDriver {
    /// Name of the bridge's interface, at most 15 bytes.
    pub interface: String,
    /// Containers reach each other at every port, not only at published ones.
    pub neighbours: bool,
    pub masquerade: bool,
    /// The bridge itself has no IPv4 address.
    pub unnumbered: bool,
}

/// Containers share an interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentDriver {
    /// Name of the interface. One that doesn't exist is made, and removed with the network: `eth0.10` as VLAN 10 of `eth0`.
    pub parent: String,
    /// The interface is one that leads nowhere, made for this network.
    pub dummy: bool,
    pub sharing: Sharing,
}

/// How an interface of the host is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Every container has a hardware address of its own.
    Macvlan(MacvlanMode),
    /// All have the parent's hardware address.
    Ipvlan(IpvlanMode, IpvlanFlag),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MacvlanMode {
    #[default]
    Bridge,
    Vepa,
    Private,
    Passthru,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpvlanMode {
    #[default]
    L2,
    L3,
    L3s,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpvlanFlag {
    #[default]
    Bridge,
    Private,
    Vepa,
}

impl UserNetwork {
    pub(crate) fn bridge(&self) -> Option<&BridgeDriver> {
        match &self.driver {
            Driver::Bridge(bridge) => Some(bridge),
            Driver::Parent(_) => None,
        }
    }

    pub(crate) fn parent(&self) -> Option<&ParentDriver> {
        match &self.driver {
            Driver::Bridge(_) => None,
            Driver::Parent(parent) => Some(parent),
        }
    }
}

/// What a container wants of a network.
#[derive(Clone, Debug)]
pub struct EndpointRequest {
    /// [`DEFAULT_NETWORK`] or the id of a [`UserNetwork`].
    pub network: String,
    /// Id of the container: the key under which the endpoint is found again.
    pub container: String,
    /// Ignored where containers share an interface of the host: they are reached without.
    pub ports: Vec<PortRequest>,
    /// A fixed address inside the network's subnet; `None`: the lowest free one. Only for networks with IPv4.
    pub ip: Option<Ipv4Addr>,
    /// The same in IPv6.
    pub ip6: Option<Ipv6Addr>,
    /// Addresses the interface has besides.
    pub link_local: Vec<IpAddr>,
    /// A fixed hardware address; `None`: derived from the IP address.
    pub mac: Option<MacAddress>,
    /// Name of the interface in the container; `None`: the next free one.
    pub interface: Option<String>,
    /// Settings beneath `/proc/sys/net` with their values, such as `ipv4/conf/IFNAME/log_martians`.
    pub settings: Vec<(String, String)>,
    /// The network of the highest priority gives the default route, and its endpoint the published ports.
    pub priority: i64,
}

impl EndpointRequest {
    /// A container that wants nothing in particular.
    pub fn new(network: &str, container: &str) -> Self {
        Self {
            network: network.to_owned(),
            container: container.to_owned(),
            ports: Vec::new(),
            ip: None,
            ip6: None,
            link_local: Vec::new(),
            mac: None,
            interface: None,
            settings: Vec::new(),
            priority: 0,
        }
    }
}

/// A container's place on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Random id, 64 hexadecimal digits, as `docker inspect` shows it.
    pub id: String,
    #[serde(default = "default_network")]
    pub network: String,
    pub container: String,
    /// In a record its parts stand beside the others.
    #[serde(flatten)]
    pub ipv4: Option<Ipv4Place>,
    #[serde(default)]
    pub ipv6: Option<Ipv6Place>,
    pub mac: MacAddress,
    /// Name of the host's end of the veth pair; empty where an interface of the host is shared.
    pub host_interface: String,
    /// Name of the container's end.
    #[serde(default = "first_interface")]
    pub interface: String,
    #[serde(default)]
    pub priority: i64,
    /// Of all endpoints of a container only that with the default route has them.
    pub ports: Vec<PortBinding>,
}

/// An endpoint in one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place<A> {
    pub ip: A,
    /// Length of the subnet's prefix, in bits.
    pub prefix: u8,
    pub gateway: A,
}

pub type Ipv4Place = Place<Ipv4Addr>;
pub type Ipv6Place = Place<Ipv6Addr>;

impl Endpoint {
    /// Its published ports that the firewall cannot pass on, and a process of the host has to: those in a family of which
    /// the container has no address, and those on the host's `::1`, which the kernel takes for nobody else's.
    pub fn relayed(&self) -> Vec<PortBinding> {
        let families = self.families();
        let ports = self.ports.iter().copied();
        ports
            .filter(|binding| families.relayed(binding.host_ip))
            .collect()
    }

    pub(crate) fn families(&self) -> Families {
        Families {
            ipv4: self.ipv4.is_some(),
            ipv6: self.ipv6.is_some(),
        }
    }

    /// Its addresses, the one to be tried first in front.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let ipv6 = self.ipv6.map(|place| IpAddr::V6(place.ip));
        let ipv4 = self.ipv4.map(|place| IpAddr::V4(place.ip));
        ipv6.into_iter().chain(ipv4).collect()
    }

    /// Where a binding leads when the firewall passes it on.
    pub(crate) fn target(&self, binding: &PortBinding) -> Option<IpAddr> {
        match binding.host_ip {
            IpAddr::V4(_) => self.ipv4.map(|place| IpAddr::V4(place.ip)),
            IpAddr::V6(ip) if ip.is_loopback() => None,
            IpAddr::V6(_) => self.ipv6.map(|place| IpAddr::V6(place.ip)),
        }
    }
}

/// The families of which somebody has addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Families {
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
}

impl Families {
    /// Whether what is published at an address of the host has to be relayed.
    pub(crate) fn relayed(self, host_ip: IpAddr) -> bool {
        match host_ip {
            IpAddr::V4(_) => !self.ipv4,
            IpAddr::V6(ip) => !self.ipv6 || ip.is_unspecified() || ip.is_loopback(),
        }
    }
}

fn default_network() -> String {
    DEFAULT_NETWORK.to_owned()
}

fn first_interface() -> String {
    "eth0".to_owned()
}

/// The default bridge as `network inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeInfo {
    pub interface: String,
    /// The bridge's address with the prefix of the subnet.
    pub ipv4: Option<Ipv4Net>,
    /// The same in IPv6.
    pub ipv6: Option<Ipv6Net>,
    pub mtu: u32,
    /// Ordered by container id.
    pub endpoints: Vec<Endpoint>,
}

/// A hardware address, written `02:42:ac:11:00:02`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Stable, so that what neighbours remember stays true when an address is used again: in IPv4 the one Docker gave for
    /// many years, in IPv6 one of a range of its own, with all bits of the address folded into 40.
    pub fn from_ip(ip: impl Into<IpAddr>) -> Self {
        match ip.into() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                Self([0x02, 0x42, a, b, c, d])
            }
            IpAddr::V6(ip) => {
                let mut folded = [0x06, 0, 0, 0, 0, 0];
                // From the end: neighbours differ in their last bytes.
                for (index, byte) in ip.octets().into_iter().rev().enumerate() {
                    folded[5 - index % 5] ^= byte;
                }
                Self(folded)
            }
        }
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Text that is no unicast hardware address.
#[derive(Debug, thiserror::Error)]
#[error("invalid MAC address: {0}")]
pub struct ParseMacError(String);

impl FromStr for MacAddress {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseMacError(text.to_owned());
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()))
                .ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        // Bit 0 of the first byte marks a group of stations, which no interface can be.
        if parts.next().is_some() || bytes[0] & 1 == 1 || bytes == [0; 6] {
            return Err(wrong());
        }
        Ok(Self(bytes))
    }
}

impl Serialize for MacAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_read_as_it_is_written() {
        let mac = MacAddress::from_ip(Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!(mac.to_string().parse::<MacAddress>().ok(), Some(mac));
        assert_eq!("02-42-ac-11-00-02".parse::<MacAddress>().ok(), Some(mac));
        let ipv6 = |text: &str| MacAddress::from_ip(text.parse::<Ipv6Addr>().expect("an address"));
        assert_ne!(ipv6("fd00::2"), ipv6("fd00::3"));
        assert_ne!(ipv6("fd00::2"), ipv6("fd00:1::2"));
        assert_eq!(ipv6("fd00::2").to_string().parse().ok(), Some(ipv6("fd00::2")));
    }

    #[test]
    fn what_no_interface_can_have_is_refused() {
        for text in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "+2:42:ac:11:00:02",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
        ] {
            assert!(text.parse::<MacAddress>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn only_tcp_and_udp_can_be_published() {
        assert_eq!("TCP".parse::<Protocol>().ok(), Some(Protocol::Tcp));
        assert_eq!("udp".parse::<Protocol>().ok(), Some(Protocol::Udp));
        let refused = "sctp".parse::<Protocol>().expect_err("sctp");
        assert!(refused.to_string().contains("invalid proto: sctp"));
    }
}
