//! The bridges of the networks: made when somebody needs them, kept by the rules, removed with their network.

use ipnet::Ipv4Net;

use super::{HOST_INTERFACE_PREFIX, Network, gathered, is_interface_name, lock};
use crate::bridge::{self, Bridge, Wanted};
use crate::endpoint::{BridgeInfo, BridgeNetwork, DEFAULT_NETWORK};
use crate::error::NetworkError;
use crate::firewall::{Foreign, Zone};
use crate::netlink::{self, Connection, Link};
use crate::pool::Addresses;
use crate::reaper::Job;

impl Network {
    /// Makes the default bridge, its address, its firewall table, and turns forwarding on. Idempotent and cheap when all is
    /// there; what somebody else removed meanwhile is made again.
    pub fn ensure_bridge(&self) -> Result<(), NetworkError> {
        self.bridge(DEFAULT_NETWORK).map(|_| ())
    }

    /// Gives back the subnet a new network may have: `wanted`, or the first free one of the pools. `reserved` are the
    /// subnets of the networks that exist, whether their bridges do or not.
    pub fn choose_subnet(&self, reserved: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
        let mut reserved = reserved.to_vec();
        // The default bridge's may be remembered only: it is made when it is needed.
        reserved.extend(self.records.subnet());
        bridge::choose_subnet(&self.config.pools, &reserved)
    }

    /// The default bridge's subnet, as far as one is chosen.
    pub fn default_subnet(&self) -> Option<Ipv4Net> {
        let known = lock(&self.bridges)
            .get(DEFAULT_NETWORK)
            .map(|bridge| bridge.subnet);
        known.or_else(|| self.records.subnet())
    }

    /// Makes a network known; its bridge appears with the first endpoint or with [`Network::ensure_network`]. Call it for
    /// every network before [`Network::recover`].
    pub fn define(&self, network: BridgeNetwork) -> Result<(), NetworkError> {
        let name = &network.interface;
        if !is_interface_name(name) || name.starts_with(HOST_INTERFACE_PREFIX) && name.len() == 12 {
            return Err(NetworkError::InvalidInterfaceName { name: name.clone() });
        }
        lock(&self.table).networks.insert(network.id.clone(), network);
        Ok(())
    }

    /// Makes the bridge of a network that was defined. `fresh`: an interface of that name must not exist yet.
    pub fn ensure_network(&self, id: &str, fresh: bool) -> Result<(), NetworkError> {
        if fresh {
            let name = self.interface_of(id);
            let taken = self.records.bridges()?.contains(&name) || name == self.config.bridge;
            if taken || matches!(netlink::link_index(&name), Ok(Some(_))) {
                return Err(NetworkError::InterfaceExists { name });
            }
        }
        self.bridge(id).map(|_| ())
    }

    /// Removes a network's bridge and forgets the network. The caller has seen to it that nobody is on it.
    pub fn undefine(&self, id: &str) -> Result<(), NetworkError> {
        // Interfaces on their way out are gone before their bridge.
        self.reaper.flush();
        let mut bridges = lock(&self.bridges);
        let Some(network) = lock(&self.table).networks.remove(id) else {
            return Ok(());
        };
        let mut failures = Vec::new();
        if self.records.bridges()?.contains(&network.interface) {
            failures.extend(bridge::remove(&network.interface).err());
            Foreign {
                bridge: &network.interface,
            }
            .withdraw();
            failures.extend(self.records.disown_bridge(&network.interface).err());
        }
        lock(&self.table).addresses.remove(id);
        if bridges.remove(id).is_some() {
            failures.extend(self.install(&bridges).err());
        }
        gathered(|| format!("network {}", network.name), failures)
    }

    /// The default bridge and who is on it. Makes the bridge when it isn't there yet.
    pub fn inspect(&self) -> Result<BridgeInfo, NetworkError> {
        let bridge = self.bridge(DEFAULT_NETWORK)?;
        let mut endpoints = self.endpoints();
        endpoints.retain(|endpoint| endpoint.network == DEFAULT_NETWORK);
        Ok(BridgeInfo {
            interface: self.config.bridge.clone(),
            subnet: bridge.subnet,
            gateway: bridge.gateway,
            mtu: bridge.mtu,
            endpoints,
        })
    }

    /// Removes every endpoint, sandbox, the firewall table and the bridges: the machine is as before, but for
    /// `net.ipv4.ip_forward`, which others may rely on meanwhile. Goes on after a failure and reports them all.
    pub fn destroy(&self) -> Result<(), NetworkError> {
        let mut failures = Vec::new();
        for container in self.containers() {
            failures.extend(self.disconnect(&container).err());
        }
        for container in self.records.namespaces()? {
            self.reaper
                .send(Job::Namespace(self.records.namespace_path(&container)));
        }
        self.reaper.flush();
        let mut known = lock(&self.bridges);
        failures.extend(self.firewall.remove().err());
        for interface in self.records.bridges()? {
            Foreign { bridge: &interface }.withdraw();
            failures.extend(bridge::remove(&interface).err());
            failures.extend(self.records.disown_bridge(&interface).err());
        }
        Foreign {
            bridge: &self.config.bridge,
        }
        .withdraw();
        failures.extend(bridge::remove(&self.config.bridge).err());
        failures.extend(self.records.forget_subnet().err());
        known.clear();
        lock(&self.table).addresses.clear();
        gathered(|| format!("network {}", self.config.bridge), failures)
    }

    /// The bridge of a network, made if need be, with its rules in the firewall.
    pub(super) fn bridge(&self, network: &str) -> Result<Bridge, NetworkError> {
        let mut known = lock(&self.bridges);
        let interface = self.interface_of(network);
        if let Some(bridge) = known.get(network)
            && netlink::link_index(&interface).ok().flatten() == Some(bridge.index)
        {
            let bridge = *bridge;
            if !self.firewall.is_installed()? {
                tracing::warn!(
                    table = self.config.table,
                    "the firewall table was gone and is made again"
                );
                self.install(&known)?;
            }
            return Ok(bridge);
        }

        let bridge = self.make(network, known.get(network))?;
        let before = known.insert(network.to_owned(), bridge);
        let ready = self
            .install(&known)
            .and_then(|()| self.take_in(network, &interface, &bridge));
        if let Err(error) = ready {
            match before {
                Some(before) => known.insert(network.to_owned(), before),
                None => known.remove(network),
            };
            if bridge.fresh {
                let _ = bridge::remove(&interface);
            }
            return Err(error);
        }
        Ok(bridge)
    }

    fn make(&self, network: &str, before: Option<&Bridge>) -> Result<Bridge, NetworkError> {
        if network == DEFAULT_NETWORK {
            let remembered = before
                .map(|bridge| bridge.subnet)
                .or_else(|| self.records.subnet());
            let reserved: Vec<_> = {
                let table = lock(&self.table);
                table.networks.values().map(|network| network.subnet).collect()
            };
            return bridge::ensure_default(&self.config, remembered, &reserved);
        }
        let unknown = || NetworkError::UnknownNetwork {
            network: network.to_owned(),
        };
        let network = lock(&self.table)
            .networks
            .get(network)
            .cloned()
            .ok_or_else(unknown)?;
        let address = Ipv4Net::new(network.gateway, network.subnet.prefix_len());
        let address = address.map_err(|_| NetworkError::PoolsExhausted)?;
        self.records.own_bridge(&network.interface)?;
        let wanted = Wanted {
            interface: &network.interface,
            mtu: network.mtu.or(self.config.mtu),
            from_loopback: !network.internal,
        };
        // Others that choose a subnet meanwhile see its route.
        let _turn = bridge::turn();
        bridge::ensure(&wanted, |_| Ok(address))
    }

    /// Everything around a bridge that was just found or made.
    fn take_in(&self, network: &str, interface: &str, bridge: &Bridge) -> Result<(), NetworkError> {
        Foreign { bridge: interface }.admit();
        if network == DEFAULT_NETWORK {
            self.records.set_subnet(bridge.subnet)?;
        }

        let mut table = lock(&self.table);
        let mut addresses = Addresses::new(bridge.subnet, bridge.gateway);
        if let Some(known) = table.networks.get(network) {
            addresses = addresses.within(known.range, &known.reserved);
        }
        let mut ports = Vec::new();
        for endpoint in table.endpoints().filter(|endpoint| endpoint.network == network) {
            if let Err(error) = addresses.claim(endpoint.ip) {
                tracing::warn!(%error, container = endpoint.container, "an endpoint's address does not fit the bridge");
            }
            ports.push(netlink::set_controller(&endpoint.host_interface, bridge.index));
        }
        if table.addresses.get(network).map(Addresses::subnet) != Some(bridge.subnet) {
            table.addresses.insert(network.to_owned(), addresses);
        }
        drop(table);
        if bridge.fresh && !ports.is_empty() {
            // The bridge was deleted under its containers. Interfaces that are gone as well are no loss here.
            if let Err(error) = Connection::open().and_then(|mut host| host.execute(ports)) {
                tracing::warn!(%error, bridge = interface, "not every container is back on the bridge");
            }
        }
        Ok(())
    }

    /// Makes the firewall's table for all bridges there are.
    fn install(&self, bridges: &std::collections::BTreeMap<String, Bridge>) -> Result<(), NetworkError> {
        let _rules = lock(&self.rules);
        let zones: Vec<_> = bridges
            .iter()
            .map(|(network, bridge)| self.zone(network, bridge))
            .collect();
        self.firewall.install(&zones, &self.published())
    }

    fn zone(&self, network: &str, bridge: &Bridge) -> Zone {
        let table = lock(&self.table);
        let known = table.networks.get(network);
        Zone {
            bridge: known.map_or_else(|| self.config.bridge.clone(), |known| known.interface.clone()),
            subnet: bridge.subnet,
            internal: known.is_some_and(|known| known.internal),
            neighbours: known.is_none_or(|known| known.neighbours),
            masquerade: known.is_none_or(|known| known.masquerade),
        }
    }

    /// Whether the containers of a network reach each other at every port.
    pub(super) fn has_neighbours(&self, network: &str) -> bool {
        let table = lock(&self.table);
        table
            .networks
            .get(network)
            .is_none_or(|network| network.neighbours)
    }

    /// Name of a network's bridge.
    pub(super) fn interface_of(&self, network: &str) -> String {
        let table = lock(&self.table);
        let known = table.networks.get(network);
        known.map_or_else(|| self.config.bridge.clone(), |known| known.interface.clone())
    }

    /// The bridges of all networks, whether they exist yet or not.
    pub(super) fn interfaces(&self) -> Vec<String> {
        let table = lock(&self.table);
        let networks = table.networks.values().map(|network| network.interface.clone());
        networks.chain([self.config.bridge.clone()]).collect()
    }

    /// Removes bridges of ours whose network is no more.
    pub(super) fn sweep_bridges(&self, links: &[Link]) -> Result<(), NetworkError> {
        let wanted = self.interfaces();
        let mut failures = Vec::new();
        for interface in self.records.bridges()? {
            if wanted.contains(&interface) {
                continue;
            }
            if links.iter().any(|link| link.name == interface && link.is_bridge) {
                tracing::info!(interface, "removing the bridge of a network that is no more");
                Foreign { bridge: &interface }.withdraw();
                failures.extend(bridge::remove(&interface).err());
            }
            failures.extend(self.records.disown_bridge(&interface).err());
        }
        gathered(|| "old bridges".to_owned(), failures)
    }
}
