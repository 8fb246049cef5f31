//! What lists, `inspect` and the other questions answer.

use std::collections::BTreeMap;

use havre_oci::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Config, EndpointConfig, Health, HealthStatus, HostConfig, MountKind, Port, PortBinding, Status};

/// Everything about one container (`inspect`).
#[derive(Debug, Clone)]
pub struct ContainerView {
    pub id: String,
    pub created: Timestamp,
    /// First word of the command line.
    pub path: String,
    /// The rest of it.
    pub args: Vec<String>,
    pub state: StateView,
    pub image: Digest,
    pub resolv_conf_path: String,
    pub hostname_path: String,
    pub hosts_path: String,
    pub log_path: String,
    /// With its leading slash.
    pub name: String,
    pub restart_count: u64,
    /// Name of the snapshotter.
    pub driver: String,
    /// Operating system: `linux`.
    pub platform: String,
    pub mount_label: String,
    pub process_label: String,
    pub apparmor_profile: String,
    pub exec_ids: Vec<String>,
    pub host_config: HostConfig,
    /// `GraphDriver.Data`: LowerDir, MergedDir, UpperDir, WorkDir.
    pub graph_driver: BTreeMap<String, String>,
    /// Bytes in the writable layer; only when asked for.
    pub size_rw: Option<u64>,
    /// Bytes of image and writable layer; only when asked for.
    pub size_root_fs: Option<u64>,
    pub mounts: Vec<MountPoint>,
    pub config: Config,
    pub network: NetworkView,
}

#[derive(Debug, Clone)]
pub struct StateView {
    pub status: Status,
    pub oom_killed: bool,
    /// 0 when not running.
    pub pid: i64,
    pub exit_code: i64,
    pub error: String,
    /// `None`: never (Docker prints 0001-01-01T00:00:00Z).
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// `None`: never started, or without a check.
    pub health: Option<Health>,
}

impl StateView {
    /// Running, also while paused or restarting, as Docker's `State.Running`.
    pub fn is_running(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused | Status::Restarting)
    }
}

/// A mount as `inspect` and `ps` list it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    pub kind: MountKind,
    /// Volume name; empty otherwise.
    pub name: String,
    /// Path on the host.
    pub source: String,
    pub destination: String,
    /// `local` for volumes, empty otherwise.
    pub driver: String,
    /// The option string, such as `ro` or `z`.
    pub mode: String,
    pub rw: bool,
    pub propagation: String,
}

/// `NetworkSettings`.
#[derive(Debug, Clone, Default)]
pub struct NetworkView {
    pub sandbox_id: String,
    /// Path of the network namespace.
    pub sandbox_key: String,
    /// Exposed and published ports; unpublished ones have an empty list.
    pub ports: BTreeMap<Port, Vec<PortBinding>>,
    /// By network name.
    pub networks: BTreeMap<String, EndpointView>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointView {
    pub network_id: String,
    pub endpoint_id: String,
    pub gateway: String,
    pub ip_address: String,
    pub ip_prefix_len: u8,
    pub ipv6_gateway: String,
    pub global_ipv6_address: String,
    pub global_ipv6_prefix_len: u8,
    pub mac_address: String,
    pub aliases: Vec<String>,
    pub dns_names: Vec<String>,
    /// What was asked for.
    pub config: EndpointConfig,
}

/// One line of `ps`.
#[derive(Debug, Clone)]
pub struct ContainerSummary {
    pub id: String,
    /// With their leading slash.
    pub names: Vec<String>,
    /// As the user wrote it; the id when that name points elsewhere now.
    pub image: String,
    pub image_id: Digest,
    /// The command line, shell-quoted as Docker prints it.
    pub command: String,
    pub created: Timestamp,
    pub ports: Vec<PortSummary>,
    pub labels: BTreeMap<String, String>,
    pub status: Status,
    /// `Up 3 minutes`, `Exited (0) 2 hours ago`, `Created`…
    pub status_text: String,
    /// With the failures in a row; `None`: never started, or without a check.
    pub health: Option<(HealthStatus, u64)>,
    pub network_mode: String,
    pub networks: BTreeMap<String, EndpointView>,
    pub mounts: Vec<MountPoint>,
    /// Only when asked for.
    pub size_rw: Option<u64>,
    pub size_root_fs: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortSummary {
    pub ip: Option<String>,
    pub private_port: u16,
    pub public_port: Option<u16>,
    pub protocol: &'static str,
}

/// `top`: column titles and one row per process.
#[derive(Debug, Clone)]
pub struct Processes {
    pub titles: Vec<String>,
    pub processes: Vec<Vec<String>>,
}

/// One line of `diff`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub path: String,
    pub kind: ChangeKind,
}

/// Docker's numbers: 0 modified, 1 added, 2 deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Modified = 0,
    Added = 1,
    Deleted = 2,
}
