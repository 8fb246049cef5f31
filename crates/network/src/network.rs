//! The engine's network: sandboxes and their endpoints on bridges.

mod bridges;
mod gateway;
mod ground;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use ground::Ground;
use havre_sys::netns;
use havre_sys::userns::Owner;
use ipnet::IpNet;

use crate::bridge::{self, Bridge};
use crate::config::{INTERFACE_NAME_MAX, NetworkConfig};
use crate::endpoint::{
    DEFAULT_NETWORK, Endpoint, EndpointRequest, MacAddress, Place, PortBinding, Sharing, UserNetwork,
};
use crate::error::NetworkError;
use crate::firewall::{self, Element, Firewall};
use crate::netlink::{self, Connection, Veth};
use crate::pool::Addresses;
use crate::ports::{self, Reservation};
use crate::reaper::{Condemned, Job, Left, Reaper, Removed};
use crate::records::{self, Records};

/// Begins the names of a container's interfaces.
const CONTAINER_INTERFACE: &str = "eth";
/// Begins the names of the host's ends of veth pairs.
const HOST_INTERFACE_PREFIX: &str = "hv";

/// One engine's bridges with its sandboxes and endpoints. Cheap to share behind an `Arc`.
///
/// The daemon may die at any moment: namespaces, addresses and firewall rules stay as they are and the next daemon
/// takes them over with [`Network::recover`]. Nothing is removed when a `Network` is dropped.
pub struct Network {
    config: NetworkConfig,
    firewall: Firewall,
    records: Records,
    /// By network. Held while bridges are looked at or made; taken before `rules` and `table`, never after them.
    bridges: Mutex<BTreeMap<String, Bridge>>,
    /// Held while the firewall's table is made anew or gets ports: neither may lose what the other adds.
    rules: Mutex<()>,
    table: Arc<Mutex<Table>>,
    reaper: Reaper,
}

/// Which networks there are, and who is on them.
#[derive(Default)]
struct Table {
    networks: BTreeMap<String, UserNetwork>,
    /// By container, then network.
    held: BTreeMap<String, BTreeMap<String, Held>>,
    /// By network; known once its subnet is.
    addresses: BTreeMap<String, Given>,
    /// Ports on their way out of the firewall: publishing one of them anew has to wait, or it would be withdrawn too.
    withdrawing: Vec<Element>,
}

impl Table {
    fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.held
            .values()
            .flat_map(BTreeMap::values)
            .map(|held| &held.endpoint)
    }

    fn of(&self, container: &str) -> impl Iterator<Item = &Endpoint> {
        let held = self.held.get(container).into_iter().flat_map(BTreeMap::values);
        held.map(|held| &held.endpoint)
    }
}

/// The addresses of a network that are given away.
struct Given {
    ipv4: Option<Addresses>,
    ipv6: Option<Addresses>,
}

impl Given {
    /// Those of an address's family.
    fn of(&mut self, ip: IpAddr) -> Option<&mut Addresses> {
        match ip {
            IpAddr::V4(_) => self.ipv4.as_mut(),
            IpAddr::V6(_) => self.ipv6.as_mut(),
        }
    }

    fn release(&mut self, ip: IpAddr) {
        if let Some(addresses) = self.of(ip) {
            addresses.release(ip);
        }
    }

    /// Takes an address of each family the network has: the one asked for, or the lowest free one.
    fn take(&mut self, request: &EndpointRequest) -> Result<Taken, NetworkError> {
        let one = |addresses: &mut Option<Addresses>, wanted: Option<IpAddr>, family| {
            let Some(addresses) = addresses else {
                return match wanted {
                    None => Ok(None),
                    Some(_) => Err(NetworkError::NoAddresses {
                        network: request.network.clone(),
                        family,
                    }),
                };
            };
            match wanted {
                Some(ip) => addresses.claim(ip).map(|()| Some(ip)),
                None => addresses.allocate().map(Some),
            }
        };
        let ipv6 = one(&mut self.ipv6, request.ip6.map(IpAddr::V6), "IPv6")?;
        match one(&mut self.ipv4, request.ip.map(IpAddr::V4), "IPv4") {
            Ok(ipv4) => Ok(Taken { ipv4, ipv6 }),
            Err(error) => {
                ipv6.into_iter().for_each(|ip| self.release(ip));
                Err(error)
            }
        }
    }
}

/// The addresses an endpoint got.
struct Taken {
    ipv4: Option<IpAddr>,
    ipv6: Option<IpAddr>,
}

struct Held {
    endpoint: Endpoint,
    /// Keeps the host's ports until the endpoint goes.
    reservation: Reservation,
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
        let mut table = Table::default();
        for endpoint in records.endpoints()? {
            let held = table.held.entry(endpoint.container.clone()).or_default();
            let reservation = Reservation::default();
            held.insert(
                endpoint.network.clone(),
                Held {
                    endpoint,
                    reservation,
                },
            );
        }
        let table = Arc::new(Mutex::new(table));
        // Weak: with the network go its ports, whatever the background still has to do.
        let shared = Arc::downgrade(&table);
        let firewall = Firewall::new(config.table.clone());
        let (watched, known, bridge) = (shared.clone(), records.clone(), config.bridge.clone());
        let kept = records.clone();
        let filtered = Cell::new(None);
        let watch = move || {
            let Some(table) = watched.upgrade() else { return };
            let (used, apart) = {
                let table = lock(&table);
                (bridges::in_use(&table, &bridge), bridges::apart(&table))
            };
            bridges::admit_later(&known, &used);
            // Somebody may have changed who it is that keeps them apart.
            let now = Some(bridge::is_filtered());
            if !apart.is_empty() && filtered.replace(now) != now {
                bridges::keep_apart(&apart);
            }
        };
        let removed = move |removed| {
            let Some(shared) = shared.upgrade() else { return };
            let mut table = lock(&shared);
            match removed {
                Removed::Published(elements) => {
                    table.withdrawing.retain(|element| !elements.contains(element))
                }
                Removed::Endpoint(left) => {
                    if let Some(given) = table.addresses.get_mut(&left.network) {
                        left.addresses.iter().for_each(|ip| given.release(*ip));
                    }
                    // The record may be a new one's already.
                    let back = table
                        .of(&left.container)
                        .any(|other| other.network == left.network);
                    if !back && let Err(error) = kept.forget(&left.container, &left.network) {
                        tracing::warn!(%error, container = left.container, "the record of an endpoint that is gone stays");
                    }
                }
            }
        };
        let reaper = Reaper::start(firewall.clone(), removed, watch).map_err(NetworkError::State)?;
        Ok(Self {
            config,
            firewall,
            records,
            bridges: Mutex::default(),
            rules: Mutex::default(),
            table,
            reaper,
        })
    }

    /// Makes a network namespace with only `lo`, which is up, and returns the path that names it. For `--network none`
    /// nothing more is needed; host and `container:` networks need no sandbox at all.
    ///
    /// As in Docker's containers, ports below 1024 and ping need no privilege inside, and interfaces have no IPv6 unless
    /// they are given an address.
    pub fn sandbox_create(&self, container: &str) -> Result<PathBuf, NetworkError> {
        self.sandbox_create_in(container, None)
    }

    /// As [`sandbox_create`](Self::sandbox_create), of a user namespace, whose root is then root of the network, too.
    pub fn sandbox_create_in(
        &self,
        container: &str,
        owner: Option<Owner<'_>>,
    ) -> Result<PathBuf, NetworkError> {
        check_container(container)?;
        let path = self.records.namespace_path(container);
        let failed = |action| {
            let path = path.clone();
            move |source| NetworkError::Namespace { action, path, source }
        };
        // The container's earlier namespace may be on its way out.
        self.reaper.make_room(&path).map_err(failed("replace"))?;
        let furnish = || {
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
        };
        let made = match owner {
            None => netns::create(&path, furnish),
            Some(owner) => netns::create_in(&path, owner, furnish),
        };
        made.map_err(failed("create"))?;
        Ok(path)
    }

    /// Has questions for names that a container sends to `address`, port 53, answered from another `port` of it: port 53
    /// itself stays free for name servers in containers.
    pub fn redirect_names(&self, container: &str, address: Ipv4Addr, port: u16) -> Result<(), NetworkError> {
        let path = self.records.namespace_path(container);
        let redirected = netns::within(&path, || Ok(self.firewall.redirect_names(address, port)));
        redirected.map_err(|source| NetworkError::Namespace {
            action: "enter",
            path,
            source,
        })?
    }

    /// The path of a container's namespace, whether it exists or not.
    pub fn sandbox_path(&self, container: &str) -> PathBuf {
        self.records.namespace_path(container)
    }

    /// Connects a container's sandbox to a network: addresses, routes, published ports. On failure nothing of the
    /// endpoint remains.
    ///
    /// Ports are published when this endpoint gives the container its default route and no other one has ports; those of
    /// another one move to it.
    pub fn connect(&self, request: &EndpointRequest) -> Result<Endpoint, NetworkError> {
        let container = &request.container;
        check_container(container)?;
        let ground = self.ground(&request.network)?;
        let endpoint = match self.allocate(request, &ground) {
            // Perhaps of an interface that is on its way out.
            Err(NetworkError::AddressInUse { .. } | NetworkError::AddressesExhausted { .. }) => {
                self.reaper.flush();
                self.allocate(request, &ground)?
            }
            allocated => allocated?,
        };
        let built = self
            .build(&endpoint, &ground, request)
            .and_then(|()| self.settle_gateway(container));
        match built {
            Ok(()) => Ok(self.endpoint_on(container, &request.network).unwrap_or(endpoint)),
            Err(error) => {
                if let Err(undo) = self.leave(container, &request.network) {
                    tracing::warn!(error = %undo, container, "an endpoint that failed left something");
                }
                Err(error)
            }
        }
    }

    /// Takes a container off all networks. Its ports are free when this returns; rules, interfaces and addresses follow in the
    /// background, and after them the record. Having no endpoint is no error.
    pub fn disconnect(&self, container: &str) {
        let endpoints: Vec<_> = {
            let mut table = lock(&self.table);
            let held = table.held.remove(container).into_iter().flatten();
            let endpoints = held.map(|(_, held)| held.endpoint).collect::<Vec<_>>();
            table.withdrawing.extend(endpoints.iter().flat_map(elements));
            endpoints
        };
        for endpoint in endpoints {
            self.condemn(endpoint);
        }
    }

    /// Takes a running container off one network: its interface is gone when this returns, default route and published
    /// ports go to another network if there is one. Not being on it is no error.
    pub fn leave(&self, container: &str, network: &str) -> Result<(), NetworkError> {
        let (endpoint, reservation) = {
            let mut table = lock(&self.table);
            let held = table.held.get_mut(container);
            let Some(held) = held.and_then(|held| held.remove(network)) else {
                return Ok(());
            };
            if table.held.get(container).is_some_and(BTreeMap::is_empty) {
                table.held.remove(container);
            }
            table.withdrawing.extend(elements(&held.endpoint));
            (held.endpoint, held.reservation)
        };
        let ports = endpoint.ports.clone();
        let delete = |name: &str| Connection::open()?.execute(vec![netlink::delete_link(name)]);
        let gone = match endpoint.host_interface.as_str() {
            "" => netns::within(&self.records.namespace_path(container), || {
                delete(&endpoint.interface)
            }),
            host_interface => delete(host_interface),
        };
        if let Err(error) = gone
            && error.raw_os_error() != Some(rustix::io::Errno::NODEV.raw_os_error())
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, container, "an interface goes later");
        }
        self.condemn(endpoint);
        if !ports.is_empty() {
            self.reaper.settle();
        }
        self.inherit(container, ports, reservation)
    }

    fn condemn(&self, endpoint: Endpoint) {
        self.reaper.send(Job::Endpoint(Condemned {
            published: elements(&endpoint),
            place: Some(Left {
                container: endpoint.container.clone(),
                network: endpoint.network.clone(),
                addresses: endpoint.addresses(),
            }),
            inside: endpoint.host_interface.is_empty().then(|| {
                (
                    self.records.namespace_path(&endpoint.container),
                    endpoint.interface,
                )
            }),
            interface: endpoint.host_interface,
        }));
    }

    /// Lets go of a container's namespace (and disconnects it first, if it still is connected). Having none is no error.
    pub fn sandbox_remove(&self, container: &str) -> Result<(), NetworkError> {
        check_container(container)?;
        self.disconnect(container);
        self.reaper
            .send(Job::Namespace(self.records.namespace_path(container)));
        Ok(())
    }

    /// Takes over from an earlier daemon: endpoints of the `live` containers get their ports, addresses and rules back
    /// without being touched; everything else of this engine (interfaces, namespaces, rules) is removed. Returns the
    /// ids of live containers whose namespace or interface was found gone.
    pub fn recover(&self, live: &[String]) -> Result<Vec<String>, NetworkError> {
        let live: BTreeSet<&str> = live.iter().map(String::as_str).collect();
        let mut failures = Vec::new();
        for container in self.containers() {
            if !live.contains(container.as_str()) {
                self.disconnect(&container);
            }
        }
        for container in noted(self.records.namespaces(), &mut failures) {
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
            });
        // Not knowing what is there is no reason to call everything lost.
        let listed = links.is_ok();
        let links = noted(links, &mut failures);
        let endpoints = self.endpoints();
        let known: BTreeSet<&str> = endpoints
            .iter()
            .map(|endpoint| endpoint.host_interface.as_str())
            .collect();
        failures.extend(self.sweep_bridges(&links).err());
        failures.extend(self.sweep_parents().err());
        let ours: BTreeSet<String> = self.interfaces().into_iter().collect();
        let ours: BTreeSet<u32> = links
            .iter()
            .filter(|link| ours.contains(&link.name))
            .map(|link| link.index)
            .collect();
        let on_ours = |link: &&netlink::Link| link.controller.is_some_and(|index| ours.contains(&index));
        for link in links.iter().filter(on_ours) {
            if link.name.starts_with(HOST_INTERFACE_PREFIX) && !known.contains(link.name.as_str()) {
                self.reaper.send(Job::Endpoint(Condemned {
                    interface: link.name.clone(),
                    ..Condemned::default()
                }));
            }
        }
        for endpoint in &endpoints {
            // What is relayed is somebody else's to keep, who outlived the earlier daemon.
            let mut reservation = Reservation::default();
            reservation.complete(&endpoint.ports, &endpoint.relayed());
            let mut table = lock(&self.table);
            let held = table.held.get_mut(&endpoint.container);
            if let Some(held) = held.and_then(|held| held.get_mut(&endpoint.network)) {
                held.reservation = reservation;
            }
        }
        // With nobody on it a bridge waits for its first endpoint.
        let used: BTreeSet<&str> = endpoints
            .iter()
            .map(|endpoint| endpoint.network.as_str())
            .collect();
        for network in used {
            failures.extend(self.ground(network).err());
        }
        // Made anew for those who are on bridges; else it may still have ports of containers that went with the earlier daemon.
        if endpoints
            .iter()
            .all(|endpoint| endpoint.host_interface.is_empty())
        {
            let _rules = lock(&self.rules);
            if noted(self.firewall.is_installed(), &mut failures) {
                failures.extend(self.firewall.remove().err());
            }
        }
        let gone = |endpoint: &&Endpoint| {
            !netns::is_kept(&self.records.namespace_path(&endpoint.container))
                || listed
                    && !endpoint.host_interface.is_empty()
                    && !links.iter().any(|link| link.name == endpoint.host_interface)
        };
        let lost: BTreeSet<String> = endpoints
            .iter()
            .filter(gone)
            .map(|endpoint| endpoint.container.clone())
            .collect();
        let lost = lost.into_iter().collect();
        gathered(|| "what an earlier daemon left".to_owned(), failures).map(|()| lost)
    }

    /// A container's endpoint on the default bridge.
    pub fn endpoint(&self, container: &str) -> Option<Endpoint> {
        self.endpoint_on(container, DEFAULT_NETWORK)
    }

    /// A container's endpoint on a network.
    pub fn endpoint_on(&self, container: &str, network: &str) -> Option<Endpoint> {
        let table = lock(&self.table);
        table
            .of(container)
            .find(|endpoint| endpoint.network == network)
            .cloned()
    }

    /// Every endpoint of a container.
    pub fn endpoints_of(&self, container: &str) -> Vec<Endpoint> {
        lock(&self.table).of(container).cloned().collect()
    }

    /// The published ports of a container that somebody has to relay, and the addresses they lead to. Their places are
    /// held until [`Network::relayed`] says that somebody listens.
    pub fn relays(&self, container: &str) -> (Vec<PortBinding>, Vec<IpAddr>) {
        let table = lock(&self.table);
        let publishing = table
            .of(container)
            .find(|endpoint| !endpoint.relayed().is_empty() && !endpoint.host_interface.is_empty());
        publishing.map_or_else(Default::default, |endpoint| {
            (endpoint.relayed(), endpoint.addresses())
        })
    }

    /// Somebody listens at all ports of a container that are to be relayed, and at no others.
    pub fn relayed(&self, container: &str) {
        let mut table = lock(&self.table);
        for held in table
            .held
            .get_mut(container)
            .into_iter()
            .flat_map(BTreeMap::values_mut)
        {
            let relayed = held.endpoint.relayed();
            held.reservation.release(&relayed);
            held.reservation.complete(&held.endpoint.ports, &relayed);
        }
    }

    /// Waits until everything handed to the background is gone.
    pub fn flush(&self) {
        self.reaper.flush();
    }

    /// Directory of this network's state.
    pub fn state_dir(&self) -> &Path {
        &self.config.state_dir
    }

    /// Takes addresses and ports, and enters the endpoint.
    fn allocate(&self, request: &EndpointRequest, ground: &Ground) -> Result<Endpoint, NetworkError> {
        let mut table = lock(&self.table);
        let (container, network) = (request.container.clone(), request.network.clone());
        if table.of(&container).any(|endpoint| endpoint.network == network) {
            return Err(NetworkError::EndpointExists { container, network });
        }
        let taken: Vec<_> = table
            .endpoints()
            .flat_map(|endpoint| endpoint.ports.iter().copied())
            .collect();
        let publishes = ground.sharing.is_none()
            && self.publishes(&table, request, ground.families())
            && table.of(&container).all(|endpoint| endpoint.ports.is_empty());
        let wanted = if publishes { &request.ports[..] } else { &[] };
        let (ports, reservation) = ports::reserve(wanted, &taken, |ip| ground.families().relayed(ip))?;
        let interface = self.interface_for(&table, request)?;
        let given = table
            .addresses
            .entry(network.clone())
            .or_insert_with(|| ground.given());
        let taken = given.take(request)?;
        let ipv4 = taken.ipv4.zip(ground.ipv4).and_then(|(ip, net)| match ip {
            IpAddr::V4(ip) => Some(Place {
                ip,
                prefix: net.prefix_len(),
                gateway: net.addr(),
            }),
            IpAddr::V6(_) => None,
        });
        let ipv6 = taken.ipv6.zip(ground.ipv6).and_then(|(ip, net)| match ip {
            IpAddr::V6(ip) => Some(Place {
                ip,
                prefix: net.prefix_len(),
                gateway: net.addr(),
            }),
            IpAddr::V4(_) => None,
        });
        let Some(first) = taken.ipv4.or(taken.ipv6) else {
            return Err(NetworkError::NoSubnet { network });
        };
        let id = random_id();
        let endpoint = Endpoint {
            host_interface: match ground.sharing {
                None => format!("{HOST_INTERFACE_PREFIX}{}", &id[..10]),
                Some(_) => String::new(),
            },
            id,
            network: network.clone(),
            container: container.clone(),
            ipv4,
            ipv6,
            mac: request.mac.unwrap_or_else(|| MacAddress::from_ip(first)),
            interface,
            priority: request.priority,
            ports,
        };
        let held = Held {
            endpoint: endpoint.clone(),
            reservation,
        };
        table.held.entry(container).or_default().insert(network, held);
        Ok(endpoint)
    }

    /// The name of a new interface in a container.
    fn interface_for(&self, table: &Table, request: &EndpointRequest) -> Result<String, NetworkError> {
        let container = &request.container;
        let is_free = |name: &str| table.of(container).all(|endpoint| endpoint.interface != name);
        if let Some(name) = &request.interface {
            return match (is_interface_name(name), is_free(name) && name != "lo") {
                (false, _) => Err(NetworkError::InvalidInterfaceName { name: name.clone() }),
                (true, false) => Err(NetworkError::InterfaceTaken {
                    container: container.clone(),
                    name: name.clone(),
                }),
                (true, true) => Ok(name.clone()),
            };
        }
        let known = table.networks.get(&request.network);
        let prefix = known.map_or(CONTAINER_INTERFACE, |network| network.prefix.as_str());
        let mut names = (0..).map(|number| format!("{prefix}{number}"));
        Ok(names.find(|name| is_free(name)).unwrap_or_default())
    }

    /// Makes in the kernel what was entered.
    fn build(
        &self,
        endpoint: &Endpoint,
        ground: &Ground,
        request: &EndpointRequest,
    ) -> Result<(), NetworkError> {
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

        let mut requests = Vec::new();
        match ground.sharing {
            Some(sharing) => requests.push(netlink::add_shared(
                ground.index,
                sharing,
                namespace.as_fd(),
                &endpoint.interface,
                // Those who share a hardware address have none to be set.
                matches!(sharing, Sharing::Macvlan(_)).then_some(endpoint.mac),
                ground.mtu,
            )),
            None => {
                requests.push(netlink::add_veth(&Veth {
                    host_name: &endpoint.host_interface,
                    bridge: ground.index,
                    namespace: namespace.as_fd(),
                    container_name: &endpoint.interface,
                    mac: endpoint.mac,
                    mtu: ground.mtu.unwrap_or(u32::from(u16::MAX)),
                }));
                if !endpoint.ports.is_empty() {
                    requests.push(netlink::set_hairpin(&endpoint.host_interface));
                }
                if !self.has_neighbours(&endpoint.network) {
                    let isolated = !bridge::is_filtered();
                    requests.push(netlink::set_isolated(&endpoint.host_interface, isolated));
                }
            }
        }
        let routes =
            lock(&self.table).of(&endpoint.container).count() == 1 && !self.is_internal(&endpoint.network);
        Connection::open()
            .and_then(|mut host| host.execute(requests))
            .map_err(failed("create"))?;

        let ipv4 = endpoint.ipv4.map(|place| (IpAddr::V4(place.ip), place.prefix));
        let ipv6 = endpoint.ipv6.map(|place| (IpAddr::V6(place.ip), place.prefix));
        let link_local = request.link_local.iter();
        let link_local = link_local.map(|ip| (*ip, if ip.is_ipv4() { 16 } else { 64 }));
        let addresses = ipv4.into_iter().chain(ipv6).chain(link_local);
        let addresses: Result<Vec<_>, _> = addresses.map(|(ip, prefix)| IpNet::new(ip, prefix)).collect();
        let addresses = addresses.map_err(|_| NetworkError::NoSubnet {
            network: endpoint.network.clone(),
        })?;
        let hops = if routes { self.hops(endpoint) } else { Vec::new() };
        let name = endpoint.interface.as_str();
        let host_side = ground.sharing.is_none();
        netns::within(&path, || {
            let index = netlink::link_index(name)?.ok_or(std::io::ErrorKind::NotFound)?;
            if addresses.iter().any(|address| matches!(address, IpNet::V6(_))) {
                // Routers are those of the network, nobody in it says others; and nobody else has an address of it.
                let own: &[_] = match host_side {
                    true => &["accept_ra", "accept_dad", "disable_ipv6"],
                    false => &["disable_ipv6"],
                };
                for setting in own {
                    fs::write(format!("/proc/sys/net/ipv6/conf/{name}/{setting}"), "0")?;
                }
            }
            for (setting, value) in &request.settings {
                fs::write(
                    format!("/proc/sys/net/{}", setting.replace("IFNAME", name)),
                    value,
                )?;
            }
            let mut inside = Connection::open()?;
            let mut requests = vec![netlink::set_up(index)];
            requests.extend(
                addresses
                    .iter()
                    .map(|address| netlink::add_address(index, *address)),
            );
            // Among several networks it is settled when all is there.
            requests.extend(hops.iter().map(|hop| netlink::set_default_route(index, *hop)));
            inside.execute(requests)?;
            match host_side {
                true => inside.await_operation(&[name]),
                // A parent without a carrier is nobody's fault.
                false => Ok(()),
            }
        })
        .map_err(failed("configure"))?;
        if !host_side {
            return Ok(());
        }
        self.publish(&elements(endpoint))?;
        let bridge = self.interface_of(&endpoint.network);
        Connection::open()
            .and_then(|mut host| host.await_operation(&[&bridge, &endpoint.host_interface]))
            .map_err(failed("wait for"))
    }

    fn publish(&self, published: &[Element]) -> Result<(), NetworkError> {
        if published.is_empty() {
            return Ok(());
        }
        let waiting = |element: &Element| published.iter().any(|one| one.is_at(element));
        if lock(&self.table).withdrawing.iter().any(waiting) {
            self.reaper.settle();
        }
        let _rules = lock(&self.rules);
        self.firewall.publish(published)
    }

    fn containers(&self) -> Vec<String> {
        lock(&self.table).held.keys().cloned().collect()
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        lock(&self.table).endpoints().cloned().collect()
    }

    fn published(&self) -> Vec<Element> {
        self.endpoints().iter().flat_map(elements).collect()
    }
}

/// What the firewall passes on to an endpoint.
fn elements(endpoint: &Endpoint) -> Vec<Element> {
    if endpoint.host_interface.is_empty() {
        return Vec::new();
    }
    let ports = endpoint.ports.iter();
    ports
        .filter_map(|binding| {
            Some(Element {
                binding: *binding,
                container: endpoint.target(binding)?,
            })
        })
        .collect()
}

/// What an outcome has, or nothing and its failure among the others.
fn noted<T: Default>(outcome: Result<T, NetworkError>, failures: &mut Vec<NetworkError>) -> T {
    outcome.unwrap_or_else(|failure| {
        failures.push(failure);
        T::default()
    })
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
