//! The composition root.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fs_err as fs;
use havre_build::Builder;
use havre_image::ImageService;
use havre_network::{Network, NetworkConfig};
use havre_registry_client::{Client, ClientOptions, Hosts};
use havre_runtime::{Runtime, RuntimeConfig};
use havre_store::Store;
use jiff::Timestamp;

use crate::builds::{Builds, RunExecutor};
use crate::containers::{self, LogConfig};
use crate::error::blocking;
use crate::remap::Remap;
use crate::{
    ConfigFile, Containers, EngineError, Events, Images, Networks, Plans, Result, System, Undo, Volumes,
    system,
};

/// Where and how an engine runs.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Persistent data, such as `/var/lib/havre`.
    pub root: PathBuf,
    /// Sockets, namespaces and process state, such as `/run/havre`; gone after a reboot.
    pub state: PathBuf,
    /// The havre binary, re-executed as the shim; `None`: this process's own.
    pub shim_exe: Option<PathBuf>,
    pub config: ConfigFile,
}

/// A running engine; clones share it.
#[derive(Clone)]
pub struct Engine(Arc<Services>);

struct Services {
    store: Arc<Store>,
    network: Arc<Network>,
    containers: Containers,
    volumes: Volumes,
    networks: Networks,
    images: Images,
    builds: Builds,
    events: Events,
    system: System,
    undo: Undo,
    plans: Plans,
}

/// An engine that serves no more, but may still be cleaning up: removing a container unmounts its file system, for which the
/// kernel writes out what the whole disk has pending.
#[must_use = "layers stay mounted until it is finished"]
pub struct Ending {
    store: Arc<Store>,
    network: Arc<Network>,
}

impl Ending {
    /// Closes store and network as soon as nothing uses them any more, waiting at most `patience`; whether they were closed.
    /// Blocks: call it when the async runtime has ended, since its tasks use the store too.
    ///
    /// A store that isn't closed leaves its layers mounted, for the next engine or whoever still works on them.
    pub fn finish(self, patience: Duration) -> bool {
        let Self { mut store, network } = self;
        let until = Instant::now() + patience;
        network.flush();
        if let Err(error) = network.rest() {
            tracing::warn!(%error, "exceptions stay in somebody else's firewall");
        }
        loop {
            store = match Arc::try_unwrap(store) {
                Ok(store) => {
                    drop(store);
                    network.flush();
                    return true;
                }
                Err(shared) => shared,
            };
            if Instant::now() >= until {
                tracing::warn!("something is still at work on the store; its layers stay mounted");
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Engine {
    /// Opens the root, recovers what an earlier engine left, and serves.
    pub async fn start(options: EngineOptions) -> Result<Engine> {
        let handle = tokio::runtime::Handle::current();
        blocking(move || compose(options, handle)).await
    }

    /// Makes everything durable. Containers go on; the next engine takes them over. What is left to do is the value's.
    pub async fn shutdown(self) -> Ending {
        let store = self.0.store.clone();
        let ending = Ending {
            store: store.clone(),
            network: self.0.network.clone(),
        };
        drop(self);
        let synced = blocking(move || Ok(store.sync()?)).await;
        if let Err(error) = synced {
            tracing::warn!(%error, "cannot sync the store");
        }
        ending
    }

    pub fn containers(&self) -> &Containers {
        &self.0.containers
    }

    pub fn volumes(&self) -> &Volumes {
        &self.0.volumes
    }

    pub fn networks(&self) -> &Networks {
        &self.0.networks
    }

    pub fn events(&self) -> &Events {
        &self.0.events
    }

    pub fn images(&self) -> &Images {
        &self.0.images
    }

    pub fn builds(&self) -> &Builds {
        &self.0.builds
    }

    pub fn undo(&self) -> &Undo {
        &self.0.undo
    }

    pub fn plans(&self) -> &Plans {
        &self.0.plans
    }

    pub fn system(&self) -> &System {
        &self.0.system
    }
}

fn compose(options: EngineOptions, handle: tokio::runtime::Handle) -> Result<Engine> {
    let EngineOptions {
        root,
        state,
        shim_exe,
        config,
    } = options;
    let remap = match config.userns_remap.as_str() {
        "" => None,
        setting => Some(Remap::open(setting, std::path::Path::new("/etc"))?),
    };
    let store = Arc::new(Store::open_with(&root, &config.storage.store_options()?)?);
    if let Some(remap) = &remap {
        remap.probe(&store)?;
    }
    let scratch = root.join("build");
    if scratch.exists() {
        store.discard(&scratch)?;
    }
    fs::create_dir_all(&scratch)?;
    let runtime = Arc::new(Runtime::new(RuntimeConfig {
        shim_program: shim_exe,
        shim_args: vec!["shim".to_owned()],
        state_dir: state.join("containers"),
        cgroup_parent: config.cgroup_parent.clone().unwrap_or_else(|| "havre".to_owned()),
    })?);
    let (id, created) = identity(&store)?;
    let network_config = network_config(&state, &config, &id)?;
    let address_pools = network_config
        .pools
        .iter()
        .map(|pool| (pool.to_string(), pool.prefix_len()))
        .collect();
    let network = Arc::new(Network::open(network_config)?);
    let events = Events::new();
    let registry = Arc::new(crate::networks::Registry::open(
        store.clone(),
        network.clone(),
        events.clone(),
    )?);
    let hosts =
        Hosts::new(config.registries.clone()).map_err(|error| EngineError::invalid(error.to_string()))?;
    let mut options = ClientOptions::default();
    if config.certs_dir.is_some() {
        options.certs_dir.clone_from(&config.certs_dir);
    }
    let client = Client::new(hosts, options)?;
    let mut options = havre_image::Options {
        keep: config.storage.keep()?,
        packing: config.storage.packing()?,
        ..havre_image::Options::default()
    };
    let limits = &mut options.limits;
    limits.downloads = config.max_concurrent_downloads.unwrap_or(limits.downloads);
    limits.uploads = config.max_concurrent_uploads.unwrap_or(limits.uploads);
    let images = ImageService::with_options(store.clone(), client, options);
    let volumes = Volumes::open(store.clone(), events.clone())?;

    let log_driver = if config.log_driver.is_empty() {
        "json-file".to_owned()
    } else {
        config.log_driver.clone()
    };
    let containers = Containers::new(containers::Inner {
        store: store.clone(),
        runtime: runtime.clone(),
        network: network.clone(),
        networks: registry.clone(),
        images: images.clone(),
        volumes: volumes.clone(),
        events: events.clone(),
        table: Default::default(),
        execs: Default::default(),
        lingering: Default::default(),
        settings: containers::Settings {
            log: LogConfig {
                driver: log_driver.clone(),
                options: config.log_options.clone(),
            },
            cgroup_v2: system::is_cgroup_v2(),
            runtimes: config.runtimes.clone(),
        },
        remap,
        handle: handle.clone(),
    });
    containers.recover()?;

    let executor = RunExecutor::new(
        store.clone(),
        runtime,
        network.clone(),
        registry.clone(),
        containers.clone(),
    );
    let builder = Builder::new(store.clone(), Arc::new(images.clone()), Arc::new(executor));
    let builds = Builds::new(builder, store.clone(), events.clone(), scratch, handle);
    let undo = Undo::new(crate::undo::Inner {
        store: store.clone(),
        containers: containers.clone(),
        volumes: volumes.clone(),
        networks: registry.clone(),
        window: config.undo.window()?,
        quota: config.undo.quota()?,
        images: config.undo.images,
        events: events.clone(),
        busy: Default::default(),
        news: Default::default(),
    })?;
    let system = System::new(system::Inner {
        undo: undo.clone(),
        store: store.clone(),
        containers: containers.clone(),
        volumes: volumes.clone(),
        events: events.clone(),
        config,
        id,
        address_pools,
        log_driver,
    });
    let images = Images::new(images, containers.clone(), events.clone());
    let networks = Networks::new(network.clone(), registry, containers.clone(), created);
    let plans = Plans {
        store: store.clone(),
        containers: containers.clone(),
        volumes: volumes.clone(),
        networks: networks.clone(),
        images: images.clone(),
    };
    Ok(Engine(Arc::new(Services {
        images,
        networks,
        undo,
        plans,
        store,
        network,
        containers,
        volumes,
        builds,
        events,
        system,
    })))
}

/// `id`: the engine's, which its private IPv6 subnets begin with.
fn network_config(state: &std::path::Path, config: &ConfigFile, id: &str) -> Result<NetworkConfig> {
    let mut network = NetworkConfig::new(state.join("network"));
    if let Some(bridge) = &config.network.bridge {
        network.bridge.clone_from(bridge);
    }
    if let Some(table) = &config.network.table {
        network.table.clone_from(table);
    }
    let pools: Result<Vec<ipnet::IpNet>, _> = config.network.pools.iter().map(|pool| pool.parse()).collect();
    let pools =
        pools.map_err(|_| EngineError::invalid("network.pools: expected subnets such as 172.17.0.0/16"))?;
    let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
    for pool in pools {
        match pool {
            ipnet::IpNet::V4(pool) => ipv4.push(pool),
            ipnet::IpNet::V6(pool) => ipv6.push(pool),
        }
    }
    if !ipv4.is_empty() {
        network.pools = ipv4;
    }
    network.mtu = config.network.mtu;
    let hashed = havre_oci::Digest::sha256_of(format!("havre addresses {id}").as_bytes());
    let mut identity = [0; 5];
    for (byte, digits) in identity.iter_mut().zip(hashed.hex().as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).unwrap_or("0");
        *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
    }
    let private = havre_network::private_pool(identity);
    network.ipv6_pools = match ipv6.is_empty() {
        true => vec![private],
        false => ipv6,
    };
    if config.network.ipv6 {
        let chosen = config.network.ipv6_subnet.as_ref().map(|subnet| subnet.parse());
        let chosen = chosen.transpose().map_err(|_| {
            EngineError::invalid("network.ipv6-subnet: expected a subnet such as fd00:17::/64")
        })?;
        // The last one, so that networks begin with the first.
        network.ipv6 = chosen.or_else(|| private.subnets(64).ok()?.last());
    }
    Ok(network)
}

/// Id and birth of this root directory, made at its first use.
fn identity(store: &Store) -> Result<(String, Timestamp)> {
    const KIND: &str = "engine";
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Identity {
        id: String,
        created: Timestamp,
    }
    let damaged = |error: serde_json::Error| {
        EngineError::system("the engine's own record is damaged").with_source(error)
    };
    if let Some(document) = store.meta().documents(KIND)?.into_iter().next() {
        let identity: Identity = serde_json::from_str(&document.body).map_err(damaged)?;
        return Ok((identity.id, identity.created));
    }
    let random: u128 = rand::random();
    let hex = format!("{random:032x}");
    // In the form of a UUID, as Docker's clients show it.
    let id = format!(
        "{}-{}-4{}-a{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    );
    let identity = Identity {
        id: id.clone(),
        created: Timestamp::now(),
    };
    store.meta().put_document(
        KIND,
        &id,
        None,
        &serde_json::to_string(&identity).map_err(damaged)?,
    )?;
    Ok((identity.id, identity.created))
}
