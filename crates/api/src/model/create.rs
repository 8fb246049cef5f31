//! The body of `POST /containers/create`, `POST /containers/{id}/update` and `POST /commit`.

use std::collections::{BTreeMap, BTreeSet};

use havre_engine::{
    BindOptions, Config, DeviceMapping, EndpointConfig, Healthcheck, HostConfig, LogConfig, Mount, MountKind,
    Port, PortBinding, Resources, RestartPolicy, ThrottleDevice, TmpfsOptions, Ulimit, UpdateContainer,
    VolumeOptions, WeightDevice,
};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::error::ApiError;
use crate::request_json::Both;

/// What runs.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ConfigBody {
    hostname: String,
    domainname: String,
    user: String,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    exposed_ports: BTreeMap<String, IgnoredAny>,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: Vec<String>,
    #[serde(deserialize_with = "words")]
    cmd: Option<Vec<String>>,
    healthcheck: Option<Healthcheck>,
    args_escaped: bool,
    image: String,
    volumes: BTreeMap<String, IgnoredAny>,
    working_dir: String,
    #[serde(deserialize_with = "words")]
    entrypoint: Option<Vec<String>>,
    network_disabled: bool,
    mac_address: Option<String>,
    on_build: Vec<String>,
    labels: BTreeMap<String, String>,
    stop_signal: Option<String>,
    stop_timeout: Option<i64>,
    #[serde(deserialize_with = "words")]
    shell: Option<Vec<String>>,
}

/// A list of words, or one word.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a string or a list of strings")]
    enum Words {
        One(String),
        Many(Vec<String>),
    }
    Ok(Option::deserialize(deserializer)?.map(|words| match words {
        Words::One(word) => vec![word],
        Words::Many(words) => words,
    }))
}

impl TryFrom<ConfigBody> for Config {
    type Error = ApiError;

    fn try_from(body: ConfigBody) -> Result<Self, ApiError> {
        let ports = body
            .exposed_ports
            .into_keys()
            .map(|port| port.parse())
            .collect::<Result<BTreeSet<Port>, _>>()?;
        Ok(Self {
            hostname: body.hostname,
            domainname: body.domainname,
            user: body.user,
            attach_stdin: body.attach_stdin,
            attach_stdout: body.attach_stdout,
            attach_stderr: body.attach_stderr,
            exposed_ports: ports,
            tty: body.tty,
            open_stdin: body.open_stdin,
            stdin_once: body.stdin_once,
            env: body.env,
            cmd: body.cmd,
            healthcheck: body.healthcheck,
            args_escaped: body.args_escaped,
            image: body.image,
            volumes: body.volumes.into_keys().collect(),
            working_dir: body.working_dir,
            entrypoint: body.entrypoint,
            network_disabled: body.network_disabled,
            mac_address: body.mac_address.filter(|address| !address.is_empty()),
            on_build: body.on_build,
            labels: body.labels,
            stop_signal: body.stop_signal.filter(|signal| !signal.is_empty()),
            stop_timeout: body.stop_timeout,
            shell: body.shell,
        })
    }
}

/// How it runs.
pub(crate) type HostConfigBody = Both<HostFields, ResourcesBody>;

/// All of it but the limits.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HostFields {
    binds: Vec<String>,
    #[serde(rename = "ContainerIDFile")]
    container_id_file: String,
    log_config: LogConfig,
    network_mode: String,
    port_bindings: BTreeMap<String, Option<Vec<PortBinding>>>,
    restart_policy: RestartPolicyBody,
    auto_remove: bool,
    volume_driver: String,
    volumes_from: Vec<String>,
    mounts: Vec<MountBody>,
    console_size: Option<[u16; 2]>,
    annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "words")]
    cap_add: Option<Vec<String>>,
    #[serde(deserialize_with = "words")]
    cap_drop: Option<Vec<String>>,
    cgroupns_mode: String,
    dns: Vec<String>,
    dns_options: Vec<String>,
    dns_search: Vec<String>,
    extra_hosts: Vec<String>,
    group_add: Vec<String>,
    ipc_mode: String,
    cgroup: String,
    links: Vec<String>,
    oom_score_adj: i64,
    pid_mode: String,
    privileged: bool,
    publish_all_ports: bool,
    readonly_rootfs: bool,
    security_opt: Vec<String>,
    storage_opt: BTreeMap<String, String>,
    tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode")]
    uts_mode: String,
    userns_mode: String,
    shm_size: i64,
    sysctls: BTreeMap<String, String>,
    runtime: String,
    isolation: String,
    masked_paths: Option<Vec<String>>,
    readonly_paths: Option<Vec<String>>,
    init: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RestartPolicyBody {
    name: String,
    maximum_retry_count: i64,
}

impl TryFrom<RestartPolicyBody> for RestartPolicy {
    type Error = ApiError;

    fn try_from(body: RestartPolicyBody) -> Result<Self, ApiError> {
        Ok(Self {
            name: body.name.parse()?,
            maximum_retry_count: body.maximum_retry_count,
        })
    }
}

/// Limits, in creation and update.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ResourcesBody {
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
    device_cgroup_rules: Vec<String>,
    device_requests: Vec<IgnoredAny>,
    memory_reservation: i64,
    memory_swap: i64,
    memory_swappiness: Option<i64>,
    #[serde(rename = "KernelMemoryTCP")]
    kernel_memory_tcp: i64,
    oom_kill_disable: bool,
    pids_limit: Option<i64>,
    ulimits: Vec<Ulimit>,
    cpu_count: i64,
    cpu_percent: i64,
    #[serde(rename = "IOMaximumIOps")]
    io_maximum_iops: i64,
    #[serde(rename = "IOMaximumBandwidth")]
    io_maximum_bandwidth: i64,
}

impl From<ResourcesBody> for Resources {
    fn from(body: ResourcesBody) -> Self {
        Self {
            cpu_shares: body.cpu_shares,
            memory: body.memory,
            nano_cpus: body.nano_cpus,
            cgroup_parent: body.cgroup_parent,
            blkio_weight: body.blkio_weight,
            blkio_weight_device: body.blkio_weight_device,
            blkio_device_read_bps: body.blkio_device_read_bps,
            blkio_device_write_bps: body.blkio_device_write_bps,
            blkio_device_read_iops: body.blkio_device_read_iops,
            blkio_device_write_iops: body.blkio_device_write_iops,
            cpu_period: body.cpu_period,
            cpu_quota: body.cpu_quota,
            cpu_realtime_period: body.cpu_realtime_period,
            cpu_realtime_runtime: body.cpu_realtime_runtime,
            cpuset_cpus: body.cpuset_cpus,
            cpuset_mems: body.cpuset_mems,
            devices: body.devices,
            device_cgroup_rules: body.device_cgroup_rules,
            device_requests: !body.device_requests.is_empty(),
            memory_reservation: body.memory_reservation,
            memory_swap: body.memory_swap,
            // Clients that mean "unset" send -1.
            memory_swappiness: body.memory_swappiness.filter(|value| *value != -1),
            kernel_memory_tcp: body.kernel_memory_tcp,
            oom_kill_disable: body.oom_kill_disable,
            pids_limit: body.pids_limit,
            ulimits: body.ulimits,
            cpu_count: body.cpu_count,
            cpu_percent: body.cpu_percent,
            io_maximum_iops: body.io_maximum_iops,
            io_maximum_bandwidth: body.io_maximum_bandwidth,
        }
    }
}

impl TryFrom<HostConfigBody> for HostConfig {
    type Error = ApiError;

    fn try_from(Both(body, resources): HostConfigBody) -> Result<Self, ApiError> {
        let ports = body
            .port_bindings
            .into_iter()
            .map(|(port, bindings)| Ok((port.parse()?, bindings.unwrap_or_default())))
            .collect::<Result<_, ApiError>>()?;
        Ok(Self {
            binds: body.binds,
            container_id_file: body.container_id_file,
            log_config: body.log_config,
            network_mode: body.network_mode,
            port_bindings: ports,
            restart_policy: body.restart_policy.try_into()?,
            auto_remove: body.auto_remove,
            volume_driver: body.volume_driver,
            volumes_from: body.volumes_from,
            mounts: body
                .mounts
                .into_iter()
                .map(Mount::try_from)
                .collect::<Result<_, _>>()?,
            console_size: body.console_size.filter(|size| *size != [0, 0]),
            annotations: body.annotations,
            cap_add: body.cap_add.unwrap_or_default(),
            cap_drop: body.cap_drop.unwrap_or_default(),
            cgroupns_mode: body.cgroupns_mode,
            dns: body.dns,
            dns_options: body.dns_options,
            dns_search: body.dns_search,
            extra_hosts: body.extra_hosts,
            group_add: body.group_add,
            ipc_mode: body.ipc_mode,
            cgroup: body.cgroup,
            links: body.links,
            oom_score_adj: body.oom_score_adj,
            pid_mode: body.pid_mode,
            privileged: body.privileged,
            publish_all_ports: body.publish_all_ports,
            readonly_rootfs: body.readonly_rootfs,
            security_opt: body.security_opt,
            storage_opt: body.storage_opt,
            tmpfs: body.tmpfs,
            uts_mode: body.uts_mode,
            userns_mode: body.userns_mode,
            shm_size: body.shm_size,
            sysctls: body.sysctls,
            runtime: body.runtime,
            isolation: body.isolation,
            masked_paths: body.masked_paths,
            readonly_paths: body.readonly_paths,
            init: body.init,
            resources: Resources {
                // 0 and below mean no limit, which is nothing to remember (but lifts one in an update).
                pids_limit: resources.pids_limit.filter(|limit| *limit > 0),
                ..resources.into()
            },
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct MountBody {
    #[serde(rename = "Type")]
    kind: String,
    source: String,
    target: String,
    read_only: bool,
    consistency: String,
    bind_options: Option<BindOptions>,
    volume_options: Option<VolumeOptionsBody>,
    tmpfs_options: Option<TmpfsOptions>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VolumeOptionsBody {
    no_copy: bool,
    labels: BTreeMap<String, String>,
    driver_config: DriverConfigBody,
    subpath: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DriverConfigBody {
    name: String,
    options: BTreeMap<String, String>,
}

impl TryFrom<MountBody> for Mount {
    type Error = ApiError;

    fn try_from(body: MountBody) -> Result<Self, ApiError> {
        let kind = match body.kind.as_str() {
            "bind" => MountKind::Bind,
            "volume" => MountKind::Volume,
            "tmpfs" => MountKind::Tmpfs,
            "image" => MountKind::Image,
            "npipe" => MountKind::Npipe,
            "cluster" => MountKind::Cluster,
            other => {
                return Err(ApiError::bad_request(format!(
                    "invalid mount config for type {other:?}: mount type unknown"
                )));
            }
        };
        Ok(Self {
            kind,
            source: body.source,
            target: body.target,
            read_only: body.read_only,
            consistency: body.consistency,
            bind_options: body.bind_options,
            volume_options: body.volume_options.map(|options| VolumeOptions {
                no_copy: options.no_copy,
                labels: options.labels,
                driver: options.driver_config.name,
                driver_options: options.driver_config.options,
                subpath: options.subpath,
            }),
            tmpfs_options: body.tmpfs_options,
        })
    }
}

/// The whole of a creation.
pub(crate) type CreateBody = Both<ConfigBody, Surroundings>;

/// What a creation has beside what runs.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Surroundings {
    pub(crate) host_config: HostConfigBody,
    pub(crate) networking_config: NetworkingConfigBody,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct NetworkingConfigBody {
    endpoints_config: BTreeMap<String, Option<EndpointBody>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct EndpointBody {
    #[serde(rename = "IPAMConfig")]
    ipam: AddressesBody,
    links: Vec<String>,
    aliases: Vec<String>,
    mac_address: String,
    driver_opts: BTreeMap<String, String>,
    #[serde(rename = "GwPriority")]
    gateway_priority: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AddressesBody {
    #[serde(rename = "IPv4Address")]
    ipv4: String,
    #[serde(rename = "IPv6Address")]
    ipv6: String,
    #[serde(rename = "LinkLocalIPs")]
    link_local: Vec<String>,
}

impl From<EndpointBody> for EndpointConfig {
    fn from(body: EndpointBody) -> Self {
        Self {
            aliases: body.aliases,
            links: body.links,
            mac_address: body.mac_address,
            driver_opts: body.driver_opts,
            ipv4_address: body.ipam.ipv4,
            ipv6_address: body.ipam.ipv6,
            link_local_addresses: body.ipam.link_local,
            gateway_priority: body.gateway_priority,
        }
    }
}

impl From<NetworkingConfigBody> for BTreeMap<String, EndpointConfig> {
    fn from(body: NetworkingConfigBody) -> Self {
        let endpoints = body.endpoints_config.into_iter();
        endpoints
            .map(|(network, body)| (network, body.unwrap_or_default().into()))
            .collect()
    }
}

/// The body of an update.
pub(crate) type UpdateBody = Both<ResourcesBody, Restarting>;

/// What an update changes beside limits.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Restarting {
    restart_policy: Option<RestartPolicyBody>,
}

impl TryFrom<UpdateBody> for UpdateContainer {
    type Error = ApiError;

    fn try_from(Both(resources, body): UpdateBody) -> Result<Self, ApiError> {
        let policy = body.restart_policy.filter(|policy| !policy.name.is_empty());
        Ok(Self {
            resources: resources.into(),
            restart_policy: policy.map(RestartPolicy::try_from).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_json;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<(Config, HostConfig, BTreeMap<String, EndpointConfig>), String> {
        let text = value.to_string();
        let Both(config, body): CreateBody = request_json::read(text.as_bytes())
            .map_err(|e| e.to_string())?
            .unwrap_or_default();
        let config = config.try_into().map_err(|e: ApiError| e.to_string())?;
        let host_config = body.host_config.try_into().map_err(|e: ApiError| e.to_string())?;
        Ok((config, host_config, body.networking_config.into()))
    }

    #[test]
    fn what_the_docker_client_sends() {
        let (config, host, networks) = read(json!({
            "Hostname": "", "Domainname": "", "User": "", "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
            "ExposedPorts": {"80/tcp": {}}, "Tty": true, "OpenStdin": true, "StdinOnce": true, "Env": null,
            "Cmd": ["sh", "-c", "true"], "Image": "debian", "Volumes": {"/data": {}}, "WorkingDir": "",
            "Entrypoint": null, "OnBuild": null, "Labels": {"a": "b"}, "StopTimeout": 3,
            "HostConfig": {
                "Binds": ["/a:/b:ro"], "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": {}},
                "NetworkMode": "default", "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "81/udp": null},
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "AutoRemove": true, "VolumeDriver": "",
                "VolumesFrom": null, "ConsoleSize": [24, 80], "CapAdd": null, "CapDrop": ["ALL"], "CgroupnsMode": "",
                "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": null, "GroupAdd": null, "IpcMode": "",
                "OomScoreAdj": 0, "ShmSize": 0, "Isolation": "", "CpuShares": 0, "Memory": 67108864, "NanoCpus": 500000000,
                "BlkioWeight": 0, "BlkioWeightDevice": [], "BlkioDeviceReadBps": null, "Devices": [],
                "DeviceRequests": null, "MemorySwappiness": -1, "OomKillDisable": false, "PidsLimit": 0,
                "Ulimits": [{"Name": "nofile", "Hard": 10, "Soft": 5}], "MaskedPaths": null, "ReadonlyPaths": null,
                "Mounts": [
                    {"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": {"DriverConfig": {"Name": "local"}}},
                    {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 5, "Mode": 448}},
                    {"Type": "bind", "Source": "/s", "Target": "/b", "BindOptions": {"Propagation": "rslave"}},
                ],
                "Init": true, "UTSMode": "host", "Tmpfs": {"/x": "size=1m"}, "IOMaximumIOps": 0,
            },
            "NetworkingConfig": {"EndpointsConfig": {"default": {"IPAMConfig": null, "Links": null, "Aliases": ["x"],
                "MacAddress": "", "DriverOpts": null, "GwPriority": 0}, "other": null}},
            "Unknown": {"deep": [null]},
        }))
        .unwrap();
        assert_eq!(config.cmd, Some(vec!["sh".into(), "-c".into(), "true".into()]));
        assert!(config.tty && config.env.is_empty() && config.entrypoint.is_none());
        assert_eq!(
            config
                .exposed_ports
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            ["80/tcp"]
        );
        assert_eq!(config.volumes.iter().collect::<Vec<_>>(), ["/data"]);
        assert_eq!(config.stop_timeout, Some(3));
        assert_eq!(host.port_bindings.len(), 2);
        assert_eq!(host.restart_policy.maximum_retry_count, 3);
        assert_eq!(host.console_size, Some([24, 80]));
        assert_eq!(
            (host.resources.memory, host.resources.nano_cpus),
            (67_108_864, 500_000_000)
        );
        assert_eq!(
            (host.resources.memory_swappiness, host.resources.pids_limit),
            (None, None)
        );
        assert!(host.resources.blkio_weight_device.is_empty());
        assert_eq!(host.mounts[0].volume_options.as_ref().unwrap().driver, "local");
        assert_eq!(host.mounts[1].tmpfs_options.as_ref().unwrap().mode, 448);
        assert_eq!(
            host.mounts[2].bind_options.as_ref().unwrap().propagation,
            "rslave"
        );
        assert_eq!((host.uts_mode.as_str(), host.init), ("host", Some(true)));
        assert_eq!(networks["default"].aliases, ["x"]);
        assert!(networks.contains_key("other"));
    }

    #[test]
    fn other_clients_send_nulls_and_words() {
        let (config, ..) = read(json!({
            "Image": "debian", "Hostname": null, "User": null, "Tty": null, "Cmd": "true", "Entrypoint": ["", "x"],
            "Labels": null, "StopSignal": "", "HostConfig": null, "NetworkingConfig": null,
        }))
        .unwrap();
        assert_eq!(config.cmd, Some(vec!["true".into()]));
        assert_eq!(config.stop_signal, None);
    }

    #[test]
    fn refusals() {
        for value in [
            json!({"Tty": "yes"}),
            json!({"Env": "A=b"}),
            json!({"Cmd": 5}),
            json!({"ExposedPorts": {"http": {}}}),
            json!({"HostConfig": {"Memory": "1g"}}),
            json!({"HostConfig": {"Memory": 1.5}}),
            json!({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": 80}]}}}),
            json!({"HostConfig": {"RestartPolicy": {"Name": "sometimes"}}}),
            json!({"HostConfig": {"Mounts": [{"Type": "cloud", "Target": "/x"}]}}),
            json!([]),
            json!("x"),
        ] {
            assert!(read(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn blkio_and_devices_are_noticed() {
        let (_, host, _) =
            read(json!({"HostConfig": {"BlkioDeviceReadIOps": [{"Path": "/dev/sda", "Rate": 1}], "DeviceRequests": [{}]}}))
                .unwrap();
        assert_eq!(host.resources.blkio_device_read_iops[0].path, "/dev/sda");
        assert!(host.resources.device_requests);
    }

    #[test]
    fn updates() {
        let text =
            r#"{"Memory": 5, "RestartPolicy": {"Name": "", "MaximumRetryCount": 0}, "PidsLimit": null}"#;
        let body: UpdateBody = request_json::read(text.as_bytes()).unwrap().unwrap();
        let update = UpdateContainer::try_from(body).unwrap();
        assert_eq!(update.resources.memory, 5);
        assert!(update.restart_policy.is_none());
    }
}
