//! What an endpoint stands on: a bridge, or an interface of the host that is shared.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Given, Network, gathered, lock};
use crate::bridge::Bridge;
use crate::endpoint::{Endpoint, IpvlanMode, Sharing, UserNetwork};
use crate::error::NetworkError;
use crate::netlink::Hop;
use crate::parent::{self, Parent};
use crate::pool::Addresses;

/// The host's side of a network, as an endpoint needs it.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    /// Of the bridge or the parent.
    pub(super) index: u32,
    /// `None`: the parent's.
    pub(super) mtu: Option<u32>,
    pub(super) subnet: Ipv4Net,
    pub(super) gateway: Ipv4Addr,
    /// The gateway's address with the prefix of the subnet.
    pub(super) ipv6: Option<Ipv6Net>,
    /// `None`: a bridge.
    pub(super) sharing: Option<Sharing>,
}

impl Ground {
    pub(super) fn of_bridge(bridge: &Bridge) -> Self {
        Self {
            index: bridge.index,
            mtu: Some(bridge.mtu),
            subnet: bridge.subnet,
            gateway: bridge.gateway,
            ipv6: bridge.ipv6,
            sharing: None,
        }
    }

    fn of_parent(parent: Parent, network: &UserNetwork, sharing: Sharing) -> Self {
        Self {
            index: parent.index,
            mtu: network.mtu,
            subnet: network.ipv4.subnet,
            gateway: network.ipv4.gateway,
            ipv6: network
                .ipv6
                .as_ref()
                .and_then(|pool| Ipv6Net::new(pool.gateway, pool.subnet.prefix_len()).ok()),
            sharing: Some(sharing),
        }
    }

    /// No address is given away.
    pub(super) fn given(&self) -> Given {
        Given {
            ipv4: Addresses::new(self.subnet, self.gateway),
            ipv6: self.ipv6.map(|subnet| self.given_ipv6(subnet)),
        }
    }

    pub(super) fn given_ipv6(&self, subnet: Ipv6Net) -> Addresses {
        Addresses::new(subnet.trunc(), subnet.addr())
    }
}

impl Network {
    /// What endpoints of a network stand on, made if need be.
    pub(super) fn ground(&self, network: &str) -> Result<Ground, NetworkError> {
        let known = lock(&self.table).networks.get(network).cloned();
        let Some((known, driver)) = known.as_ref().and_then(|known| Some((known, known.parent()?))) else {
            return self.bridge(network).map(|bridge| Ground::of_bridge(&bridge));
        };
        let parent = match parent::find(&driver.parent)? {
            Some(parent) => parent,
            None => {
                self.records.own_parent(&driver.parent)?;
                if let Err(error) = parent::make(driver) {
                    self.records.disown_parent(&driver.parent)?;
                    return Err(error);
                }
                let missing = || NetworkError::ParentMissing {
                    name: driver.parent.clone(),
                };
                parent::find(&driver.parent)?.ok_or_else(missing)?
            }
        };
        let ground = Ground::of_parent(parent, known, driver.sharing);
        self.take_in_addresses(network, &ground);
        Ok(ground)
    }

    /// Has the addresses of a network that its endpoints have already, and those nobody gets.
    pub(super) fn take_in_addresses(&self, network: &str, ground: &Ground) {
        let mut table = lock(&self.table);
        let same = |given: &Given| {
            given.ipv4.subnet() == ground.subnet.into()
                && given.ipv6.as_ref().map(Addresses::subnet) == ground.ipv6.map(|net| net.trunc().into())
        };
        if table.addresses.get(network).is_some_and(same) {
            return;
        }
        let mut given = ground.given();
        if let Some(known) = table.networks.get(network) {
            let reserved = known.ipv4.reserved.iter().copied();
            given.ipv4 = given.ipv4.within(known.ipv4.range, reserved);
            if let (Some(ipv6), Some(pool)) = (given.ipv6.take(), &known.ipv6) {
                given.ipv6 = Some(ipv6.within(pool.range, pool.reserved.iter().copied()));
            }
        }
        for endpoint in table.endpoints().filter(|endpoint| endpoint.network == network) {
            for ip in endpoint.addresses() {
                let claimed = match (ip, &mut given.ipv6) {
                    (IpAddr::V4(_), _) => given.ipv4.claim(ip),
                    (IpAddr::V6(_), Some(ipv6)) => ipv6.claim(ip),
                    (IpAddr::V6(_), None) => Ok(()),
                };
                if let Err(error) = claimed {
                    tracing::warn!(%error, container = endpoint.container, "an endpoint's address does not fit its network");
                }
            }
        }
        table.addresses.insert(network.to_owned(), given);
    }

    /// The default routes an endpoint gives.
    pub(super) fn hops(&self, endpoint: &Endpoint) -> Vec<Hop> {
        let table = lock(&self.table);
        let sharing = table
            .networks
            .get(&endpoint.network)
            .and_then(|network| Some(network.parent()?.sharing));
        let routed = matches!(
            sharing,
            Some(Sharing::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s, _))
        );
        let ipv6 = endpoint.ipv6.map(|place| match routed {
            true => Hop::Link { ipv6: true },
            false => Hop::Gateway(place.gateway.into()),
        });
        let ipv4 = match routed {
            true => Hop::Link { ipv6: false },
            false => Hop::Gateway(endpoint.gateway.into()),
        };
        [ipv4].into_iter().chain(ipv6).collect()
    }

    /// Removes interfaces that were made to be shared on a network that is no more.
    pub(super) fn sweep_parents(&self) -> Result<(), NetworkError> {
        let wanted: Vec<_> = {
            let table = lock(&self.table);
            let parents = table.networks.values().filter_map(UserNetwork::parent);
            parents.map(|driver| driver.parent.clone()).collect()
        };
        let mut failures = Vec::new();
        for interface in self.records.parents()? {
            if !wanted.contains(&interface) {
                failures.extend(parent::remove(&interface).err());
                failures.extend(self.records.disown_parent(&interface).err());
            }
        }
        gathered(|| "old parent interfaces".to_owned(), failures)
    }
}
