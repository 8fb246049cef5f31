//! The engine's network: sandboxes and endpoints on the default bridge.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use havre_sys::netns;
use ipnet::Ipv4Net;

use crate::bridge::{self, Bridge};
use crate::config::{INTERFACE_NAME_MAX, NetworkConfig};
use crate::endpoint::{BridgeInfo, Endpoint, EndpointRequest, MacAddress};
use crate::error::NetworkError;
use crate::firewall::{self, Element, Firewall, Foreign};
use crate::netlink::{self, Connection, Veth};
use crate::pool::Addresses;
use crate::ports::{self, Reservation};
use crate::reaper::{Condemned, Job, Reaper, Removed};
use crate::records::{self, Records};

/// Name of a container's interface on the bridge.
const CONTAINER_INTERFACE: &str = "eth0";
/// Begins the names of the host's ends of veth pairs.
const HOST_INTERFACE_PREFIX: &str = "hv";

/// One engine's default bridge with its sandboxes and endpoints. Cheap to share behind an `Arc`.
///
/// The daemon may die at any moment: namespaces, addresses and firewall rules stay as they are and the next daemon
/// takes them over with [`Network::recover`]. Nothing is removed when a `Network` is dropped.
pub struct Network {
    config: NetworkConfig,
    firewall: Firewall,
    records: Records,
    /// Held while the bridge is looked at or made; taken before `table`, never after it.
    bridge: Mutex<Option<Bridge>>,
    table: Arc<Mutex<Table>>,
    reaper: Reaper,
}

/// Who is on the bridge.
#[derive(Default)]
struct Table {
    held: BTreeMap<String, Held>,
    /// Known once the bridge's subnet is.
    addresses: Option<Addresses>,
    /// Ports on their way out of the firewall: publishing one of them anew has to wait, or it would be withdrawn too.
    withdrawing: Vec<Element>,
}

struct Held {
    endpoint: Endpoint,
    /// Keeps the host's ports until the endpoint goes.
    _reservation: Reservation,
}

impl Network {
    /// Reads the state of an earlier daemon. Touches neither interfaces nor firewall: the bridge appears with the first
    /// endpoint, or with [`Network::ensure_bridge`].
    pub fn open(config: NetworkConfig) -> Result<Self, NetworkError> {
        if !is_interface_name(&config.bridge) {
            return Err(NetworkError::InvalidInterfaceName { name: config.bridge });
        }
        if !firewall::is_table_name(&config.table) {
            return Err(NetworkError::InvalidTableName { name: config.table });
        }
        let records = Records::open(&config.state_dir)?;
        let endpoints = records.endpoints()?;
        let held = endpoints.into_iter().map(|endpoint| {
            (
                endpoint.container.clone(),
                Held {
                    endpoint,
                    _reservation: Reservation::default(),
                },
            )
        });
        let table = Arc::new(Mutex::new(Table {
            held: held.collect(),
            ..Table::default()
        }));
        // Weak: with the network go its ports, whatever the background still has to do.
        let shared = Arc::downgrade(&table);
        let firewall = Firewall::new(config.table.clone(), config.bridge.clone());
        let reaper = Reaper::start(firewall.clone(), move |removed| {
            let Some(shared) = shared.upgrade() else { return };
            let mut table = lock(&shared);
            match removed {
                Removed::Published(elements) => {
                    table.withdrawing.retain(|element| !elements.contains(element))
                }
                Removed::Address(address) => {
                    if let Some(addresses) = &mut table.addresses {
                        addresses.release(address);
                    }
                }
            }
        })
        .map_err(NetworkError::State)?;
        Ok(Self {
            config,
            firewall,
            records,
            bridge: Mutex::new(None),
            table,
            reaper,
        })
    }

    /// Makes the bridge, its address, its firewall table, and turns forwarding on. Idempotent and cheap when all is there;
    /// what somebody else removed meanwhile is made again.
    pub fn ensure_bridge(&self) -> Result<(), NetworkError> {
        self.bridge().map(|_| ())
    }

    /// Makes a network namespace with only `lo`, which is up, and returns the path that names it. For `--network none`
    /// nothing more is needed; host and `container:` networks need no sandbox at all.
    ///
    /// As in Docker's containers, ports below 1024 and ping need no privilege inside, and interfaces have no IPv6 unless
    /// they are given an address.
    pub fn sandbox_create(&self, container: &str) -> Result<PathBuf, NetworkError> {
        check_container(container)?;
        let path = self.records.namespace_path(container);
        let failed = |action| {
            let path = path.clone();
            move |source| NetworkError::Namespace { action, path, source }
        };
        if path.exists() {
            // The container's earlier namespace, on its way out.
            self.reaper.flush();
            netns::remove(&path).map_err(failed("replace"))?;
        }
        netns::create(&path, || {
            for (setting, value) in [
                ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
                ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
                ("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"),
            ] {
                match fs::write(setting, value) {
                    // A kernel without IPv6, or without this setting, has nothing to set.
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Connection::open()?.execute(vec![netlink::set_up(1)])
        })
        .map_err(failed("create"))?;
        Ok(path)
    }

    /// The path of a container's namespace, whether it exists or not.
    pub fn sandbox_path(&self, container: &str) -> PathBuf {
        self.records.namespace_path(container)
    }

    /// Connects a container's sandbox to the default bridge: addresses, routes, published ports. On failure nothing
    /// of the endpoint remains.
    pub fn connect(&self, request: &EndpointRequest) -> Result<Endpoint, NetworkError> {
        check_container(&request.container)?;
        let bridge = self.bridge()?;
        let endpoint = self.allocate(request, &bridge)?;
        match self.build(&endpoint, &bridge) {
            Ok(()) => Ok(endpoint),
            Err(error) => {
                if let Err(undo) = self.disconnect(&request.container) {
                    tracing::warn!(error = %undo, container = request.container, "an endpoint that failed left something");
                }
                Err(error)
            }
        }
    }

    /// Takes a container off the bridge. Its ports are free when this returns; interface and address follow in the
    /// background. Having no endpoint is no error.
    pub fn disconnect(&self, container: &str) -> Result<(), NetworkError> {
        let endpoint = {
            let mut table = lock(&self.table);
            let Some(held) = table.held.remove(container) else {
                return Ok(());
            };
            table.withdrawing.extend(elements(&held.endpoint));
            held.endpoint
        };
        let forgotten = self.records.forget(container);
        self.reaper.send(Job::Endpoint(Condemned {
            published: elements(&endpoint),
            interface: endpoint.host_interface,
            address: Some(endpoint.ip),
        }));
        forgotten
    }

    /// Lets go of a container's namespace (and disconnects it first, if it still is connected). Having none is no error.
    pub fn sandbox_remove(&self, container: &str) -> Result<(), NetworkError> {
        check_container(container)?;
        let disconnected = self.disconnect(container);
        self.reaper
            .send(Job::Namespace(self.records.namespace_path(container)));
        disconnected
    }

    /// Takes over from an earlier daemon: endpoints of the `live` containers get their ports, addresses and rules back
    /// without being touched; everything else of this engine (interfaces, namespaces, rules) is removed. Returns the
    /// ids of live containers whose namespace or interface was found gone.
    pub fn recover(&self, live: &[String]) -> Result<Vec<String>, NetworkError> {
        let live: BTreeSet<&str> = live.iter().map(String::as_str).collect();
        let mut failures = Vec::new();
        for container in self.containers() {
            if !live.contains(container.as_str()) {
                failures.extend(self.disconnect(&container).err());
            }
        }
        for container in self.records.namespaces()? {
            if !live.contains(container.as_str()) {
                self.reaper
                    .send(Job::Namespace(self.records.namespace_path(&container)));
            }
        }

        let links = Connection::open()
            .and_then(|mut host| host.links())
            .map_err(|source| NetworkError::Netlink {
                action: "list",
                object: "network interfaces".to_owned(),
                source,
            })?;
        let endpoints = self.endpoints();
        let known: BTreeSet<&str> = endpoints
            .iter()
            .map(|endpoint| endpoint.host_interface.as_str())
            .collect();
        if let Some(bridge) = links.iter().find(|link| link.name == self.config.bridge) {
            for link in links.iter().filter(|link| link.controller == Some(bridge.index)) {
                if link.name.starts_with(HOST_INTERFACE_PREFIX) && !known.contains(link.name.as_str()) {
                    self.reaper.send(Job::Endpoint(Condemned {
                        interface: link.name.clone(),
                        ..Condemned::default()
                    }));
                }
            }
        }
        for endpoint in &endpoints {
            let reservation = ports::reserve_again(&endpoint.ports);
            if let Some(held) = lock(&self.table).held.get_mut(&endpoint.container) {
                held._reservation = reservation;
            }
        }
        // Nobody on it: the bridge waits for its first endpoint.
        if !endpoints.is_empty() {
            failures.extend(self.ensure_bridge().err());
        }
        let gone = |endpoint: &&Endpoint| {
            !netns::is_kept(&self.records.namespace_path(&endpoint.container))
                || !links.iter().any(|link| link.name == endpoint.host_interface)
        };
        let lost = endpoints
            .iter()
            .filter(gone)
            .map(|endpoint| endpoint.container.clone())
            .collect();
        gathered(|| "what an earlier daemon left".to_owned(), failures).map(|()| lost)
    }

    /// A container's endpoint.
    pub fn endpoint(&self, container: &str) -> Option<Endpoint> {
        lock(&self.table)
            .held
            .get(container)
            .map(|held| held.endpoint.clone())
    }

    /// The default bridge and who is on it. Makes the bridge when it isn't there yet.
    pub fn inspect(&self) -> Result<BridgeInfo, NetworkError> {
        let bridge = self.bridge()?;
        Ok(BridgeInfo {
            interface: self.config.bridge.clone(),
            subnet: bridge.subnet,
            gateway: bridge.gateway,
            mtu: bridge.mtu,
            endpoints: self.endpoints(),
        })
    }

    /// Waits until everything handed to the background is gone.
    pub fn flush(&self) {
        self.reaper.flush();
    }

    /// Removes every endpoint, sandbox, the firewall table and the bridge: the machine is as before, but for
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
        let mut known = lock(&self.bridge);
        failures.extend(self.firewall.remove().err());
        Foreign {
            bridge: &self.config.bridge,
        }
        .withdraw();
        failures.extend(bridge::remove(&self.config.bridge).err());
        failures.extend(self.records.forget_subnet().err());
        *known = None;
        lock(&self.table).addresses = None;
        gathered(|| format!("network {}", self.config.bridge), failures)
    }

    /// Directory of this network's state.
    pub fn state_dir(&self) -> &Path {
        &self.config.state_dir
    }

    /// The bridge, made if need be, with its table in the firewall.
    fn bridge(&self) -> Result<Bridge, NetworkError> {
        let mut known = lock(&self.bridge);
        if let Some(bridge) = *known
            && netlink::link_index(&self.config.bridge).ok().flatten() == Some(bridge.index)
        {
            if !self.firewall.is_installed()? {
                tracing::warn!(
                    table = self.config.table,
                    "the firewall table was gone and is made again"
                );
                self.firewall.install(bridge.subnet, &self.published())?;
            }
            return Ok(bridge);
        }

        let remembered = known
            .map(|bridge| bridge.subnet)
            .or_else(|| self.records.subnet());
        let bridge = bridge::ensure(&self.config, remembered)?;
        let ready = self.take_in(&bridge);
        if let Err(error) = ready {
            if bridge.fresh {
                let _ = bridge::remove(&self.config.bridge);
            }
            return Err(error);
        }
        *known = Some(bridge);
        Ok(bridge)
    }

    /// Everything around a bridge that was just found or made.
    fn take_in(&self, bridge: &Bridge) -> Result<(), NetworkError> {
        self.firewall.install(bridge.subnet, &self.published())?;
        Foreign {
            bridge: &self.config.bridge,
        }
        .admit();
        self.records.set_subnet(bridge.subnet)?;

        let mut table = lock(&self.table);
        let mut addresses = Addresses::new(bridge.subnet, bridge.gateway);
        let mut ports = Vec::new();
        for held in table.held.values() {
            let endpoint = &held.endpoint;
            if let Err(error) = addresses.claim(endpoint.ip) {
                tracing::warn!(%error, container = endpoint.container, "an endpoint's address does not fit the bridge");
            }
            ports.push(netlink::set_controller(&endpoint.host_interface, bridge.index));
        }
        if table.addresses.as_ref().map(Addresses::subnet) != Some(bridge.subnet) {
            table.addresses = Some(addresses);
        }
        drop(table);
        if bridge.fresh && !ports.is_empty() {
            // The bridge was deleted under its containers. Interfaces that are gone as well are no loss here.
            if let Err(error) = Connection::open().and_then(|mut host| host.execute(ports)) {
                tracing::warn!(%error, bridge = self.config.bridge, "not every container is back on the bridge");
            }
        }
        Ok(())
    }

    /// Takes an address and ports, and enters the endpoint.
    fn allocate(&self, request: &EndpointRequest, bridge: &Bridge) -> Result<Endpoint, NetworkError> {
        let mut table = lock(&self.table);
        let container = request.container.clone();
        if table.held.contains_key(&container) {
            return Err(NetworkError::EndpointExists { container });
        }
        let taken: Vec<_> = table
            .held
            .values()
            .flat_map(|held| held.endpoint.ports.iter().copied())
            .collect();
        let (ports, reservation) = ports::reserve(&request.ports, &taken)?;
        let addresses = table
            .addresses
            .get_or_insert_with(|| Addresses::new(bridge.subnet, bridge.gateway));
        let ip = match request.ip {
            Some(ip) => addresses.claim(ip).map(|()| ip)?,
            None => addresses.allocate()?,
        };
        let id = random_id();
        let endpoint = Endpoint {
            host_interface: format!("{HOST_INTERFACE_PREFIX}{}", &id[..10]),
            id,
            container: container.clone(),
            ip,
            prefix: bridge.subnet.prefix_len(),
            gateway: bridge.gateway,
            mac: request.mac.unwrap_or_else(|| MacAddress::from_ip(ip)),
            ports,
        };
        table.held.insert(
            container,
            Held {
                endpoint: endpoint.clone(),
                _reservation: reservation,
            },
        );
        Ok(endpoint)
    }

    /// Makes in the kernel what was entered.
    fn build(&self, endpoint: &Endpoint, bridge: &Bridge) -> Result<(), NetworkError> {
        let path = self.records.namespace_path(&endpoint.container);
        let failed = |action| {
            move |source| NetworkError::Netlink {
                action,
                object: format!("the interface of container {}", endpoint.container),
                source,
            }
        };
        let namespace = fs::File::open(&path).map_err(|source| NetworkError::Namespace {
            action: "open",
            path: path.clone(),
            source,
        })?;
        self.records.save(endpoint)?;

        let mut requests = vec![netlink::add_veth(&Veth {
            host_name: &endpoint.host_interface,
            bridge: bridge.index,
            namespace: namespace.as_fd(),
            container_name: CONTAINER_INTERFACE,
            mac: endpoint.mac,
            mtu: bridge.mtu,
        })];
        if !endpoint.ports.is_empty() {
            requests.push(netlink::set_hairpin(&endpoint.host_interface));
        }
        Connection::open()
            .and_then(|mut host| host.execute(requests))
            .map_err(failed("create"))?;

        let address =
            Ipv4Net::new(endpoint.ip, endpoint.prefix).map_err(|_| NetworkError::AddressOutside {
                ip: endpoint.ip,
                subnet: bridge.subnet,
            })?;
        netns::within(&path, || {
            let index = netlink::link_index(CONTAINER_INTERFACE)?.ok_or(std::io::ErrorKind::NotFound)?;
            let mut inside = Connection::open()?;
            inside.execute(vec![
                netlink::set_up(index),
                netlink::add_address(index, address),
                netlink::add_default_route(index, endpoint.gateway),
            ])?;
            inside.await_operation(&[CONTAINER_INTERFACE])
        })
        .map_err(failed("configure"))?;
        let published = elements(endpoint);
        let waiting = |element: &Element| published.iter().any(|one| one.is_at(element));
        if lock(&self.table).withdrawing.iter().any(waiting) {
            self.reaper.settle();
        }
        self.firewall.publish(&published)?;
        Connection::open()
            .and_then(|mut host| host.await_operation(&[&self.config.bridge, &endpoint.host_interface]))
            .map_err(failed("wait for"))
    }

    fn containers(&self) -> Vec<String> {
        lock(&self.table).held.keys().cloned().collect()
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        lock(&self.table)
            .held
            .values()
            .map(|held| held.endpoint.clone())
            .collect()
    }

    fn published(&self) -> Vec<Element> {
        self.endpoints().iter().flat_map(elements).collect()
    }
}

fn elements(endpoint: &Endpoint) -> Vec<Element> {
    endpoint
        .ports
        .iter()
        .map(|binding| Element {
            binding: *binding,
            container: endpoint.ip,
        })
        .collect()
}

fn gathered(object: impl FnOnce() -> String, failures: Vec<NetworkError>) -> Result<(), NetworkError> {
    if failures.is_empty() {
        Ok(())
    } else {
        Err(NetworkError::Teardown {
            object: object(),
            failures,
        })
    }
}

fn check_container(id: &str) -> Result<(), NetworkError> {
    if records::is_container_id(id) {
        Ok(())
    } else {
        Err(NetworkError::InvalidContainer { id: id.to_owned() })
    }
}

fn is_interface_name(name: &str) -> bool {
    (1..=INTERFACE_NAME_MAX).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && name != "."
        && name != ".."
}

fn random_id() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A panic of another thread leaves these tables whole: every change to them is a single insert or remove.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_rule_or_a_path_are_refused() {
        let dir = tempfile::tempdir().expect("directory");
        for bridge in ["", "a-name-of-sixteen", "a b", "x\"", "..", "a/b"] {
            let config = NetworkConfig {
                bridge: bridge.to_owned(),
                ..NetworkConfig::new(dir.path())
            };
            assert!(
                matches!(
                    Network::open(config),
                    Err(NetworkError::InvalidInterfaceName { .. })
                ),
                "{bridge:?}"
            );
        }
        let config = NetworkConfig {
            table: "x; flush ruleset".to_owned(),
            ..NetworkConfig::new(dir.path())
        };
        assert!(matches!(
            Network::open(config),
            Err(NetworkError::InvalidTableName { .. })
        ));
        let network = Network::open(NetworkConfig::new(dir.path())).expect("open");
        assert!(matches!(
            network.sandbox_create("../escape"),
            Err(NetworkError::InvalidContainer { .. })
        ));
    }
}
