//! Which networks a container is on: at its start, and by `network connect` and `disconnect`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use havre_network::{Endpoint, EndpointRequest, PortRequest, Protocol};
use havre_runtime::{RelayedPort, Shim};

use super::record::{NetworkRecord, Record};
use super::table::Container;
use super::validate::NetworkMode;
use super::{Containers, EndpointConfig, EndpointView, Inner, Status, endpoints, files, start};
use crate::error::blocking;
use crate::networks::{self, Found, Ways};
use crate::{EngineError, ErrorKind, Events, Result};

/// Where a container's name server may listen: above what programs usually take, below what is given at random.
const NAME_PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Tries of ports that a program in the container may have.
const PORT_ATTEMPTS: usize = 16;

/// A port where a container's name server may listen.
pub(crate) fn name_port() -> u16 {
    rand::random_range(NAME_PORTS)
}

/// The networks a container is on when it runs, that of its network mode first.
pub(super) fn wanted(record: &Record) -> Vec<(String, EndpointConfig)> {
    let primary = networks::name_of_mode(&record.host_config.network_mode);
    let mut wanted = Vec::new();
    match record.endpoints.get(primary) {
        Some(config) => wanted.push((primary.to_owned(), config.clone())),
        None if record.left_primary => {}
        None => wanted.push((primary.to_owned(), EndpointConfig::default())),
    }
    let others = record.endpoints.iter().filter(|(name, _)| *name != primary);
    wanted.extend(others.map(|(name, config)| (name.clone(), config.clone())));
    wanted
}

/// What the connections of a starting container are: found networks and what was asked of each.
pub(super) struct Memberships(Vec<(Found, EndpointConfig)>);

impl Memberships {
    /// Finds the networks; one that is no more is named.
    pub(super) fn of(inner: &Inner, record: &Record) -> Result<Self> {
        let find = |(name, config): (String, EndpointConfig)| {
            let found = inner.networks.find(&name);
            let found = found.map_err(|error| error.context("failed to set up container networking"))?;
            Ok((found, config))
        };
        Ok(Self(wanted(record).into_iter().map(find).collect::<Result<_>>()?))
    }

    /// Whether the container has a name server of its own.
    pub(super) fn serve_names(&self) -> bool {
        self.0.iter().any(|(found, _)| matches!(found, Found::User(_)))
    }

    fn ways(&self, inner: &Inner) -> Ways {
        inner.networks.ways(self.0.iter().map(|(found, _)| found))
    }

    /// The ids of the networks whose names the container resolves.
    fn named(&self) -> Vec<String> {
        self.0
            .iter()
            .filter(|(found, _)| matches!(found, Found::User(_)))
            .map(|(found, _)| found.id())
            .collect()
    }

    /// What the container calls others on these networks.
    fn links(&self) -> Vec<havre_dns::Link> {
        let user = self.0.iter().filter(|(found, _)| matches!(found, Found::User(_)));
        user.flat_map(|(found, config)| {
            let links = config.links.iter().filter_map(|link| endpoints::link(link));
            links.map(|(name, alias)| havre_dns::Link {
                network: found.id(),
                alias,
                name,
            })
        })
        .collect()
    }

    /// Connects all of them. Returns the endpoints in their order.
    pub(super) fn connect(
        &self,
        inner: &Inner,
        record: &Record,
        ports: &[PortRequest],
    ) -> Result<Vec<Endpoint>> {
        let mut endpoints = Vec::new();
        for (found, config) in &self.0 {
            inner.networks.enter(found, &record.id, &record.name)?;
            let request = request(record, found, config, ports)?;
            let endpoint = inner.network.connect(&request);
            endpoints.push(endpoint.map_err(|error| start::network_failure(record, error))?);
            announce(inner, record, found, config, &endpoints[endpoints.len() - 1])?;
        }
        Ok(endpoints)
    }

    /// Writes whom the container's name server asks, and has questions reach it. Its port.
    pub(super) fn prepare_names(&self, inner: &Inner, record: &Record) -> Result<Option<u16>> {
        if !self.serve_names() {
            return Ok(None);
        }
        let servers = files::servers(record)?;
        inner
            .networks
            .set_resolver(&record.id, self.named(), self.links(), &servers, self.ways(inner))?;
        let port = name_port();
        inner
            .network
            .redirect_names(&record.id, havre_dns::ADDRESS, port)?;
        Ok(Some(port))
    }
}

fn gets_out(found: &Found) -> bool {
    !matches!(found, Found::User(record) if !record.gets_out())
}

/// The names under which others on a user-defined network find a container.
fn dns_names(record: &Record, config: &EndpointConfig) -> Vec<String> {
    let mut names = Vec::new();
    let short = record.short_id().to_owned();
    let own = [record.name.clone()]
        .into_iter()
        .chain(config.aliases.iter().cloned());
    for name in own.chain([short, record.config.hostname.clone()]) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn announce(
    inner: &Inner,
    record: &Record,
    found: &Found,
    config: &EndpointConfig,
    endpoint: &Endpoint,
) -> Result<()> {
    let names = dns_names(record, config);
    inner
        .networks
        .announce(found.key(), &record.id, &record.name, endpoint, &names)
}

fn request(
    record: &Record,
    found: &Found,
    config: &EndpointConfig,
    ports: &[PortRequest],
) -> Result<EndpointRequest> {
    endpoints::check(found, config)?;
    let primary = networks::name_of_mode(&record.host_config.network_mode) == found.name();
    let own = record.config.mac_address.as_deref().filter(|_| primary);
    endpoints::request(&record.id, found, config, own, ports)
}

/// What `inspect` says of an endpoint.
fn view(
    record: &Record,
    found: &Found,
    config: &EndpointConfig,
    endpoint: Option<&Endpoint>,
) -> EndpointView {
    let mut view = EndpointView {
        network_id: found.id(),
        config: config.clone(),
        ..EndpointView::default()
    };
    if let Found::User(_) = found {
        view.aliases.clone_from(&config.aliases);
        view.dns_names = dns_names(record, config);
    }
    if let Some(endpoint) = endpoint {
        view.endpoint_id.clone_from(&endpoint.id);
        if let Some(place) = endpoint.ipv4 {
            view.ip_address = place.ip.to_string();
            view.ip_prefix_len = place.prefix;
            view.gateway = match gets_out(found) {
                true => place.gateway.to_string(),
                false => String::new(),
            };
        }
        if let Some(place) = endpoint.ipv6 {
            view.global_ipv6_address = place.ip.to_string();
            view.global_ipv6_prefix_len = place.prefix;
            view.ipv6_gateway = match gets_out(found) {
                true => place.gateway.to_string(),
                false => String::new(),
            };
        }
        view.mac_address = endpoint.mac.to_string();
    }
    view
}

/// What a container that does not run is on when it runs.
pub(super) fn resting(
    networks: &crate::networks::Registry,
    record: &Record,
) -> BTreeMap<String, EndpointView> {
    let views = wanted(record).into_iter().filter_map(|(name, config)| {
        if name.starts_with("container:") {
            return None;
        }
        let view = match networks.find(&name) {
            Ok(found) => view(record, &found, &config, None),
            Err(_) => EndpointView {
                config,
                ..EndpointView::default()
            },
        };
        Some((name, view))
    });
    views.collect()
}

/// The record of what is connected now.
pub(super) fn live(inner: &Inner, record: &Record, sandbox: &Path, name_port: Option<u16>) -> NetworkRecord {
    let endpoints = inner.network.endpoints_of(&record.id);
    let mut network = NetworkRecord {
        sandbox: sandbox.to_string_lossy().into_owned(),
        ports: start::port_bindings(record, &endpoints),
        name_port,
        ..NetworkRecord::default()
    };
    for (name, config) in wanted(record) {
        let Ok(found) = inner.networks.find(&name) else {
            continue;
        };
        let endpoint = endpoints.iter().find(|endpoint| endpoint.network == found.key());
        if let Some(endpoint) = endpoint {
            network
                .endpoints
                .insert(name, view(record, &found, &config, Some(endpoint)));
        }
    }
    network
}

/// After a restart of the daemon: the others find those that run by their names again.
pub(super) fn recover(inner: &Inner, live: &[String]) -> Result<()> {
    for container in live.iter().filter_map(|id| inner.table.get(id)) {
        let record = container.read().clone();
        for (name, config) in wanted(&record) {
            let Ok(found @ Found::User(_)) = inner.networks.find(&name) else {
                continue;
            };
            if let Some(endpoint) = inner.network.endpoint_on(&record.id, found.key()) {
                announce(inner, &record, &found, &config, &endpoint)?;
            }
        }
    }
    let live: BTreeSet<&str> = live.iter().map(String::as_str).collect();
    inner.networks.settle(|container| live.contains(container))
}

impl Containers {
    pub(crate) fn events(&self) -> &Events {
        &self.0.events
    }

    /// The names of the networks that some container is on or will be, but for those that are about to go.
    pub(crate) fn networks_in_use(&self, gone: &[String]) -> BTreeSet<String> {
        let containers = self.0.table.all().into_iter();
        containers
            .filter(|container| !gone.contains(&container.id))
            .flat_map(|container| wanted(&container.read()))
            .map(|(name, _)| name)
            .collect()
    }

    /// Puts a container on a network.
    pub(crate) async fn connect(&self, network: &str, name: &str, config: EndpointConfig) -> Result<()> {
        let container = self.find(name)?;
        let op = container.op.clone().lock_owned().await;
        let (inner, network) = (self.0.clone(), network.to_owned());
        blocking(move || {
            let _op = op;
            connect(&inner, &container, &network, config)
        })
        .await
    }

    /// Takes a container off a network. `force`: also one that is not there any more.
    pub(crate) async fn disconnect(&self, network: &str, name: &str, force: bool) -> Result<()> {
        let found = self.0.networks.find(network)?;
        let container = match self.find(name) {
            Ok(container) => container,
            Err(error) if force && error.kind() == ErrorKind::NotFound => {
                // The network may know one that is gone by its name.
                let known = self.0.networks.member(found.key(), name);
                let id = known.unwrap_or_else(|| name.to_owned());
                let gone = self.0.network.endpoint_on(&id, found.key()).is_none();
                if gone {
                    return Err(EngineError::not_found(format!("endpoint {name} not found")));
                }
                let inner = self.0.clone();
                return blocking(move || {
                    inner.network.leave(&id, found.key())?;
                    inner.networks.leave(found.key(), &id);
                    Ok(())
                })
                .await;
            }
            Err(error) => return Err(error),
        };
        let op = container.op.clone().lock_owned().await;
        let inner = self.0.clone();
        blocking(move || {
            let _op = op;
            disconnect(&inner, &container, &found)
        })
        .await
    }
}

/// Refuses modes that have no networks of their own.
fn check_mode(record: &Record, found: &Found) -> Result<()> {
    let refuse = |text: &str| Err(EngineError::new(ErrorKind::Forbidden, text));
    match (NetworkMode::parse(&record.host_config.network_mode)?, found) {
        (NetworkMode::Container(_), _) => refuse(
            "container sharing network namespace with another container or host cannot be connected to any other network",
        ),
        (NetworkMode::Host, _) | (_, Found::Predefined("host")) => {
            refuse("container cannot be disconnected from host network or connected to host network")
        }
        (NetworkMode::None, _) | (_, Found::Predefined("none")) => refuse(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        ),
        _ => Ok(()),
    }
}

fn connect(
    inner: &Arc<Inner>,
    container: &Arc<Container>,
    network: &str,
    config: EndpointConfig,
) -> Result<()> {
    let found = inner.networks.find(network)?;
    let record = container.read().clone();
    check_mode(&record, &found)?;
    endpoints::check(&found, &config)?;
    if matches!(record.state.status, Status::Removing | Status::Dead) {
        return Err(EngineError::new(
            ErrorKind::Forbidden,
            format!(
                "container {} is marked for removal and cannot be connected or disconnected to the network",
                record.id
            ),
        ));
    }
    let name = found.name().to_owned();
    let primary = networks::name_of_mode(&record.host_config.network_mode) == name;
    let enter = |record: &mut Record| {
        record.endpoints.insert(name.clone(), config.clone());
        record.left_primary &= !primary;
    };
    let Some(before) = record.network.clone().filter(|_| record.state.status.is_live()) else {
        return container.update(&inner.store, enter);
    };
    if before.endpoints.contains_key(&name) {
        return Err(EngineError::new(
            ErrorKind::Forbidden,
            format!(
                "endpoint with name {} already exists in network {name}",
                record.name
            ),
        ));
    }
    let ports = start::port_requests(&record.config, &record.host_config)?;
    inner.networks.enter(&found, &record.id, &record.name)?;
    let undo = || {
        if let Err(error) = inner.network.leave(&record.id, found.key()) {
            tracing::warn!(%error, container = record.id, "a connection that failed left something");
        }
        inner.networks.leave(found.key(), &record.id);
    };
    let connected = (|| {
        let request = request(&record, &found, &config, &ports)?;
        let endpoint = inner
            .network
            .connect(&request)
            .map_err(|error| start::network_failure(&record, error))?;
        announce(inner, &record, &found, &config, &endpoint)?;
        let mut after = record.clone();
        enter(&mut after);
        let name_port = serve_names(inner, &after, &before)?;
        let sandbox = inner.network.sandbox_path(&record.id);
        let live = live(inner, &after, &sandbox, name_port);
        write_hosts(inner, &after, &live)?;
        relay(inner, &record.id, &before)?;
        container.update(&inner.store, |record| {
            enter(record);
            record.network = Some(live);
        })
    })();
    if let Err(error) = connected {
        undo();
        return Err(error);
    }
    start::publish_network(inner, "connect", &name, &found.id(), &record.id);
    Ok(())
}

fn disconnect(inner: &Arc<Inner>, container: &Arc<Container>, found: &Found) -> Result<()> {
    let record = container.read().clone();
    let name = found.name().to_owned();
    let shares_host = NetworkMode::parse(&record.host_config.network_mode)? == NetworkMode::Host;
    if let (Found::Predefined("host"), true) = (found, shares_host) {
        return Err(EngineError::new(
            ErrorKind::Forbidden,
            "container cannot be disconnected from host network or connected to host network",
        ));
    }
    if !wanted(&record).iter().any(|(known, _)| *known == name) {
        return Err(EngineError::new(
            ErrorKind::Forbidden,
            format!(
                "container {} is not connected to {} {name}",
                record.id,
                match record.state.status.is_live() {
                    true => "network",
                    false => "the network",
                }
            ),
        ));
    }
    check_mode(&record, found)?;
    let primary = networks::name_of_mode(&record.host_config.network_mode) == name;
    let leave = |record: &mut Record| {
        record.endpoints.remove(&name);
        record.left_primary |= primary;
    };
    let Some(before) = record.network.clone().filter(|_| record.state.status.is_live()) else {
        return container.update(&inner.store, leave);
    };
    let left = inner.network.leave(&record.id, found.key());
    inner.networks.leave(found.key(), &record.id);
    let mut after = record.clone();
    leave(&mut after);
    let name_port = serve_names(inner, &after, &before)?;
    let live = live(inner, &after, Path::new(&before.sandbox), name_port);
    write_hosts(inner, &after, &live)?;
    relay(inner, &record.id, &before)?;
    container.update(&inner.store, |record| {
        leave(record);
        record.network = Some(live);
    })?;
    start::publish_network(inner, "disconnect", &name, &found.id(), &record.id);
    Ok(left?)
}

/// Has a running container's names answered as its networks now want it, and writes its `resolv.conf` anew.
fn serve_names(inner: &Inner, record: &Record, before: &NetworkRecord) -> Result<Option<u16>> {
    let memberships = Memberships::of(inner, record)?;
    if !memberships.serve_names() {
        let mode = NetworkMode::Bridge;
        files::write_resolv_conf(&inner.store, record, &mode, false)?;
        return Ok(before.name_port);
    }
    let servers = files::servers(record)?;
    inner.networks.set_resolver(
        &record.id,
        memberships.named(),
        memberships.links(),
        &servers,
        memberships.ways(inner),
    )?;
    let mut port = before.name_port;
    if port.is_none() {
        let shim = inner.runtime.shim(&record.id);
        port = Some(begin_to_serve(inner, record, &shim)?);
    }
    files::write_resolv_conf(&inner.store, record, &NetworkMode::Bridge, true)?;
    Ok(port)
}

/// Beside a program that may have any port already.
fn begin_to_serve(inner: &Inner, record: &Record, shim: &Shim) -> Result<u16> {
    let sandbox = inner.network.sandbox_path(&record.id);
    let mut attempts = 0;
    let port = loop {
        let port = name_port();
        attempts += 1;
        match shim.serve_names(inner.networks.names().path(), &sandbox, port) {
            Ok(()) => break port,
            Err(error) if attempts >= PORT_ATTEMPTS => return Err(error.into()),
            Err(_) => {}
        }
    };
    inner
        .network
        .redirect_names(&record.id, havre_dns::ADDRESS, port)?;
    Ok(port)
}

fn write_hosts(inner: &Inner, record: &Record, live: &NetworkRecord) -> Result<()> {
    let (addresses, gateway) = hosts_of(inner, record, live);
    files::write_hosts(&inner.store, record, &NetworkMode::Bridge, &addresses, gateway)
}

/// A container's own addresses, and that of the host as it sees it.
pub(super) fn hosts_of(
    inner: &Inner,
    record: &Record,
    live: &NetworkRecord,
) -> (Vec<IpAddr>, Option<IpAddr>) {
    let addresses = wanted(record)
        .iter()
        .filter_map(|(name, _)| live.endpoints.get(name))
        .flat_map(|view| [&view.ip_address, &view.global_ipv6_address])
        .filter_map(|address| address.parse().ok())
        .collect();
    let endpoints = inner.network.endpoints_of(&record.id);
    (addresses, endpoints.first().and_then(gateway_of))
}

/// The host's address as one on a network sees it.
pub(crate) fn gateway_of(endpoint: &Endpoint) -> Option<IpAddr> {
    let ipv4 = endpoint.ipv4.map(|place| IpAddr::V4(place.gateway));
    let gateway = ipv4.or(endpoint.ipv6.map(|place| IpAddr::V6(place.gateway)));
    gateway.filter(|ip| !ip.is_unspecified())
}

/// Has the shim pass on what the firewall cannot, once the container's connections are as they are to be.
pub(super) fn begin_to_relay(inner: &Inner, shim: &Shim) -> Result<()> {
    let (ports, targets) = inner.network.relays(shim.id());
    if ports.is_empty() {
        return Ok(());
    }
    let ports: Vec<_> = ports
        .iter()
        .map(|binding| RelayedPort {
            datagram: binding.protocol == Protocol::Udp,
            host_ip: binding.host_ip,
            host_port: binding.host_port,
            container_port: binding.container_port,
        })
        .collect();
    shim.relay(&ports, &targets)?;
    inner.network.relayed(shim.id());
    Ok(())
}

/// The same after a change: what was passed on before may be no more.
fn relay(inner: &Inner, container: &str, before: &NetworkRecord) -> Result<()> {
    let shim = inner.runtime.shim(container);
    let published = before.ports.values().any(|bindings| !bindings.is_empty());
    if published && inner.network.relays(container).0.is_empty() {
        shim.relay(&[], &[])?;
        inner.network.relayed(container);
        return Ok(());
    }
    begin_to_relay(inner, &shim)
}
