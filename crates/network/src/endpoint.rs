//! Endpoints: a container's place on a network, as asked for and as made.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::Ipv4Net;
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
    /// Address of the host to listen on; `0.0.0.0` means all of them.
    pub host_ip: Ipv4Addr,
    /// Ports of the host to choose from, the first free one is taken. `None`: any free port.
    pub host_ports: Option<RangeInclusive<u16>>,
}

/// A port as it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortBinding {
    pub container_port: u16,
    pub protocol: Protocol,
    pub host_ip: Ipv4Addr,
    pub host_port: u16,
}

/// Key of the default bridge among the networks.
pub const DEFAULT_NETWORK: &str = "bridge";

/// A user-defined network: a bridge of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeNetwork {
    /// The key by which endpoints name it.
    pub id: String,
    /// Among networks of equal priority the first name gives the default route.
    pub name: String,
    /// Name of the bridge's interface, at most 15 bytes.
    pub interface: String,
    pub subnet: Ipv4Net,
    /// The bridge's own address.
    pub gateway: Ipv4Addr,
    /// Addresses are given from this part of the subnet; `None`: all of it.
    pub range: Option<Ipv4Net>,
    /// Addresses that no container gets.
    pub reserved: Vec<Ipv4Addr>,
    /// No way out and no way in, but to and from the host itself.
    pub internal: bool,
    /// Containers reach each other at every port, not only at published ones.
    pub neighbours: bool,
    pub masquerade: bool,
    /// `None`: the uplink's, at most 1500.
    pub mtu: Option<u32>,
}

/// What a container wants of a network.
#[derive(Clone, Debug)]
pub struct EndpointRequest {
    /// [`DEFAULT_NETWORK`] or the id of a [`BridgeNetwork`].
    pub network: String,
    /// Id of the container: the key under which the endpoint is found again.
    pub container: String,
    pub ports: Vec<PortRequest>,
    /// A fixed address inside the bridge's subnet; `None`: the lowest free one.
    pub ip: Option<Ipv4Addr>,
    /// A fixed hardware address; `None`: derived from the IP address.
    pub mac: Option<MacAddress>,
    /// The network of the highest priority gives the default route, and its endpoint the published ports.
    pub priority: i64,
}

/// A container's place on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Random id, 64 hexadecimal digits, as `docker inspect` shows it.
    pub id: String,
    #[serde(default = "default_network")]
    pub network: String,
    pub container: String,
    pub ip: Ipv4Addr,
    /// Length of the subnet's prefix, 0 to 32.
    pub prefix: u8,
    pub gateway: Ipv4Addr,
    pub mac: MacAddress,
    /// Name of the host's end of the veth pair.
    pub host_interface: String,
    /// Name of the container's end.
    #[serde(default = "first_interface")]
    pub interface: String,
    #[serde(default)]
    pub priority: i64,
    /// Of all endpoints of a container only that with the default route has them.
    pub ports: Vec<PortBinding>,
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
    pub subnet: ipnet::Ipv4Net,
    pub gateway: Ipv4Addr,
    pub mtu: u32,
    /// Ordered by container id.
    pub endpoints: Vec<Endpoint>,
}

/// A hardware address, written `02:42:ac:11:00:02`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The address Docker gives to an endpoint with this IP: stable, so that neighbours' ARP caches stay true
    /// when an address is used again.
    pub fn from_ip(ip: Ipv4Addr) -> Self {
        let [a, b, c, d] = ip.octets();
        Self([0x02, 0x42, a, b, c, d])
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
