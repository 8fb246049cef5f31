//! What is remembered of a container: the JSON document of kind `container` in the store's database.

use std::collections::BTreeMap;

use havre_oci::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Config, EndpointConfig, EndpointView, Health, HostConfig, MountKind, MountPoint, Port, PortBinding,
    Status,
};

/// Kind of the documents.
pub(crate) const KIND: &str = "container";

/// A container, without what only lives in memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub id: String,
    /// Without a leading slash.
    pub name: String,
    pub created: Timestamp,
    pub image: Digest,
    /// Diff IDs of the image's layers, base first.
    pub layers: Vec<Digest>,
    pub os: String,
    /// The command line: entry point and command joined.
    pub args: Vec<String>,
    /// Merged with the image's.
    pub config: Config,
    pub host_config: HostConfig,
    pub endpoints: BTreeMap<String, EndpointConfig>,
    pub mounts: Vec<MountRecord>,
    pub state: State,
    pub restart_count: u64,
    /// Stopped by the user: `unless-stopped` leaves it so after a restart of the daemon.
    pub stopped_by_user: bool,
    /// It was taken off the network of its network mode.
    #[serde(default)]
    pub left_primary: bool,
    /// The connection to the network while it runs.
    #[serde(default)]
    pub network: Option<NetworkRecord>,
    /// What the runtime made in the root file system to mount over it, relative to the root.
    #[serde(default)]
    pub mountpoints: Vec<String>,
}

/// Where it is in its life, and how it came there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub status: Status,
    pub pid: i32,
    pub exit_code: i64,
    pub oom_killed: bool,
    pub error: String,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// `None`: never started, or without a check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

impl Default for State {
    fn default() -> Self {
        State {
            status: Status::Created,
            pid: 0,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            started_at: None,
            finished_at: None,
            health: None,
        }
    }
}

/// A mount as it was decided at creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountRecord {
    pub point: MountPoint,
    /// Files of the image are copied into the volume when it is empty.
    pub copy: bool,
    /// What is mounted beneath the source comes along.
    pub recursive: bool,
    /// tmpfs only.
    pub tmpfs: Vec<String>,
    /// Volumes only: what of it is mounted, as a path within; empty is all of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// An anonymous volume made for this container: `rm -v` and `--rm` remove it.
    pub owned: bool,
}

impl MountRecord {
    pub(crate) fn is_volume(&self) -> bool {
        self.point.kind == MountKind::Volume
    }
}

/// A live connection to the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NetworkRecord {
    /// Path of the namespace; empty for host and joined ones.
    pub sandbox: String,
    /// Name of the network and the endpoint in it.
    pub endpoints: BTreeMap<String, EndpointView>,
    pub ports: BTreeMap<Port, Vec<PortBinding>>,
    /// Where its names are answered, once it was on a user-defined network.
    pub name_port: Option<u16>,
}

impl Record {
    /// How the user wants it to end, as a signal's number.
    pub(crate) fn stop_signal(&self) -> i32 {
        self.config
            .stop_signal
            .as_deref()
            .and_then(|name| super::signal::parse(name).ok())
            .unwrap_or(15)
    }

    /// Labels plus `image` and `name`: the attributes of its events.
    pub(crate) fn event_attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = self.config.labels.clone();
        attributes.insert("image".to_owned(), self.config.image.clone());
        attributes.insert("name".to_owned(), self.name.clone());
        attributes
    }

    pub(crate) fn short_id(&self) -> &str {
        &self.id[..12]
    }
}
