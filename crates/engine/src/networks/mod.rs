//! The network service: the predefined networks `bridge`, `host` and `none`, and those that users define.

mod addresses;
mod options;
mod registry;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use havre_network::Network;
use havre_oci::Digest;
use havre_store::Operation;
use ipnet::IpNet;
use jiff::Timestamp;

pub(crate) use registry::{Found, KIND, Record, Registry, Ways};

use crate::error::blocking;
use crate::{
    Containers, EndpointConfig, EndpointView, EngineError, ErrorKind, Event, EventType, Filters, Result,
};

/// A network.
#[derive(Debug, Clone)]
pub struct NetworkInfo {
    pub name: String,
    /// 64 hex digits.
    pub id: String,
    pub created: Timestamp,
    /// `bridge`, `host`, `null`, `macvlan`, `ipvlan`
    pub driver: String,
    pub enable_ipv4: bool,
    pub enable_ipv6: bool,
    pub internal: bool,
    pub attachable: bool,
    pub ipam: Ipam,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// By container id: name and endpoint. Filled by `inspect` only.
    pub containers: BTreeMap<String, (String, EndpointView)>,
}

/// How addresses are given.
#[derive(Debug, Clone, Default)]
pub struct Ipam {
    pub driver: String,
    pub options: BTreeMap<String, String>,
    pub pools: Vec<IpamPool>,
}

/// A subnet; what is not said is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IpamPool {
    pub subnet: String,
    pub range: String,
    pub gateway: String,
    /// Names and addresses that no container gets.
    pub auxiliary: BTreeMap<String, String>,
}

/// `network create`
#[derive(Debug, Clone, Default)]
pub struct CreateNetwork {
    pub name: String,
    /// Empty: `bridge`.
    pub driver: String,
    /// Empty: `local`.
    pub scope: String,
    pub internal: bool,
    pub attachable: bool,
    pub ingress: bool,
    pub config_only: bool,
    pub config_from: String,
    pub enable_ipv4: Option<bool>,
    pub enable_ipv6: Option<bool>,
    pub ipam: Ipam,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// The predefined ones.
const NAMES: [&str; 3] = ["bridge", "host", "none"];

/// The id of a predefined network: the same on every machine.
pub(crate) fn id_of(name: &str) -> String {
    static IDS: LazyLock<[String; 3]> = LazyLock::new(|| NAMES.map(hashed));
    match NAMES.iter().position(|known| *known == name) {
        Some(known) => IDS[known].clone(),
        None => hashed(name),
    }
}

fn hashed(name: &str) -> String {
    let text = format!("havre network {name}");
    Digest::sha256_of(text.as_bytes()).hex().to_owned()
}

pub(crate) fn driver_of(name: &str) -> &'static str {
    match name {
        "none" => "null",
        "host" => "host",
        _ => "bridge",
    }
}

/// The network a container's mode names; `container:…` stays as it is.
pub(crate) fn name_of_mode(mode: &str) -> &str {
    match mode {
        "" | "default" => "bridge",
        mode => mode,
    }
}

/// The networks.
#[derive(Clone)]
pub struct Networks(Arc<Inner>);

struct Inner {
    network: Arc<Network>,
    registry: Arc<Registry>,
    containers: Containers,
    created: Timestamp,
}

impl Networks {
    pub(crate) fn new(
        network: Arc<Network>,
        registry: Arc<Registry>,
        containers: Containers,
        created: Timestamp,
    ) -> Self {
        Networks(Arc::new(Inner {
            network,
            registry,
            containers,
            created,
        }))
    }

    /// The new network's id, and warnings.
    pub async fn create(&self, request: CreateNetwork) -> Result<(String, Vec<String>)> {
        check(&request)?;
        let networks = self.clone();
        blocking(move || {
            let created = networks.0.registry.create(request)?;
            Ok((created.record.id, created.warnings))
        })
        .await
    }

    /// dangling driver id label name scope type
    pub async fn list(&self, filters: Filters) -> Result<Vec<NetworkInfo>> {
        filters.only(&[
            "dangling", "driver", "id", "label", "label!", "name", "scope", "type",
        ])?;
        for kind in filters.values("type") {
            if !matches!(kind, "builtin" | "custom") {
                return Err(EngineError::invalid(format!("invalid filter 'type={kind}'")));
            }
        }
        let dangling = filters.boolean("dangling")?;
        let networks = self.clone();
        blocking(move || {
            let mut found = Vec::new();
            let mut consider = |info: NetworkInfo, kind: &str, in_use: bool| {
                let shown = filters.any("name", |part| info.name.contains(part))
                    && filters.any("id", |prefix| info.id.starts_with(prefix))
                    && filters.exact("driver", &info.driver)
                    && filters.exact("scope", "local")
                    && filters.exact("type", kind)
                    && filters.labels(&info.labels)
                    && dangling.is_none_or(|dangling| dangling != in_use);
                if shown {
                    found.push(info);
                }
            };
            for name in NAMES {
                // The predefined ones are never dangling.
                consider(networks.info(name)?, "builtin", true);
            }
            for record in networks.0.registry.all() {
                let in_use = !networks.0.registry.is_idle(&record.id);
                consider(info_of(record), "custom", in_use);
            }
            Ok(found)
        })
        .await
    }

    /// By name, id or unique prefix.
    pub async fn inspect(&self, name: &str) -> Result<NetworkInfo> {
        let (networks, name) = (self.clone(), name.to_owned());
        blocking(move || {
            let found = networks.0.registry.find(&name)?;
            let mut info = match &found {
                Found::Predefined(known) => networks.info(known)?,
                Found::User(record) => info_of((**record).clone()),
            };
            info.containers = networks.0.containers.on_network(found.name());
            Ok(info)
        })
        .await
    }

    /// Predefined networks cannot be removed, nor those that containers are on.
    pub async fn remove(&self, name: &str, operation: Option<Operation>) -> Result<()> {
        let (networks, name) = (self.clone(), name.to_owned());
        blocking(move || match networks.0.registry.find(&name)? {
            Found::Predefined(known) => Err(predefined(known)),
            Found::User(record) => networks.0.registry.remove(&record.id, operation.as_ref()),
        })
        .await
    }

    /// Removes the networks that no container is on, running or not. Filters: until, and those of a list. The names of those
    /// removed.
    pub async fn prune(&self, filters: Filters, operation: Option<Operation>) -> Result<Vec<String>> {
        let networks = self.clone();
        blocking(move || {
            let mut pruned = Vec::new();
            for record in networks.prunable(&filters)? {
                // One that came into use meanwhile stays.
                if networks.0.registry.remove(&record.id, operation.as_ref()).is_ok() {
                    pruned.push(record.name);
                }
            }
            networks
                .0
                .containers
                .events()
                .publish(Event::new(EventType::Network, "prune", "").with("reclaimed", 0));
            Ok(pruned)
        })
        .await
    }

    /// The networks a prune with these filters removes.
    pub(crate) fn prunable(&self, filters: &Filters) -> Result<Vec<Record>> {
        self.prunable_after(filters, &[])
    }

    /// Those once these containers are gone.
    pub(crate) fn prunable_after(&self, filters: &Filters, gone: &[String]) -> Result<Vec<Record>> {
        filters.only(&[
            "dangling", "driver", "id", "label", "label!", "name", "scope", "type", "until",
        ])?;
        let until = filters.values("until").next();
        let until = until.map(crate::containers::point_in_time).transpose()?;
        let dangling = filters.boolean("dangling")?;
        let wanted = self.0.containers.networks_in_use(gone);
        let mut records = self.0.registry.all();
        records.retain(|record| {
            let info = info_of(record.clone());
            filters.labels(&info.labels)
                && filters.any("name", |part| info.name.contains(part))
                && filters.any("id", |prefix| info.id.starts_with(prefix))
                && filters.exact("driver", &info.driver)
                && filters.exact("scope", "local")
                && filters.exact("type", "custom")
                && dangling != Some(false)
                && until.is_none_or(|until| info.created < until)
                && !wanted.contains(&info.name)
        });
        Ok(records)
    }

    /// Id and name of a network that can be removed now.
    pub(crate) fn removable(&self, name: &str) -> Result<(String, String)> {
        match self.0.registry.find(name)? {
            Found::Predefined(known) => Err(predefined(known)),
            Found::User(record) => {
                self.0.registry.check_removal(&record)?;
                Ok((record.id, record.name))
            }
        }
    }

    /// Whether some container, running or not, is on a network.
    pub(crate) fn is_wanted(&self, id: &str) -> bool {
        let wanted = self.0.containers.networks_in_use(&[]);
        let found = self.0.registry.find(id);
        found.is_ok_and(|found| wanted.contains(found.name()))
    }

    /// Puts a container on a network, whether it runs or not.
    pub async fn connect(&self, network: &str, container: &str, config: EndpointConfig) -> Result<()> {
        self.0.containers.connect(network, container, config).await
    }

    /// Takes a container off a network.
    pub async fn disconnect(&self, network: &str, container: &str, force: bool) -> Result<()> {
        self.0.containers.disconnect(network, container, force).await
    }

    fn info(&self, name: &str) -> Result<NetworkInfo> {
        let mut info = NetworkInfo {
            name: name.to_owned(),
            id: id_of(name),
            created: self.0.created,
            driver: driver_of(name).to_owned(),
            enable_ipv4: true,
            enable_ipv6: false,
            internal: false,
            attachable: false,
            ipam: Ipam {
                driver: "default".to_owned(),
                ..Ipam::default()
            },
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            containers: BTreeMap::new(),
        };
        if name == "bridge" {
            let bridge = self.0.network.inspect()?;
            info.enable_ipv6 = bridge.ipv6.is_some();
            let nets = [bridge.ipv4.map(IpNet::V4), bridge.ipv6.map(IpNet::V6)];
            for net in nets.into_iter().flatten() {
                info.ipam.pools.push(IpamPool {
                    subnet: net.trunc().to_string(),
                    gateway: net.addr().to_string(),
                    ..IpamPool::default()
                });
            }
            for (option, value) in [
                ("default_bridge", "true".to_owned()),
                ("enable_icc", "true".to_owned()),
                ("enable_ip_masquerade", "true".to_owned()),
                ("host_binding_ipv4", "0.0.0.0".to_owned()),
                ("name", bridge.interface),
            ] {
                info.options
                    .insert(format!("com.docker.network.bridge.{option}"), value);
            }
            info.options
                .insert("com.docker.network.driver.mtu".to_owned(), bridge.mtu.to_string());
        }
        Ok(info)
    }
}

fn predefined(name: &str) -> EngineError {
    EngineError::new(
        ErrorKind::Forbidden,
        format!("{name} is a pre-defined network and cannot be removed"),
    )
}

fn info_of(record: Record) -> NetworkInfo {
    let pools = [
        record.ipv4.as_ref().map(addresses::Given::shown),
        record.ipv6.as_ref().map(addresses::Given::shown),
    ];
    NetworkInfo {
        name: record.name,
        id: record.id,
        created: record.created,
        driver: record.driver,
        enable_ipv4: record.ipv4.is_some(),
        enable_ipv6: record.ipv6.is_some(),
        internal: record.internal,
        attachable: record.attachable,
        ipam: Ipam {
            driver: "default".to_owned(),
            options: record.ipam_options,
            pools: pools.into_iter().flatten().collect(),
        },
        options: record.options,
        labels: record.labels,
        containers: BTreeMap::new(),
    }
}

/// Refuses what a network cannot be.
fn check(request: &CreateNetwork) -> Result<()> {
    let name = request.name.as_str();
    let fits = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !fits {
        return Err(EngineError::invalid(format!(
            "invalid network name {name:?}: a name begins with a letter or digit; '_', '.' and '-' may follow"
        )));
    }
    match request.driver.as_str() {
        "" | "default" | "bridge" | "macvlan" | "ipvlan" => {}
        "host" => {
            return Err(EngineError::new(
                ErrorKind::Forbidden,
                "only one instance of \"host\" network is allowed",
            ));
        }
        "null" => {
            return Err(EngineError::new(
                ErrorKind::Forbidden,
                "only one instance of \"null\" network is allowed",
            ));
        }
        "overlay" => {
            return Err(EngineError::invalid(
                "driver overlay is not supported: it belongs to swarm; use the driver bridge, macvlan or ipvlan",
            ));
        }
        driver => {
            return Err(EngineError::not_found(format!(
                "could not find plugin {driver} in v1 plugin registry: plugin \"{driver}\" not found: there are bridge, macvlan and \
                 ipvlan"
            )));
        }
    }
    let refused = [
        (
            !matches!(request.scope.as_str(), "" | "local"),
            "a network has the scope local: swarm is not supported",
        ),
        (
            request.ingress,
            "ingress networks belong to swarm, which is not supported",
        ),
        (
            request.config_only || !request.config_from.is_empty(),
            "configuration networks belong to swarm, which is not supported",
        ),
        (
            request.enable_ipv4 == Some(false) && request.enable_ipv6 != Some(true),
            "IPv4 or IPv6 must be enabled: leave --ipv4=false out, or give --ipv6",
        ),
    ];
    match refused.into_iter().find(|(given, _)| *given) {
        Some((_, reason)) => Err(EngineError::invalid(reason)),
        None => Ok(()),
    }
}
