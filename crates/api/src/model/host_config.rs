//! `HostConfig` of a container, as `inspect` shows it.

use std::collections::BTreeMap;

use havre_engine::{
    BindOptions, DeviceMapping, HostConfig, LogConfig, Mount, PortBinding, ThrottleDevice, TmpfsOptions,
    Ulimit, VolumeOptions, WeightDevice,
};
use serde::Serialize;

use super::non_empty;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostConfigView {
    binds: Option<Vec<String>>,
    #[serde(rename = "ContainerIDFile")]
    container_id_file: String,
    log_config: LogConfig,
    network_mode: String,
    port_bindings: BTreeMap<String, Vec<PortBinding>>,
    restart_policy: RestartPolicyView,
    auto_remove: bool,
    volume_driver: String,
    volumes_from: Option<Vec<String>>,
    console_size: [u16; 2],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    cap_add: Option<Vec<String>>,
    cap_drop: Option<Vec<String>>,
    cgroupns_mode: String,
    dns: Vec<String>,
    dns_options: Vec<String>,
    dns_search: Vec<String>,
    extra_hosts: Option<Vec<String>>,
    group_add: Option<Vec<String>>,
    ipc_mode: String,
    cgroup: String,
    links: Option<Vec<String>>,
    oom_score_adj: i64,
    pid_mode: String,
    privileged: bool,
    publish_all_ports: bool,
    readonly_rootfs: bool,
    security_opt: Option<Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    storage_opt: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode")]
    uts_mode: String,
    userns_mode: String,
    shm_size: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sysctls: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    runtime: String,
    isolation: String,
    cpu_shares: i64,
    memory: i64,
    nano_cpus: i64,
    cgroup_parent: String,
    blkio_weight: u16,
    blkio_weight_device: Vec<WeightDevice>,
    blkio_device_read_bps: Vec<ThrottleDevice>,
    blkio_device_write_bps: Vec<ThrottleDevice>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    blkio_device_read_iops: Vec<ThrottleDevice>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    blkio_device_write_iops: Vec<ThrottleDevice>,
    cpu_period: i64,
    cpu_quota: i64,
    cpu_realtime_period: i64,
    cpu_realtime_runtime: i64,
    cpuset_cpus: String,
    cpuset_mems: String,
    devices: Vec<DeviceMapping>,
    device_cgroup_rules: Option<Vec<String>>,
    device_requests: Option<()>,
    memory_reservation: i64,
    memory_swap: i64,
    memory_swappiness: Option<i64>,
    oom_kill_disable: bool,
    pids_limit: Option<i64>,
    ulimits: Vec<Ulimit>,
    cpu_count: i64,
    cpu_percent: i64,
    #[serde(rename = "IOMaximumIOps")]
    io_maximum_iops: i64,
    #[serde(rename = "IOMaximumBandwidth")]
    io_maximum_bandwidth: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<MountView>,
    masked_paths: Option<Vec<String>>,
    readonly_paths: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicyView {
    name: &'static str,
    maximum_retry_count: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MountView {
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
    target: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    consistency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bind_options: Option<BindOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_options: Option<VolumeOptionsView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tmpfs_options: Option<TmpfsOptions>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct VolumeOptionsView {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_copy: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    subpath: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver_config: Option<DriverConfigView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DriverConfigView {
    name: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    options: BTreeMap<String, String>,
}

impl From<VolumeOptions> for VolumeOptionsView {
    fn from(options: VolumeOptions) -> Self {
        let driver = DriverConfigView {
            name: options.driver,
            options: options.driver_options,
        };
        let given = !driver.name.is_empty() || !driver.options.is_empty();
        Self {
            no_copy: options.no_copy,
            labels: options.labels,
            subpath: options.subpath,
            driver_config: given.then_some(driver),
        }
    }
}

impl From<Mount> for MountView {
    fn from(mount: Mount) -> Self {
        Self {
            kind: mount.kind.as_str(),
            source: mount.source,
            target: mount.target,
            read_only: mount.read_only,
            consistency: mount.consistency,
            bind_options: mount.bind_options,
            volume_options: mount.volume_options.map(Into::into),
            tmpfs_options: mount.tmpfs_options,
        }
    }
}

impl From<HostConfig> for HostConfigView {
    fn from(host: HostConfig) -> Self {
        let resources = host.resources;
        Self {
            binds: non_empty(host.binds),
            container_id_file: host.container_id_file,
            log_config: host.log_config,
            network_mode: host.network_mode,
            port_bindings: host
                .port_bindings
                .into_iter()
                .map(|(port, list)| (port.to_string(), list))
                .collect(),
            restart_policy: RestartPolicyView {
                name: host.restart_policy.name.as_str(),
                maximum_retry_count: host.restart_policy.maximum_retry_count,
            },
            auto_remove: host.auto_remove,
            volume_driver: host.volume_driver,
            volumes_from: non_empty(host.volumes_from),
            console_size: host.console_size.unwrap_or_default(),
            annotations: host.annotations,
            cap_add: non_empty(host.cap_add),
            cap_drop: non_empty(host.cap_drop),
            cgroupns_mode: host.cgroupns_mode,
            dns: host.dns,
            dns_options: host.dns_options,
            dns_search: host.dns_search,
            extra_hosts: non_empty(host.extra_hosts),
            group_add: non_empty(host.group_add),
            ipc_mode: host.ipc_mode,
            cgroup: host.cgroup,
            links: non_empty(host.links),
            oom_score_adj: host.oom_score_adj,
            pid_mode: host.pid_mode,
            privileged: host.privileged,
            publish_all_ports: host.publish_all_ports,
            readonly_rootfs: host.readonly_rootfs,
            security_opt: non_empty(host.security_opt),
            storage_opt: host.storage_opt,
            tmpfs: host.tmpfs,
            uts_mode: host.uts_mode,
            userns_mode: host.userns_mode,
            shm_size: host.shm_size,
            sysctls: host.sysctls,
            runtime: host.runtime,
            isolation: host.isolation,
            cpu_shares: resources.cpu_shares,
            memory: resources.memory,
            nano_cpus: resources.nano_cpus,
            cgroup_parent: resources.cgroup_parent,
            blkio_weight: resources.blkio_weight,
            blkio_weight_device: resources.blkio_weight_device,
            blkio_device_read_bps: resources.blkio_device_read_bps,
            blkio_device_write_bps: resources.blkio_device_write_bps,
            blkio_device_read_iops: resources.blkio_device_read_iops,
            blkio_device_write_iops: resources.blkio_device_write_iops,
            cpu_period: resources.cpu_period,
            cpu_quota: resources.cpu_quota,
            cpu_realtime_period: resources.cpu_realtime_period,
            cpu_realtime_runtime: resources.cpu_realtime_runtime,
            cpuset_cpus: resources.cpuset_cpus,
            cpuset_mems: resources.cpuset_mems,
            devices: resources.devices,
            device_cgroup_rules: non_empty(resources.device_cgroup_rules),
            device_requests: None,
            memory_reservation: resources.memory_reservation,
            memory_swap: resources.memory_swap,
            memory_swappiness: resources.memory_swappiness,
            oom_kill_disable: resources.oom_kill_disable,
            pids_limit: resources.pids_limit,
            ulimits: resources.ulimits,
            cpu_count: resources.cpu_count,
            cpu_percent: resources.cpu_percent,
            io_maximum_iops: resources.io_maximum_iops,
            io_maximum_bandwidth: resources.io_maximum_bandwidth,
            mounts: host.mounts.into_iter().map(Into::into).collect(),
            masked_paths: host.masked_paths,
            readonly_paths: host.readonly_paths,
            init: host.init,
        }
    }
}
