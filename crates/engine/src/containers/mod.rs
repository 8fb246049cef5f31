//! The container service.
//!
//! ```text
//! record    what is stored            table    lookup, names, locks, waiters
//! validate, merge, mounts             requests to decisions
//! create ─ start ─ exit ─ remove      the life of a container; recover after a restart of the daemon
//! stop, wait, attach, exec, logs      what clients do with a running one
//! list, inspect, top, archive, commit, export
//! health                              probes of those with a check
//! ```
//!
//! Everything that changes a container holds its `op` lock and runs on a blocking thread to its end, also when the client
//! that asked has gone.

mod abilities;
mod archive;
mod attach;
mod commit;
mod create;
mod endpoints;
mod exec;
mod exit;
mod export;
mod files;
mod health;
mod inspect;
pub(crate) mod lingering;
mod links;
mod list;
mod logging;
mod logs;
mod membership;
mod merge;
mod model;
pub(crate) mod mountpoints;
mod mounts;
mod names;
mod record;
mod recover;
mod remove;
mod requests;
mod signal;
mod sources;
pub(crate) mod spec;
mod start;
mod state;
mod stats;
mod stop;
mod streams;
mod table;
mod top;
mod tree;
mod update;
mod userns;
pub(crate) mod validate;
mod view;
mod wait;

use std::sync::Arc;

use havre_image::{ImageService, ImageUse};
use havre_network::Network;
use havre_runtime::Runtime;
use havre_store::Store;

pub use health::{Health, HealthProbe, HealthStatus};
pub use model::*;
pub use requests::*;
pub use state::*;
pub use stats::{Reading, StatsMode, StatsStream, StatsView};
pub use streams::{Attachment, DetachKeys, Frame, Input, Output, Sent, StreamKind};
pub use view::*;

pub(crate) use files::extra_hosts;
pub(crate) use inspect::DRIVER;
pub(crate) use list::point_in_time;
pub(crate) use logging::Logging;
pub(crate) use membership::{gateway_of, name_port};
pub(crate) use names::{is_valid as is_valid_name, new_id};
pub(crate) use record::KIND;
pub(crate) use validate::bytes as parse_bytes;

use crate::{Event, EventType, Events, Result, Volumes};
pub(crate) use table::Container;
use table::Table;

/// Containers, addressed by name, full id or unique id prefix everywhere.
#[derive(Clone)]
pub struct Containers(pub(crate) Arc<Inner>);

/// What the service works with.
pub(crate) struct Inner {
    pub store: Arc<Store>,
    pub runtime: Arc<Runtime>,
    pub network: Arc<Network>,
    pub networks: Arc<crate::networks::Registry>,
    pub images: ImageService,
    pub volumes: Volumes,
    pub events: Events,
    pub table: Table,
    pub execs: exec::Execs,
    pub settings: Settings,
    /// The ids of containers that don't have the host's.
    pub remap: Option<crate::remap::Remap>,
    pub lingering: lingering::Lingering,
    /// For timers of restarts and sockets wired from blocking threads.
    pub handle: tokio::runtime::Handle,
}

/// What the configuration says about containers.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// For containers that choose no log options of their own.
    pub log: LogConfig,
    /// The machine has the unified hierarchy only.
    pub cgroup_v2: bool,
    pub runtimes: crate::runtimes::Runtimes,
}

impl Containers {
    pub(crate) fn new(inner: Inner) -> Self {
        Containers(Arc::new(inner))
    }

    /// The ids of containers that don't say otherwise; `None` is the host's.
    pub(crate) fn remap(&self) -> Option<&crate::remap::Remap> {
        self.0.remap.as_ref()
    }

    /// Whether something with the ids of [`remap`](Self::remap) can share the network of a container.
    pub(crate) fn check_joined(&self, other: &str) -> Result<()> {
        let mode = validate::NetworkMode::Container(other.to_owned());
        let Some(remap) = self.remap() else { return Ok(()) };
        userns::joined(&self.0, remap, &HostConfig::default(), &mode).map(drop)
    }

    pub(crate) fn find(&self, name: &str) -> Result<Arc<Container>> {
        self.0.table.find(name)
    }

    /// The first process of a running container, for those that share its namespaces.
    pub(crate) fn running_pid(&self, name: &str) -> Result<i32> {
        spec::running_pid(&self.0, name, "network")
    }

    /// Which images are used, for removals and prunes of images.
    pub(crate) fn image_uses(&self) -> Vec<ImageUse> {
        let uses = self.0.table.all().into_iter().map(|container| {
            let record = container.read();
            ImageUse {
                image: record.image.clone(),
                reference: record.config.image.clone(),
                container: record.id.clone(),
                running: record.state.status.is_live(),
            }
        });
        uses.collect()
    }

    /// Names and endpoints of the live containers on a network, by id.
    pub(crate) fn on_network(
        &self,
        network: &str,
    ) -> std::collections::BTreeMap<String, (String, EndpointView)> {
        let mut found = std::collections::BTreeMap::new();
        for container in self.0.table.all() {
            let record = container.read();
            let endpoint = record
                .network
                .as_ref()
                .and_then(|live| live.endpoints.get(network));
            if let Some(endpoint) = endpoint {
                found.insert(record.id.clone(), (record.name.clone(), endpoint.clone()));
            }
        }
        found
    }

    /// Total, running, paused, stopped.
    pub(crate) fn counts(&self) -> [u64; 4] {
        let mut counts = [0; 4];
        for container in self.0.table.all() {
            counts[0] += 1;
            counts[match container.status() {
                Status::Running | Status::Restarting => 1,
                Status::Paused => 2,
                _ => 3,
            }] += 1;
        }
        counts
    }
}

impl Inner {
    /// Publishes an event about a container, with its labels, image and name.
    fn publish(&self, container: &Container, action: &str, extra: &[(&str, String)]) {
        let mut event = Event::new(EventType::Container, action, container.id.clone());
        event.attributes = container.read().event_attributes();
        for (key, value) in extra {
            event.attributes.insert((*key).to_owned(), value.clone());
        }
        self.events.publish(event);
    }
}

#[cfg(test)]
mod tests;
