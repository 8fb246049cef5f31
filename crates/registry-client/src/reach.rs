//! Where connections may lead: an address that somebody else named may be one that only this network has.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::RegistryError;
use crate::transport::shown;

/// Which addresses a client connects to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reach {
    #[default]
    Everything,
    /// What everybody reaches, and these hosts. Proxies are not used: they look names up themselves.
    Public { and: Vec<String> },
}

impl Reach {
    /// An error if this address must not be connected to. Of names that is said when they are looked up.
    pub(crate) fn check(&self, url: &Url) -> Result<(), RegistryError> {
        let (Self::Public { and }, Some(host)) = (self, url.host_str()) else {
            return Ok(());
        };
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
        match literal {
            Ok(address) if !is_public(address) && !and.iter().any(|one| one == host) => {
                Err(RegistryError::Private { url: shown(url) })
            }
            _ => Ok(()),
        }
    }

    /// What looks names up, if it is not the system alone.
    pub(crate) fn resolver(&self) -> Option<PublicOnly> {
        match self {
            Self::Everything => None,
            Self::Public { and } => Some(PublicOnly { and: and.clone() }),
        }
    }
}

/// Whether everybody reaches this address, not just those of some network or machine (IANA's registries of special purpose
/// addresses).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        // Shared by providers' customers, assignments of protocols, measurements.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // What stands for an address of version 4 reaches what that one does.
    let inner = match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))),
        _ => None,
    };
    if let Some(inner) = inner {
        return is_public_v4(inner);
    }
    // Global unicast, without documentation and what is for protocols.
    let [first, second, ..] = segments;
    (0x2000..0x4000).contains(&first)
        && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
        && first != 0x3fff
}

/// Looks names up, and finds public addresses only.
#[derive(Debug, Default)]
pub struct PublicOnly {
    /// Of these names it finds all.
    pub and: Vec<String>,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let all = self.and.iter().any(|one| one == name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let reached = found.filter(|address| all || is_public(address.ip()));
            let reached: Vec<SocketAddr> = reached.collect();
            if reached.is_empty() {
                let refused = format!("{} has no address outside this network", name.as_str());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, refused).into());
            }
            Ok(Box::new(reached.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_network_are_not_public() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "203.0.113.9",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:a00:1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "fec0::1",
            "100::1",
        ] {
            assert!(!is_public(private.parse().expect("an address")), "{private}");
        }
        for public in [
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "8.8.8.8",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::",
        ] {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
    }

    #[test]
    fn only_what_is_said_is_reached_beside_what_is_public() {
        let reach = Reach::Public {
            and: vec!["10.0.0.5".to_owned(), "[fd00::1]".to_owned()],
        };
        let reaches = |text: &str| reach.check(&Url::parse(text).expect("an address")).is_ok();
        for open in [
            "http://10.0.0.5:5000/v2/",
            "https://1.1.1.1/",
            "https://[fd00::1]/",
            "https://name/",
        ] {
            assert!(reaches(open), "{open}");
        }
        for closed in [
            "http://10.0.0.6/",
            "http://169.254.169.254/latest",
            "https://[::1]/",
            "http://0x7f.1/",
        ] {
            assert!(!reaches(closed), "{closed}");
        }
    }
}
