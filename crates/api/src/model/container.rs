//! Containers in lists and in `inspect`.

use std::collections::BTreeMap;

use havre_engine::{
    ChangeKind, ContainerSummary, ContainerView, EndpointView, Health, MountPoint, NetworkView, PortBinding,
    PortSummary, StateView, Status,
};
use serde::{Serialize, Serializer};

use super::config::ConfigView;
use super::host_config::HostConfigView;
use super::non_empty;
use crate::time;

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InspectView {
    id: String,
    created: String,
    path: String,
    args: Vec<String>,
    state: State,
    image: String,
    resolv_conf_path: String,
    hostname_path: String,
    hosts_path: String,
    log_path: String,
    name: String,
    restart_count: u64,
    driver: String,
    platform: String,
    mount_label: String,
    process_label: String,
    app_armor_profile: String,
    #[serde(rename = "ExecIDs")]
    exec_ids: Option<Vec<String>>,
    host_config: HostConfigView,
    graph_driver: GraphDriver,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<u64>,
    #[serde(serialize_with = "mounts")]
    mounts: Vec<MountPoint>,
    config: ConfigView,
    network_settings: NetworkSettings,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: &'static str,
    running: bool,
    paused: bool,
    restarting: bool,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    dead: bool,
    pid: i64,
    exit_code: i64,
    error: String,
    started_at: String,
    finished_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HealthView {
    status: &'static str,
    failing_streak: u64,
    log: Vec<ProbeView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProbeView {
    start: String,
    end: String,
    exit_code: i64,
    output: String,
}

impl From<Health> for HealthView {
    fn from(health: Health) -> Self {
        let probes = health.log.into_iter().map(|probe| ProbeView {
            start: probe.start.to_string(),
            end: probe.end.to_string(),
            exit_code: probe.exit_code,
            output: probe.output,
        });
        Self {
            status: health.status.as_str(),
            failing_streak: health.failing_streak,
            log: probes.collect(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GraphDriver {
    pub(crate) data: Option<BTreeMap<String, String>>,
    pub(crate) name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Mount<'a> {
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    source: &'a str,
    destination: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    driver: &'a str,
    mode: &'a str,
    #[serde(rename = "RW")]
    rw: bool,
    propagation: &'a str,
}

#[derive(Debug, Serialize)]
struct NetworkSettings {
    #[serde(rename = "Bridge")]
    bridge: &'static str,
    #[serde(rename = "SandboxID")]
    sandbox_id: String,
    #[serde(rename = "SandboxKey")]
    sandbox_key: String,
    #[serde(rename = "Ports")]
    ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    #[serde(rename = "HairpinMode")]
    hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    link_local_ipv6_address: &'static str,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    link_local_ipv6_prefix_len: u8,
    #[serde(rename = "SecondaryIPAddresses")]
    secondary_ip_addresses: Option<()>,
    #[serde(rename = "SecondaryIPv6Addresses")]
    secondary_ipv6_addresses: Option<()>,
    // The default network's endpoint again, as in the time before networks had names.
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    #[serde(rename = "Gateway")]
    gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    #[serde(rename = "IPAddress")]
    ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: String,
    #[serde(rename = "MacAddress")]
    mac_address: String,
    #[serde(rename = "Networks", serialize_with = "networks")]
    networks: BTreeMap<String, EndpointView>,
}

/// What was asked for.
#[derive(Debug, Serialize)]
struct IpamConfig<'a> {
    #[serde(rename = "IPv4Address", skip_serializing_if = "str::is_empty")]
    ipv4_address: &'a str,
    #[serde(rename = "IPv6Address", skip_serializing_if = "str::is_empty")]
    ipv6_address: &'a str,
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "<[String]>::is_empty")]
    link_local: &'a [String],
}

#[derive(Debug, Serialize)]
struct Endpoint<'a> {
    #[serde(rename = "IPAMConfig")]
    ipam_config: Option<IpamConfig<'a>>,
    #[serde(rename = "Links")]
    links: Option<&'a [String]>,
    #[serde(rename = "Aliases")]
    aliases: Option<&'a [String]>,
    #[serde(rename = "MacAddress")]
    mac_address: &'a str,
    #[serde(rename = "DriverOpts")]
    driver_opts: Option<&'a BTreeMap<String, String>>,
    #[serde(rename = "GwPriority")]
    gateway_priority: i64,
    #[serde(rename = "NetworkID")]
    network_id: &'a str,
    #[serde(rename = "EndpointID")]
    endpoint_id: &'a str,
    #[serde(rename = "Gateway")]
    gateway: &'a str,
    #[serde(rename = "IPAddress")]
    ip_address: &'a str,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: &'a str,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: &'a str,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    #[serde(rename = "DNSNames")]
    dns_names: Option<&'a [String]>,
}

impl<'a> From<&'a EndpointView> for Endpoint<'a> {
    fn from(view: &'a EndpointView) -> Self {
        let some = |list: &'a [String]| (!list.is_empty()).then_some(list);
        let config = &view.config;
        let asked = [&config.ipv4_address, &config.ipv6_address]
            .iter()
            .any(|ip| !ip.is_empty())
            || !config.link_local_addresses.is_empty();
        Self {
            ipam_config: asked.then_some(IpamConfig {
                ipv4_address: &config.ipv4_address,
                ipv6_address: &config.ipv6_address,
                link_local: &config.link_local_addresses,
            }),
            links: some(&config.links),
            aliases: some(&view.aliases),
            mac_address: &view.mac_address,
            driver_opts: (!config.driver_opts.is_empty()).then_some(&config.driver_opts),
            gateway_priority: view.config.gateway_priority,
            network_id: &view.network_id,
            endpoint_id: &view.endpoint_id,
            gateway: &view.gateway,
            ip_address: &view.ip_address,
            ip_prefix_len: view.ip_prefix_len,
            ipv6_gateway: &view.ipv6_gateway,
            global_ipv6_address: &view.global_ipv6_address,
            global_ipv6_prefix_len: view.global_ipv6_prefix_len,
            dns_names: some(&view.dns_names),
        }
    }
}

fn networks<S: Serializer>(
    networks: &BTreeMap<String, EndpointView>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let endpoints = networks.iter();
    serializer.collect_map(endpoints.map(|(name, view)| (name, Endpoint::from(view))))
}

impl From<NetworkView> for NetworkSettings {
    fn from(view: NetworkView) -> Self {
        let default = view.networks.get("bridge").cloned().unwrap_or_default();
        Self {
            bridge: "",
            sandbox_id: view.sandbox_id,
            sandbox_key: view.sandbox_key,
            ports: view
                .ports
                .into_iter()
                .map(|(port, list)| (port.to_string(), non_empty(list)))
                .collect(),
            hairpin_mode: false,
            link_local_ipv6_address: "",
            link_local_ipv6_prefix_len: 0,
            secondary_ip_addresses: None,
            secondary_ipv6_addresses: None,
            endpoint_id: default.endpoint_id,
            gateway: default.gateway,
            global_ipv6_address: default.global_ipv6_address,
            global_ipv6_prefix_len: default.global_ipv6_prefix_len,
            ip_address: default.ip_address,
            ip_prefix_len: default.ip_prefix_len,
            ipv6_gateway: default.ipv6_gateway,
            mac_address: default.mac_address,
            networks: view.networks,
        }
    }
}

impl<'a> From<&'a MountPoint> for Mount<'a> {
    fn from(mount: &'a MountPoint) -> Self {
        Self {
            kind: mount.kind.as_str(),
            name: &mount.name,
            source: &mount.source,
            destination: &mount.destination,
            driver: &mount.driver,
            mode: &mount.mode,
            rw: mount.rw,
            propagation: &mount.propagation,
        }
    }
}

fn mounts<S: Serializer>(mounts: &[MountPoint], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(mounts.iter().map(Mount::from))
}

impl From<StateView> for State {
    fn from(state: StateView) -> Self {
        Self {
            status: state.status.as_str(),
            running: state.is_running(),
            paused: state.status == Status::Paused,
            restarting: state.status == Status::Restarting,
            oom_killed: state.oom_killed,
            dead: state.status == Status::Dead,
            pid: state.pid,
            exit_code: state.exit_code,
            error: state.error,
            started_at: time::or_never(state.started_at),
            finished_at: time::or_never(state.finished_at),
            health: state.health.map(Into::into),
        }
    }
}

impl From<ContainerView> for InspectView {
    fn from(view: ContainerView) -> Self {
        Self {
            id: view.id,
            created: view.created.to_string(),
            path: view.path,
            args: view.args,
            state: view.state.into(),
            image: view.image.to_string(),
            resolv_conf_path: view.resolv_conf_path,
            hostname_path: view.hostname_path,
            hosts_path: view.hosts_path,
            log_path: view.log_path,
            name: view.name,
            restart_count: view.restart_count,
            driver: view.driver.clone(),
            platform: view.platform,
            mount_label: view.mount_label,
            process_label: view.process_label,
            app_armor_profile: view.apparmor_profile,
            exec_ids: non_empty(view.exec_ids),
            host_config: view.host_config.into(),
            graph_driver: GraphDriver {
                data: non_empty(view.graph_driver),
                name: view.driver,
            },
            size_rw: view.size_rw,
            size_root_fs: view.size_root_fs,
            mounts: view.mounts,
            config: view.config.into(),
            network_settings: view.network.into(),
        }
    }
}

/// The containers of a list, written without being copied.
pub(crate) struct Summaries {
    pub(crate) containers: Vec<ContainerSummary>,
    /// Each tells its health in a field of its own.
    pub(crate) health: bool,
}

impl Serialize for Summaries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.containers.iter().map(|container| {
            let mut view = SummaryView::from(container);
            view.health = self.health.then(|| match container.health {
                Some((status, failing_streak)) => SummaryHealth {
                    status: status.as_str(),
                    failing_streak,
                },
                None => SummaryHealth {
                    status: "none",
                    failing_streak: 0,
                },
            });
            view
        }))
    }
}

/// One container of a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SummaryView<'a> {
    id: &'a str,
    names: &'a [String],
    image: &'a str,
    #[serde(rename = "ImageID")]
    image_id: &'a str,
    command: &'a str,
    created: i64,
    #[serde(serialize_with = "ports")]
    ports: &'a [PortSummary],
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<u64>,
    labels: &'a BTreeMap<String, String>,
    state: &'static str,
    status: &'a str,
    host_config: SummaryHostConfig<'a>,
    network_settings: SummaryNetworkSettings<'a>,
    #[serde(serialize_with = "mounts")]
    mounts: &'a [MountPoint],
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<SummaryHealth>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SummaryHealth {
    status: &'static str,
    failing_streak: u64,
}

#[derive(Debug, Serialize)]
struct PortView<'a> {
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    ip: Option<&'a str>,
    #[serde(rename = "PrivatePort")]
    private: u16,
    #[serde(rename = "PublicPort", skip_serializing_if = "Option::is_none")]
    public: Option<u16>,
    #[serde(rename = "Type")]
    kind: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SummaryHostConfig<'a> {
    network_mode: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SummaryNetworkSettings<'a> {
    #[serde(serialize_with = "networks")]
    networks: &'a BTreeMap<String, EndpointView>,
}

impl<'a> From<&'a PortSummary> for PortView<'a> {
    fn from(port: &'a PortSummary) -> Self {
        Self {
            ip: port.ip.as_deref(),
            private: port.private_port,
            public: port.public_port,
            kind: port.protocol,
        }
    }
}

fn ports<S: Serializer>(ports: &[PortSummary], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ports.iter().map(PortView::from))
}

impl<'a> From<&'a ContainerSummary> for SummaryView<'a> {
    fn from(summary: &'a ContainerSummary) -> Self {
        Self {
            id: &summary.id,
            names: &summary.names,
            image: &summary.image,
            image_id: summary.image_id.as_str(),
            command: &summary.command,
            created: summary.created.as_second(),
            ports: &summary.ports,
            size_rw: summary.size_rw.filter(|size| *size > 0),
            size_root_fs: summary.size_root_fs.filter(|size| *size > 0),
            labels: &summary.labels,
            state: summary.status.as_str(),
            status: &summary.status_text,
            host_config: SummaryHostConfig {
                network_mode: &summary.network_mode,
            },
            network_settings: SummaryNetworkSettings {
                networks: &summary.networks,
            },
            mounts: &summary.mounts,
            health: None,
        }
    }
}

/// One changed path of a container's file system.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ChangeView {
    path: String,
    kind: u8,
}

impl From<havre_engine::Change> for ChangeView {
    fn from(change: havre_engine::Change) -> Self {
        let kind = match change.kind {
            ChangeKind::Modified => 0,
            ChangeKind::Added => 1,
            ChangeKind::Deleted => 2,
        };
        Self {
            path: change.path,
            kind,
        }
    }
}
