//! Which subnet a network takes, and which address of it a container gets.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::error::NetworkError;

/// Bits of the subnets that [`private_pool`] is divided into.
const PRIVATE_SUBNET: u8 = 64;

/// The first pool that overlaps none of the `taken` networks. A default route (prefix 0) takes nothing.
pub(crate) fn choose(pools: &[Ipv4Net], taken: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
    pools
        .iter()
        .find(|pool| {
            !taken
                .iter()
                .any(|network| network.prefix_len() > 0 && overlap((**pool).into(), (*network).into()))
        })
        .map(Ipv4Net::trunc)
        .ok_or(NetworkError::PoolsExhausted { family: "IPv4" })
}

/// The first subnet of 64 bits of the pools that overlaps none of the `taken` networks.
pub(crate) fn choose_ipv6(pools: &[Ipv6Net], taken: &[Ipv6Net]) -> Result<Ipv6Net, NetworkError> {
    let taken: Vec<_> = taken.iter().filter(|network| network.prefix_len() > 0).collect();
    let mut candidates = pools.iter().flat_map(|pool| {
        let bits = PRIVATE_SUBNET.max(pool.prefix_len());
        pool.subnets(bits).into_iter().flatten()
    });
    candidates
        .find(|subnet| {
            !taken
                .iter()
                .any(|other| overlap((*subnet).into(), (**other).into()))
        })
        .ok_or(NetworkError::PoolsExhausted { family: "IPv6" })
}

/// A unique local prefix of 48 bits (RFC 4193) made of an identity of 40 random bits.
pub fn private_pool(identity: [u8; 5]) -> Ipv6Net {
    let mut bytes = [0; 16];
    bytes[0] = 0xfd;
    bytes[1..6].copy_from_slice(&identity);
    Ipv6Net::new_assert(Ipv6Addr::from(bytes), 48)
}

/// Whether two networks have addresses in common.
pub fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// The addresses of one subnet. The gateway's is never given away.
#[derive(Debug)]
pub(crate) struct Addresses {
    subnet: IpNet,
    gateway: IpAddr,
    /// Where addresses are given from; an address that was asked for may lie elsewhere in the subnet.
    range: IpNet,
    used: BTreeSet<IpAddr>,
}

impl Addresses {
    pub(crate) fn new(subnet: impl Into<IpNet>, gateway: impl Into<IpAddr>) -> Self {
        let subnet = subnet.into();
        Self {
            subnet,
            gateway: gateway.into(),
            range: subnet,
            used: BTreeSet::new(),
        }
    }

    /// Gives addresses from a part of the subnet only, and none of the `reserved` ones.
    pub(crate) fn within<A: Into<IpAddr>>(
        mut self,
        range: Option<impl Into<IpNet>>,
        reserved: impl IntoIterator<Item = A>,
    ) -> Self {
        self.range = range.map_or(self.subnet, Into::into);
        self.used.extend(reserved.into_iter().map(Into::into));
        self
    }

    pub(crate) fn subnet(&self) -> IpNet {
        self.subnet
    }

    /// Takes the lowest free address.
    pub(crate) fn allocate(&mut self) -> Result<IpAddr, NetworkError> {
        // The first address of a range is an ordinary one, unless the range begins with the subnet.
        let first = number(self.range.network());
        let mut candidate = match self.range.network() == self.subnet.network() {
            true => self.next_host(first),
            false => self.next_host(first - 1),
        };
        // `used` is ordered: the first gap between neighbours is the lowest free address.
        for taken in &self.used {
            if Some(*taken) == candidate {
                candidate = self.next_host(number(*taken));
            } else if candidate.is_none_or(|ip| *taken > ip) {
                break;
            }
        }
        let ip = candidate.ok_or(NetworkError::AddressesExhausted { subnet: self.subnet })?;
        self.used.insert(ip);
        Ok(ip)
    }

    /// Takes a certain address.
    pub(crate) fn claim(&mut self, ip: impl Into<IpAddr>) -> Result<(), NetworkError> {
        let ip = ip.into();
        if !self.subnet.contains(&ip) || !self.is_host(number(ip)) {
            return Err(NetworkError::AddressOutside {
                ip,
                subnet: self.subnet,
            });
        }
        if ip == self.gateway || !self.used.insert(ip) {
            return Err(NetworkError::AddressInUse { ip });
        }
        Ok(())
    }

    pub(crate) fn release(&mut self, ip: IpAddr) {
        self.used.remove(&ip);
    }

    /// Neither the subnet's own address nor, in IPv4, that which means everybody.
    fn is_host(&self, number_of: u128) -> bool {
        let last = number(self.subnet.broadcast());
        number_of > number(self.subnet.network())
            && match self.subnet {
                IpNet::V4(_) => number_of < last,
                IpNet::V6(_) => number_of <= last,
            }
    }

    fn next_host(&self, after: u128) -> Option<IpAddr> {
        let mut next = after.checked_add(1)?;
        if next == number(self.gateway) {
            next = next.checked_add(1)?;
        }
        if !self.is_host(next) {
            return None;
        }
        let ip = match self.subnet {
            IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(next).ok()?)),
            IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(next)),
        };
        self.range.contains(&ip).then_some(ip)
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().expect("a network")
    }

    #[test]
    fn a_pool_that_a_route_overlaps_is_passed_over() {
        let pools = crate::config::default_pools();
        let choose = |taken: &[&str]| {
            let taken: Vec<_> = taken.iter().map(|text| net(text)).collect();
            choose(&pools, &taken).map(|pool| pool.to_string()).ok()
        };
        assert_eq!(choose(&[]).as_deref(), Some("172.17.0.0/16"));
        assert_eq!(
            choose(&["0.0.0.0/0"]).as_deref(),
            Some("172.17.0.0/16"),
            "a default route takes nothing"
        );
        assert_eq!(choose(&["172.17.0.0/16"]).as_deref(), Some("172.18.0.0/16"));
        assert_eq!(
            choose(&["172.17.5.5/32", "172.18.128.0/17"]).as_deref(),
            Some("172.19.0.0/16")
        );
        assert_eq!(choose(&["172.16.0.0/12"]).as_deref(), Some("192.168.0.0/20"));
        assert_eq!(choose(&["172.16.0.0/12", "192.168.0.0/16"]), None);
    }

    #[test]
    fn addresses_are_given_from_below_and_given_again() {
        let mut addresses = Addresses::new(net("10.1.0.0/29"), Ipv4Addr::new(10, 1, 0, 1));
        let given: Vec<_> = (0..5)
            .filter_map(|_| addresses.allocate().ok())
            .map(|ip| ip.to_string())
            .collect();
        assert_eq!(
            given,
            ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"]
        );
        assert!(matches!(
            addresses.allocate(),
            Err(NetworkError::AddressesExhausted { .. })
        ));
        let fourth = IpAddr::from([10, 1, 0, 4]);
        addresses.release(fourth);
        assert_eq!(addresses.allocate().ok(), Some(fourth));
    }

    #[test]
    fn a_certain_address_must_be_a_free_host_address() {
        let mut addresses = Addresses::new(net("10.1.0.0/29"), Ipv4Addr::new(10, 1, 0, 1));
        for outside in ["10.1.0.0", "10.1.0.7", "10.1.0.8", "10.2.0.2"] {
            let ip: IpAddr = outside.parse().expect("an address");
            assert!(
                matches!(addresses.claim(ip), Err(NetworkError::AddressOutside { .. })),
                "{outside}"
            );
        }
        assert!(matches!(
            addresses.claim(Ipv4Addr::new(10, 1, 0, 1)),
            Err(NetworkError::AddressInUse { .. })
        ));
        addresses.claim(Ipv4Addr::new(10, 1, 0, 3)).expect("free");
        assert!(matches!(
            addresses.claim(Ipv4Addr::new(10, 1, 0, 3)),
            Err(NetworkError::AddressInUse { .. })
        ));
        assert_eq!(addresses.allocate().ok(), Some(IpAddr::from([10, 1, 0, 2])));
        assert_eq!(
            addresses.allocate().ok(),
            Some(IpAddr::from([10, 1, 0, 4])),
            "the claimed one is passed over"
        );
    }

    #[test]
    fn ipv6_addresses_are_given_too() {
        let subnet: Ipv6Net = "fd00:1::/125".parse().expect("a network");
        let mut addresses = Addresses::new(
            subnet,
            subnet
                .network()
                .to_bits()
                .checked_add(1)
                .map(Ipv6Addr::from_bits)
                .expect("one"),
        )
        .within(
            None::<Ipv6Net>,
            ["fd00:1::3".parse::<IpAddr>().expect("an address")],
        );
        let given: Vec<_> = std::iter::from_fn(|| addresses.allocate().ok())
            .map(|ip| ip.to_string())
            .collect();
        assert_eq!(
            given,
            ["fd00:1::2", "fd00:1::4", "fd00:1::5", "fd00:1::6", "fd00:1::7"]
        );
        let whole: Ipv6Net = "fd00:2::/64".parse().expect("a network");
        let range: Ipv6Net = "fd00:2::8000/113".parse().expect("a network");
        let gateway: Ipv6Addr = "fd00:2::1".parse().expect("an address");
        let mut addresses = Addresses::new(whole, gateway).within(Some(range), [] as [IpAddr; 0]);
        assert_eq!(
            addresses.allocate().ok().map(|ip| ip.to_string()).as_deref(),
            Some("fd00:2::8000")
        );
        let refused = addresses.claim("fd00:2::".parse::<IpAddr>().expect("an address"));
        assert!(matches!(refused, Err(NetworkError::AddressOutside { .. })));
        let other = addresses.claim(Ipv4Addr::new(10, 0, 0, 1));
        assert!(
            matches!(other, Err(NetworkError::AddressOutside { .. })),
            "of the other family"
        );
    }

    #[test]
    fn private_subnets_are_taken_in_turn() {
        let pool = private_pool([1, 2, 3, 4, 5]);
        assert_eq!(pool.to_string(), "fd01:203:405::/48");
        let choose = |taken: &[&str]| {
            let taken: Vec<Ipv6Net> = taken
                .iter()
                .map(|text| text.parse().expect("a network"))
                .collect();
            choose_ipv6(&[pool], &taken).map(|net| net.to_string()).ok()
        };
        assert_eq!(choose(&["::/0"]).as_deref(), Some("fd01:203:405::/64"));
        assert_eq!(
            choose(&["fd01:203:405::/64", "fd01:203:405:1::7/128"]).as_deref(),
            Some("fd01:203:405:2::/64")
        );
        assert_eq!(choose(&["fd00::/8"]), None);
    }

    proptest! {
        /// Against a model that tries every address in order.
        #[test]
        fn the_lowest_free_address_is_given(steps in proptest::collection::vec((any::<bool>(), 0_u8..32), 1..80)) {
            let gateway = IpAddr::from([10, 1, 0, 9]);
            let mut addresses = Addresses::new(net("10.1.0.0/27"), gateway);
            let mut model = BTreeSet::new();
            for (allocate, last) in steps {
                let ip = IpAddr::from([10, 1, 0, last]);
                if allocate {
                    let expected = (1..31).map(|n| IpAddr::from([10, 1, 0, n])).find(|ip| *ip != gateway && !model.contains(ip));
                    prop_assert_eq!(addresses.allocate().ok(), expected);
                    model.extend(expected);
                } else if last % 2 == 0 {
                    addresses.release(ip);
                    model.remove(&ip);
                } else if addresses.claim(ip).is_ok() {
                    prop_assert!(ip != gateway && model.insert(ip));
                }
            }
        }
    }
}
