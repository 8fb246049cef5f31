//! `info`, `version`, `df`, `login`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::{ContainerSummary, Result, VolumeUsage};

/// `version`
#[derive(Debug, Clone)]
pub struct VersionInfo {
    /// Of Havre.
    pub version: String,
    pub git_commit: String,
    pub build_time: String,
    pub os: String,
    pub arch: String,
    pub kernel_version: String,
    /// Name → version, details of the parts (runtime, init…).
    pub components: Vec<Component>,
}

#[derive(Debug, Clone)]
pub struct Component {
    pub name: String,
    pub version: String,
    pub details: BTreeMap<String, String>,
}

/// `info`
#[derive(Debug, Clone)]
pub struct SystemInfo {
    pub id: String,
    pub containers: u64,
    pub containers_running: u64,
    pub containers_paused: u64,
    pub containers_stopped: u64,
    pub images: u64,
    pub driver: String,
    /// Name and value, in order.
    pub driver_status: Vec<(String, String)>,
    pub log_driver: String,
    /// `cgroupfs`
    pub cgroup_driver: String,
    /// 1 or 2
    pub cgroup_version: u8,
    pub memory_limit: bool,
    pub swap_limit: bool,
    pub cpu_cfs_period: bool,
    pub cpu_cfs_quota: bool,
    pub cpu_shares: bool,
    pub cpu_set: bool,
    pub pids_limit: bool,
    pub oom_kill_disable: bool,
    pub ipv4_forwarding: bool,
    pub file_descriptors: u64,
    pub threads: u64,
    pub system_time: Timestamp,
    pub events_listeners: u64,
    pub kernel_version: String,
    pub operating_system: String,
    pub os_version: String,
    pub os_type: String,
    pub architecture: String,
    pub cpus: u64,
    pub memory_total: u64,
    pub root_dir: String,
    pub http_proxy: String,
    pub https_proxy: String,
    pub no_proxy: String,
    /// Host name.
    pub name: String,
    pub labels: Vec<String>,
    pub experimental: bool,
    pub server_version: String,
    pub default_runtime: String,
    /// Name → path.
    pub runtimes: BTreeMap<String, String>,
    pub security_options: Vec<String>,
    pub init_binary: String,
    pub warnings: Vec<String>,
    pub debug: bool,
    /// Hosts whose mirrors are configured for docker.io.
    pub registry_mirrors: Vec<String>,
    /// Hosts reached without TLS or without verifying it.
    pub insecure_registries: Vec<String>,
    /// Base and prefix length of the address pools.
    pub address_pools: Vec<(String, u8)>,
    pub cdi_spec_dirs: Vec<String>,
}

/// `system df`
#[derive(Debug, Clone)]
pub struct DiskUsage {
    /// Bytes of all layers, each counted once.
    pub layers_size: u64,
    pub containers: Vec<ContainerSummary>,
    pub volumes: Vec<VolumeUsage>,
    pub build_cache: Vec<BuildCacheEntry>,
}

#[derive(Debug, Clone)]
pub struct BuildCacheEntry {
    pub id: String,
    pub parent: Option<String>,
    pub kind: String,
    pub description: String,
    pub in_use: bool,
    pub shared: bool,
    pub size: u64,
    pub created: Timestamp,
    pub last_used: Option<Timestamp>,
    pub usage_count: u64,
}

/// The system service.
#[derive(Clone)]
pub struct System(Arc<()>);

#[allow(clippy::todo, unused_variables)]
impl System {
    pub async fn info(&self) -> Result<SystemInfo> {
        todo!()
    }
    pub fn version(&self) -> VersionInfo {
        todo!()
    }
    pub async fn disk_usage(&self) -> Result<DiskUsage> {
        todo!()
    }
}
