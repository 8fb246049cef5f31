//! The engine and its host.

use std::collections::{BTreeMap, HashMap};

use bollard_stubs::models::{
    Commit, IndexInfo, LocalNodeState, PluginsInfo, RegistryServiceConfig, Runtime, SwarmInfo,
    SystemInfo as SystemInfoModel, SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum,
    SystemInfoDefaultAddressPools,
};
use havre_engine::{SystemInfo, VersionInfo};
use serde::Serialize;

use crate::version;

/// Where Docker Hub's accounts live; clients file credentials under it.
const HUB: &str = "https://index.docker.io/v1/";

/// `GET /info`
pub(crate) fn info(info: SystemInfo) -> SystemInfoModel {
    let count = |number: u64| i64::try_from(number).ok();
    let text = |text: &str| Some(text.to_owned());
    let index = |name: &str, secure: bool, official: bool, mirrors: Vec<String>| IndexInfo {
        name: Some(name.to_owned()),
        mirrors: Some(mirrors),
        secure: Some(secure),
        official: Some(official),
    };
    let mut indexes = HashMap::new();
    indexes.insert(
        "docker.io".to_owned(),
        index("docker.io", true, true, info.registry_mirrors.clone()),
    );
    for host in &info.insecure_registries {
        indexes
            .entry(host.clone())
            .or_insert_with(|| index(host, false, false, Vec::new()));
    }
    let runtimes = info.runtimes.into_iter().map(|(name, external)| {
        let (path, args) = match external {
            Some(external) => (external.path.to_string_lossy().into_owned(), external.args),
            None => (name.clone(), Vec::new()),
        };
        let runtime = Runtime {
            path: Some(path),
            runtime_args: Some(args).filter(|args| !args.is_empty()),
            status: None,
        };
        (name, runtime)
    });
    SystemInfoModel {
        id: Some(info.id),
        containers: count(info.containers),
        containers_running: count(info.containers_running),
        containers_paused: count(info.containers_paused),
        containers_stopped: count(info.containers_stopped),
        images: count(info.images),
        driver: Some(info.driver),
        driver_status: Some(
            info.driver_status
                .into_iter()
                .map(|(name, value)| vec![name, value])
                .collect(),
        ),
        docker_root_dir: Some(info.root_dir),
        plugins: Some(PluginsInfo {
            volume: Some(vec!["local".to_owned()]),
            network: Some(vec!["bridge".to_owned(), "host".to_owned(), "null".to_owned()]),
            authorization: None,
            log: Some(["json-file", "local", "none"].map(str::to_owned).to_vec()),
        }),
        memory_limit: Some(info.memory_limit),
        swap_limit: Some(info.swap_limit),
        cpu_cfs_period: Some(info.cpu_cfs_period),
        cpu_cfs_quota: Some(info.cpu_cfs_quota),
        cpu_shares: Some(info.cpu_shares),
        cpu_set: Some(info.cpu_set),
        pids_limit: Some(info.pids_limit),
        oom_kill_disable: Some(info.oom_kill_disable),
        ipv4_forwarding: Some(info.ipv4_forwarding),
        debug: Some(info.debug),
        nfd: count(info.file_descriptors),
        n_goroutines: count(info.threads),
        system_time: Some(info.system_time.to_string()),
        logging_driver: Some(info.log_driver),
        cgroup_driver: Some(match info.cgroup_driver.as_str() {
            "systemd" => SystemInfoCgroupDriverEnum::SYSTEMD,
            "none" => SystemInfoCgroupDriverEnum::NONE,
            _ => SystemInfoCgroupDriverEnum::CGROUPFS,
        }),
        cgroup_version: Some(match info.cgroup_version {
            1 => SystemInfoCgroupVersionEnum::_1,
            _ => SystemInfoCgroupVersionEnum::_2,
        }),
        n_events_listener: count(info.events_listeners),
        kernel_version: Some(info.kernel_version),
        operating_system: Some(info.operating_system),
        os_version: Some(info.os_version),
        os_type: Some(info.os_type),
        architecture: Some(info.architecture),
        ncpu: count(info.cpus),
        mem_total: count(info.memory_total),
        index_server_address: text(HUB),
        registry_config: Some(RegistryServiceConfig {
            insecure_registry_cidrs: Some(vec!["::1/128".to_owned(), "127.0.0.0/8".to_owned()]),
            index_configs: Some(indexes),
            mirrors: Some(info.registry_mirrors),
        }),
        generic_resources: None,
        http_proxy: Some(info.http_proxy),
        https_proxy: Some(info.https_proxy),
        no_proxy: Some(info.no_proxy),
        name: Some(info.name),
        labels: Some(info.labels),
        experimental_build: Some(info.experimental),
        server_version: Some(info.server_version),
        runtimes: Some(runtimes.collect()),
        default_runtime: Some(info.default_runtime),
        swarm: Some(SwarmInfo {
            node_id: text(""),
            node_addr: text(""),
            local_node_state: Some(LocalNodeState::INACTIVE),
            control_available: Some(false),
            error: text(""),
            ..SwarmInfo::default()
        }),
        // Containers outlive the daemon.
        live_restore_enabled: Some(true),
        isolation: None,
        init_binary: Some(info.init_binary),
        containerd_commit: Some(Commit { id: text("") }),
        runc_commit: Some(Commit { id: text("") }),
        init_commit: Some(Commit { id: text("") }),
        security_options: Some(info.security_options),
        default_address_pools: Some(
            info.address_pools
                .into_iter()
                .map(|(base, size)| SystemInfoDefaultAddressPools {
                    base: Some(base),
                    size: Some(size.into()),
                })
                .collect(),
        ),
        warnings: Some(info.warnings),
        cdi_spec_dirs: Some(info.cdi_spec_dirs),
        ..SystemInfoModel::default()
    }
}

/// `GET /version`
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VersionView {
    platform: Platform,
    components: Vec<Component>,
    version: String,
    api_version: String,
    #[serde(rename = "MinAPIVersion")]
    min_api_version: String,
    git_commit: String,
    go_version: &'static str,
    os: String,
    arch: String,
    kernel_version: String,
    build_time: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Platform {
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    name: String,
    version: String,
    details: BTreeMap<String, String>,
}

impl From<VersionInfo> for VersionView {
    fn from(info: VersionInfo) -> Self {
        let details = [
            ("ApiVersion", version::MAX.to_string()),
            ("MinAPIVersion", version::MIN.to_string()),
            ("Arch", info.arch.clone()),
            ("BuildTime", info.build_time.clone()),
            ("Experimental", "false".to_owned()),
            ("GitCommit", info.git_commit.clone()),
            // Clients print the line whether there is something or not.
            ("GoVersion", String::new()),
            ("KernelVersion", info.kernel_version.clone()),
            ("Os", info.os.clone()),
        ];
        let engine = Component {
            name: "Engine".to_owned(),
            version: info.version.clone(),
            details: details
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        };
        let parts = info
            .components
            .into_iter()
            .filter(|part| part.name != "Engine")
            .map(|part| Component {
                name: part.name,
                version: part.version,
                details: part.details,
            });
        Self {
            platform: Platform {
                name: format!("Havre {}", info.version),
            },
            components: std::iter::once(engine).chain(parts).collect(),
            version: info.version,
            api_version: version::MAX.to_string(),
            min_api_version: version::MIN.to_string(),
            git_commit: info.git_commit,
            go_version: "",
            os: info.os,
            arch: info.arch,
            kernel_version: info.kernel_version,
            build_time: info.build_time,
        }
    }
}

/// `GET /havre/builder`
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BuilderView {
    /// Of the engine.
    pub(crate) version: String,
    /// Whose programs run there, the engine's own first.
    pub(crate) platforms: Vec<havre_oci::Platform>,
}
