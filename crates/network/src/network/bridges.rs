//! The bridges of the networks: made when somebody needs them, kept by the rules, removed with their network.

use std::collections::BTreeMap;

use ipnet::{Ipv4Net, Ipv6Net};

use super::ground::Ground;
use super::{HOST_INTERFACE_PREFIX, Network, Table, gathered, is_interface_name, lock, noted};
use crate::bridge::{self, Bridge, Choose, Wanted};
use crate::endpoint::{BridgeInfo, DEFAULT_NETWORK, Driver, Families, UserNetwork};
use crate::error::NetworkError;
use crate::firewall::{Foreign, Zone};
use crate::netlink::{self, Connection, Link, Route};
use crate::parent;
use crate::reaper::Job;
use crate::records::Records;

/// The bridges that somebody is on, and what they carry.
pub(super) fn in_use(table: &Table, default: &str) -> BTreeMap<String, Families> {
    let mut used = BTreeMap::<_, Families>::new();
    for endpoint in table
        .endpoints()
        .filter(|endpoint| !endpoint.host_interface.is_empty())
    {
        let driver = table
            .networks
            .get(&endpoint.network)
            .and_then(UserNetwork::bridge);
        let interface = driver.map_or(default, |driver| driver.interface.as_str());
        let families = used.entry(interface.to_owned()).or_default();
        families.ipv4 |= endpoint.ipv4.is_some();
        families.ipv6 |= endpoint.ipv6.is_some();
    }
    used
}

/// The host's interfaces of containers that are to be kept apart from their neighbours.
pub(super) fn apart(table: &Table) -> Vec<String> {
    let kept_apart = |network: &String| {
        let driver = table.networks.get(network).and_then(UserNetwork::bridge);
        driver.is_some_and(|driver| !driver.neighbours)
    };
    let endpoints = table.endpoints().filter(|endpoint| kept_apart(&endpoint.network));
    endpoints
        .map(|endpoint| endpoint.host_interface.clone())
        .collect()
}

/// By the ports of their bridge, unless the firewall does it.
pub(super) fn keep_apart(interfaces: &[String]) {
    let isolated = !bridge::is_filtered();
    let requests = interfaces
        .iter()
        .map(|name| netlink::set_isolated(name, isolated));
    // One that is on its way out is no loss.
    if let Err(error) = Connection::open().and_then(|mut host| host.execute(requests.collect())) {
        tracing::debug!(%error, "not every neighbour is kept apart");
    }
}

/// A dockerd may come later than our bridges, and drop what they forward from then on.
pub(super) fn admit_later(records: &Records, bridges: &BTreeMap<String, Families>) {
    for (interface, families) in bridges {
        let foreign = Foreign {
            bridge: interface,
            families: *families,
        };
        if records.is_admitted(interface) || !foreign.meets_docker() {
            continue;
        }
        match records.admit(interface) {
            Ok(()) => foreign.admit(),
            Err(error) => tracing::warn!(%error, interface, "cannot note an exception in another firewall"),
        }
    }
}

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

    /// The same in IPv6: a subnet of 64 bits.
    pub fn choose_ipv6_subnet(&self, reserved: &[Ipv6Net]) -> Result<Ipv6Net, NetworkError> {
        let mut reserved = reserved.to_vec();
        reserved.extend(self.config.ipv6);
        bridge::choose_ipv6_subnet(&self.config.ipv6_pools, &reserved)
    }

    /// The default bridge's IPv6 subnet, when it has one.
    pub fn default_ipv6_subnet(&self) -> Option<Ipv6Net> {
        self.config.ipv6
    }

    /// The default bridge's subnet, as far as one is chosen.
    pub fn default_subnet(&self) -> Option<Ipv4Net> {
        let known = lock(&self.bridges)
            .get(DEFAULT_NETWORK)
            .and_then(|bridge| bridge.ipv4);
        known.map(|net| net.trunc()).or_else(|| self.records.subnet())
    }

    /// Makes a network known; its bridge appears with the first endpoint or with [`Network::ensure_network`]. Call it for
    /// every network before [`Network::recover`].
    pub fn define(&self, network: UserNetwork) -> Result<(), NetworkError> {
        let name = match &network.driver {
            Driver::Bridge(bridge) => &bridge.interface,
            Driver::Parent(parent) => &parent.parent,
        };
        let ours = name.starts_with(HOST_INTERFACE_PREFIX) && name.len() == 12;
        // A prefix leaves room for a number.
        let prefix = is_interface_name(&network.prefix) && network.prefix.len() <= 11;
        if !is_interface_name(name) || ours {
            return Err(NetworkError::InvalidInterfaceName { name: name.clone() });
        }
        if !prefix {
            return Err(NetworkError::InvalidInterfaceName { name: network.prefix });
        }
        lock(&self.table).networks.insert(network.id.clone(), network);
        Ok(())
    }

    /// Makes what a network that was defined stands on. `fresh`: a bridge of that name must not exist yet.
    pub fn ensure_network(&self, id: &str, fresh: bool) -> Result<(), NetworkError> {
        if fresh && !self.is_shared(id) {
            let name = self.interface_of(id);
            let taken = self.records.bridges()?.contains(&name) || name == self.config.bridge;
            if taken || matches!(netlink::link_index(&name), Ok(Some(_))) {
                return Err(NetworkError::InterfaceExists { name });
            }
        }
        self.ground(id).map(|_| ())
    }

    /// Whether a network's containers share an interface of the host.
    fn is_shared(&self, id: &str) -> bool {
        let table = lock(&self.table);
        table
            .networks
            .get(id)
            .is_some_and(|network| network.parent().is_some())
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
        match &network.driver {
            Driver::Bridge(driver)
                if noted(self.records.bridges(), &mut failures).contains(&driver.interface) =>
            {
                failures.extend(bridge::remove(&driver.interface).err());
                failures.extend(self.withdraw(&driver.interface).err());
                failures.extend(self.records.disown_bridge(&driver.interface).err());
            }
            Driver::Bridge(_) => {}
            Driver::Parent(_) => failures.extend(self.sweep_parents().err()),
        }
        lock(&self.table).addresses.remove(id);
        if bridges.remove(id).is_some() {
            failures.extend(self.install(&bridges).err());
        }
        gathered(|| format!("network {}", network.name), failures)
    }

    /// Has somebody else's firewall let a bridge through, where it would not.
    fn admit(&self, interface: &str, families: Families) -> Result<(), NetworkError> {
        let foreign = Foreign {
            bridge: interface,
            families,
        };
        if foreign.is_in_the_way() {
            self.records.admit(interface)?;
            foreign.admit();
        }
        Ok(())
    }

    /// Takes those exceptions away.
    fn withdraw(&self, interface: &str) -> Result<(), NetworkError> {
        if self.records.withdraw(interface)? {
            Foreign {
                bridge: interface,
                families: Families::default(),
            }
            .withdraw();
        }
        Ok(())
    }

    /// For an orderly end: takes away the exceptions in others' firewalls for the bridges that nobody is on. They are
    /// made again when they are needed.
    pub fn rest(&self) -> Result<(), NetworkError> {
        let used: Vec<String> = self
            .endpoints()
            .iter()
            .map(|endpoint| self.interface_of(&endpoint.network))
            .collect();
        let mut failures = Vec::new();
        for interface in noted(self.records.admitted(), &mut failures) {
            if !used.contains(&interface) {
                failures.extend(self.withdraw(&interface).err());
            }
        }
        gathered(|| "exceptions in another firewall".to_owned(), failures)
    }

    /// The default bridge and who is on it. Makes the bridge when it isn't there yet.
    pub fn inspect(&self) -> Result<BridgeInfo, NetworkError> {
        let bridge = self.bridge(DEFAULT_NETWORK)?;
        let mut endpoints = self.endpoints();
        endpoints.retain(|endpoint| endpoint.network == DEFAULT_NETWORK);
        Ok(BridgeInfo {
            interface: self.config.bridge.clone(),
            ipv4: bridge.ipv4,
            ipv6: bridge.ipv6,
            mtu: bridge.mtu,
            endpoints,
        })
    }

    /// Removes every endpoint, sandbox, the firewall table and the bridges: the machine is as before, but for
    /// `net.ipv4.ip_forward`, which others may rely on meanwhile. Goes on after a failure and reports them all.
    pub fn destroy(&self) -> Result<(), NetworkError> {
        let mut failures = Vec::new();
        for container in self.containers() {
            self.disconnect(&container);
        }
        for container in noted(self.records.namespaces(), &mut failures) {
            self.reaper
                .send(Job::Namespace(self.records.namespace_path(&container)));
        }
        self.reaper.flush();
        let mut known = lock(&self.bridges);
        failures.extend(self.firewall.remove().err());
        for interface in noted(self.records.bridges(), &mut failures) {
            failures.extend(bridge::remove(&interface).err());
            failures.extend(self.records.disown_bridge(&interface).err());
        }
        for interface in noted(self.records.parents(), &mut failures) {
            failures.extend(parent::remove(&interface).err());
            failures.extend(self.records.disown_parent(&interface).err());
        }
        for interface in noted(self.records.admitted(), &mut failures) {
            failures.extend(self.withdraw(&interface).err());
        }
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
            let families = Ground::of_bridge(&bridge).families();
            admit_later(&self.records, &BTreeMap::from([(interface, families)]));
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
                .and_then(|bridge| bridge.ipv4)
                .map(|net| net.trunc())
                .or_else(|| self.records.subnet());
            let reserved: Vec<_> = {
                let table = lock(&self.table);
                table
                    .networks
                    .values()
                    .filter_map(|network| Some(network.ipv4.as_ref()?.subnet))
                    .collect()
            };
            return bridge::ensure_default(&self.config, remembered, &reserved);
        }
        let id = network;
        let unknown = || NetworkError::UnknownNetwork {
            network: id.to_owned(),
        };
        let network = lock(&self.table)
            .networks
            .get(network)
            .cloned()
            .ok_or_else(unknown)?;
        let Some(driver) = network.bridge() else {
            return Err(unknown());
        };
        let ipv4 = network
            .ipv4
            .as_ref()
            .map(|pool| Ipv4Net::new(pool.gateway, pool.subnet.prefix_len()));
        let ipv4 = ipv4
            .transpose()
            .map_err(|_| NetworkError::PoolsExhausted { family: "IPv4" })?;
        let ipv6 = network
            .ipv6
            .as_ref()
            .map(|pool| Ipv6Net::new(pool.gateway, pool.subnet.prefix_len()));
        let ipv6 = ipv6
            .transpose()
            .map_err(|_| NetworkError::PoolsExhausted { family: "IPv6" })?;
        self.records.own_bridge(&driver.interface)?;
        let wanted = Wanted {
            interface: &driver.interface,
            mtu: network.mtu.or(self.config.mtu),
            from_loopback: !network.internal,
            unnumbered: driver.unnumbered,
            ipv6,
        };
        // Others that choose a subnet meanwhile see its route.
        let _turn = bridge::turn();
        let known = ipv4.map(|address| move |_: &[Route]| Ok(address));
        bridge::ensure(&wanted, known.as_ref().map(|known| known as Choose<'_>))
    }

    /// Everything around a bridge that was just found or made.
    fn take_in(&self, network: &str, interface: &str, bridge: &Bridge) -> Result<(), NetworkError> {
        let ground = Ground::of_bridge(bridge);
        self.admit(interface, ground.families())?;
        if network == DEFAULT_NETWORK {
            bridge
                .ipv4
                .map_or(Ok(()), |net| self.records.set_subnet(net.trunc()))?;
        }
        self.take_in_addresses(network, &ground);
        let ports: Vec<_> = {
            let table = lock(&self.table);
            let endpoints = table.endpoints().filter(|endpoint| endpoint.network == network);
            endpoints
                .map(|endpoint| netlink::set_controller(&endpoint.host_interface, bridge.index))
                .collect()
        };
        if bridge.fresh && !ports.is_empty() {
            // The bridge was deleted under its containers. Interfaces that are gone as well are no loss here.
            if let Err(error) = Connection::open().and_then(|mut host| host.execute(ports)) {
                tracing::warn!(%error, bridge = interface, "not every container is back on the bridge");
            }
        }
        Ok(())
    }

    /// Makes the firewall's table for all bridges there are.
    fn install(&self, bridges: &BTreeMap<String, Bridge>) -> Result<(), NetworkError> {
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
        let driver = known.and_then(UserNetwork::bridge);
        Zone {
            bridge: driver.map_or_else(|| self.config.bridge.clone(), |driver| driver.interface.clone()),
            ipv4: bridge.ipv4.map(|net| net.trunc()),
            ipv6: bridge.ipv6.map(|net| net.trunc()),
            internal: known.is_some_and(|known| known.internal),
            neighbours: driver.is_none_or(|driver| driver.neighbours),
            masquerade: driver.is_none_or(|driver| driver.masquerade),
        }
    }

    /// Whether the containers of a network reach each other at every port.
    pub(super) fn has_neighbours(&self, network: &str) -> bool {
        let table = lock(&self.table);
        let driver = table.networks.get(network).and_then(UserNetwork::bridge);
        driver.is_none_or(|driver| driver.neighbours)
    }

    /// Name of a network's bridge.
    pub(super) fn interface_of(&self, network: &str) -> String {
        let table = lock(&self.table);
        let driver = table.networks.get(network).and_then(UserNetwork::bridge);
        driver.map_or_else(|| self.config.bridge.clone(), |driver| driver.interface.clone())
    }

    /// The bridges of all networks, whether they exist yet or not.
    pub(super) fn interfaces(&self) -> Vec<String> {
        let table = lock(&self.table);
        let drivers = table.networks.values().filter_map(UserNetwork::bridge);
        let interfaces = drivers.map(|driver| driver.interface.clone());
        interfaces.chain([self.config.bridge.clone()]).collect()
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
                failures.extend(bridge::remove(&interface).err());
            }
            failures.extend(self.withdraw(&interface).err());
            failures.extend(self.records.disown_bridge(&interface).err());
        }
        gathered(|| "old bridges".to_owned(), failures)
    }
}
