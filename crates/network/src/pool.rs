//! Which subnet the bridge takes, and which address of it a container gets.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::error::NetworkError;

/// The first pool that overlaps none of the `taken` networks. A default route (prefix 0) takes nothing.
pub(crate) fn choose(pools: &[Ipv4Net], taken: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
    pools
        .iter()
        .find(|pool| {
            !taken
                .iter()
                .any(|network| network.prefix_len() > 0 && overlap(pool, network))
        })
        .map(Ipv4Net::trunc)
        .ok_or(NetworkError::PoolsExhausted)
}

pub(crate) fn overlap(one: &Ipv4Net, other: &Ipv4Net) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// The addresses of one subnet. The first host address is the gateway's and never given away.
#[derive(Debug)]
pub(crate) struct Addresses {
    subnet: Ipv4Net,
    gateway: Ipv4Addr,
    /// Where addresses are given from; an address that was asked for may lie elsewhere in the subnet.
    range: Ipv4Net,
    used: BTreeSet<Ipv4Addr>,
}

impl Addresses {
    pub(crate) fn new(subnet: Ipv4Net, gateway: Ipv4Addr) -> Self {
        Self {
            subnet,
            gateway,
            range: subnet,
            used: BTreeSet::new(),
        }
    }

    /// Gives addresses from a part of the subnet only, and none of the `reserved` ones.
    pub(crate) fn within(mut self, range: Option<Ipv4Net>, reserved: &[Ipv4Addr]) -> Self {
        self.range = range.unwrap_or(self.subnet);
        self.used.extend(reserved);
        self
    }

    pub(crate) fn subnet(&self) -> Ipv4Net {
        self.subnet
    }

    /// Takes the lowest free address.
    pub(crate) fn allocate(&mut self) -> Result<Ipv4Addr, NetworkError> {
        // The first address of a range is an ordinary one, unless the range begins with the subnet.
        let mut candidate = match self.range.network() == self.subnet.network() {
            true => self.next_host(self.subnet.network()),
            false => self.next_host(Ipv4Addr::from_bits(self.range.network().to_bits() - 1)),
        };
        // `used` is ordered: the first gap between neighbours is the lowest free address.
        for taken in &self.used {
            if Some(*taken) == candidate {
                candidate = candidate.and_then(|ip| self.next_host(ip));
            } else if candidate.is_none_or(|ip| *taken > ip) {
                break;
            }
        }
        let ip = candidate.ok_or(NetworkError::AddressesExhausted { subnet: self.subnet })?;
        self.used.insert(ip);
        Ok(ip)
    }

    /// Takes a certain address.
    pub(crate) fn claim(&mut self, ip: Ipv4Addr) -> Result<(), NetworkError> {
        let host = ip != self.subnet.network() && ip != self.subnet.broadcast();
        if !host || !self.subnet.contains(&ip) {
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

    pub(crate) fn release(&mut self, ip: Ipv4Addr) {
        self.used.remove(&ip);
    }

    fn next_host(&self, after: Ipv4Addr) -> Option<Ipv4Addr> {
        let mut bits = after.to_bits().checked_add(1)?;
        if bits == self.gateway.to_bits() {
            bits += 1;
        }
        let ip = Ipv4Addr::from_bits(bits);
        (bits < self.subnet.broadcast().to_bits() && self.range.contains(&ip)).then_some(ip)
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
            .map(|ip| ip.octets()[3])
            .collect();
        assert_eq!(given, [2, 3, 4, 5, 6]);
        assert!(matches!(
            addresses.allocate(),
            Err(NetworkError::AddressesExhausted { .. })
        ));
        addresses.release(Ipv4Addr::new(10, 1, 0, 4));
        assert_eq!(addresses.allocate().ok(), Some(Ipv4Addr::new(10, 1, 0, 4)));
    }

    #[test]
    fn a_certain_address_must_be_a_free_host_address() {
        let mut addresses = Addresses::new(net("10.1.0.0/29"), Ipv4Addr::new(10, 1, 0, 1));
        for outside in ["10.1.0.0", "10.1.0.7", "10.1.0.8", "10.2.0.2"] {
            let ip = outside.parse().expect("an address");
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
        assert_eq!(addresses.allocate().ok(), Some(Ipv4Addr::new(10, 1, 0, 2)));
        assert_eq!(
            addresses.allocate().ok(),
            Some(Ipv4Addr::new(10, 1, 0, 4)),
            "the claimed one is passed over"
        );
    }

    proptest! {
        /// Against a model that tries every address in order.
        #[test]
        fn the_lowest_free_address_is_given(steps in proptest::collection::vec((any::<bool>(), 0_u8..32), 1..80)) {
            let gateway = Ipv4Addr::new(10, 1, 0, 9);
            let mut addresses = Addresses::new(net("10.1.0.0/27"), gateway);
            let mut model = BTreeSet::new();
            for (allocate, last) in steps {
                let ip = Ipv4Addr::new(10, 1, 0, last);
                if allocate {
                    let expected = (1..31).map(|n| Ipv4Addr::new(10, 1, 0, n)).find(|ip| *ip != gateway && !model.contains(ip));
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
