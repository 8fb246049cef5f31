//! What an endpoint stands on: a bridge, or an interface of the host that is shared.

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Given, Network, gathered, lock};
use crate::bridge::Bridge;
use crate::endpoint::{Endpoint, Families, IpvlanMode, Sharing, UserNetwork};
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
    /// The gateway's address with the prefix of the subnet.
    pub(super) ipv4: Option<Ipv4Net>,
    /// The same in IPv6.
    pub(super) ipv6: Option<Ipv6Net>,
    /// `None`: a bridge.
    pub(super) sharing: Option<Sharing>,
}

impl Ground {
    pub(super) fn of_bridge(bridge: &Bridge) -> Self {
        Self {
            index: bridge.index,
            mtu: Some(bridge.mtu),
            ipv4: bridge.ipv4,
            ipv6: bridge.ipv6,
            sharing: None,
        }
    }

    fn of_parent(parent: Parent, network: &UserNetwork, sharing: Sharing) -> Self {
        Self {
            index: parent.index,
            mtu: network.mtu,
            ipv4: network
                .ipv4
                .as_ref()
                .and_then(|pool| Ipv4Net::new(pool.gateway, pool.subnet.prefix_len()).ok()),
            ipv6: network
                .ipv6
                .as_ref()
                .and_then(|pool| Ipv6Net::new(pool.gateway, pool.subnet.prefix_len()).ok()),
            sharing: Some(sharing),
        }
    }

    pub(super) fn families(&self) -> Families {
        Families {
            ipv4: self.ipv4.is_some(),
            ipv6: self.ipv6.is_some(),
        }
    }

    /// No address is given away.
    pub(super) fn given(&self) -> Given {
        Given {
            ipv4: self.ipv4.map(|net| Addresses::new(net.trunc(), net.addr())),
            ipv6: self.ipv6.map(|net| Addresses::new(net.trunc(), net.addr())),
        }
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
            given.ipv4.as_ref().map(Addresses::subnet) == ground.ipv4.map(|net| net.trunc().into())
                && given.ipv6.as_ref().map(Addresses::subnet) == ground.ipv6.map(|net| net.trunc().into())
        };
        if table.addresses.get(network).is_some_and(same) {
            return;
        }
        let mut given = ground.given();
        if let Some(known) = table.networks.get(network) {
            if let (Some(ipv4), Some(pool)) = (given.ipv4.take(), &known.ipv4) {
                given.ipv4 = Some(ipv4.within(pool.range, pool.reserved.iter().copied()));
            }
            if let (Some(ipv6), Some(pool)) = (given.ipv6.take(), &known.ipv6) {
                given.ipv6 = Some(ipv6.within(pool.range, pool.reserved.iter().copied()));
            }
        }
        for endpoint in table.endpoints().filter(|endpoint| endpoint.network == network) {
            for ip in endpoint.addresses() {
                let claimed = given.of(ip).map(|addresses| addresses.claim(ip));
                if let Some(Err(error)) = claimed {
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
        let hop = |gateway: IpAddr| match routed {
            true => Hop::Link {
                ipv6: gateway.is_ipv6(),
            },
            false => Hop::Gateway(gateway),
        };
        let ipv4 = endpoint.ipv4.map(|place| hop(place.gateway.into()));
        let ipv6 = endpoint.ipv6.map(|place| hop(place.gateway.into()));
        ipv4.into_iter().chain(ipv6).collect()
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
