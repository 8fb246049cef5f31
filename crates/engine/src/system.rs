//! `info`, `version`, `df`, `login`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use fs_err as fs;
use havre_oci::{Digest, Platform};
use havre_store::{Form, Store, Verify};
use jiff::Timestamp;

use crate::error::blocking;
use crate::{
    ConfigFile, ContainerSummary, Containers, Events, ExternalRuntime, ListOptions, Result, Undo,
    VolumeUsage, Volumes, platforms,
};

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
    /// By name; the engine's own has no program.
    pub runtimes: BTreeMap<String, Option<ExternalRuntime>>,
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
    /// Bytes on disk of all layers but those that only the build cache has, each counted once, and of the compressed forms
    /// that are kept beside them.
    pub layers_size: u64,
    /// How much of it is neither in an image that a container uses nor can't be had again.
    pub layers_reclaimable: u64,
    /// How much of it are compressed forms.
    pub compressed_size: u64,
    /// How many images there are, as lists count them, and how many of them containers use.
    pub images: (u64, u64),
    pub containers: Vec<ContainerSummary>,
    pub volumes: Vec<VolumeUsage>,
    pub build_cache: Vec<BuildCacheEntry>,
    /// Number and bytes of things that were removed and can be brought back.
    pub removed: (u64, u64),
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
pub struct System(Arc<Inner>);

pub(crate) struct Inner {
    pub undo: Undo,
    pub store: Arc<Store>,
    pub containers: Containers,
    pub volumes: Volumes,
    pub events: Events,
    pub config: ConfigFile,
    /// Stays the same for the life of the root directory.
    pub id: String,
    pub address_pools: Vec<(String, u8)>,
    pub log_driver: String,
}

impl System {
    pub(crate) fn new(inner: Inner) -> Self {
        System(Arc::new(inner))
    }

    pub async fn info(&self) -> Result<SystemInfo> {
        let system = self.clone();
        blocking(move || system.0.info()).await
    }

    pub fn version(&self) -> VersionInfo {
        version()
    }

    /// The platforms whose programs run here, the host's first.
    pub async fn platforms(&self) -> Result<Vec<Platform>> {
        blocking(|| Ok(platforms::platforms())).await
    }

    /// Sizes of layers, containers, volumes and build cache. Volumes are walked; the rest is known.
    pub async fn disk_usage(&self) -> Result<DiskUsage> {
        let containers = self
            .0
            .containers
            .list(ListOptions {
                all: true,
                size: true,
                ..ListOptions::default()
            })
            .await?;
        let system = self.clone();
        blocking(move || {
            let inner = &system.0;
            let layers = LayerUsage::read(&inner.store, &containers)?;
            Ok(DiskUsage {
                layers_size: layers.in_images + layers.compressed,
                layers_reclaimable: layers.unused + layers.compressed,
                compressed_size: layers.compressed,
                images: (layers.images, layers.images_in_use),
                containers,
                volumes: inner.volumes.usage(),
                build_cache: layers.build_cache,
                removed: inner.undo.held()?,
            })
        })
        .await
    }
}

/// What layers take up, each byte counted once.
struct LayerUsage {
    /// Of images, or of nothing but a container or a pull in progress.
    in_images: u64,
    /// Of them: of no image that a container uses.
    unused: u64,
    /// Compressed forms.
    compressed: u64,
    images: u64,
    images_in_use: u64,
    /// An entry that is not shared has the layers that no image and no entry before it has.
    build_cache: Vec<BuildCacheEntry>,
}

impl LayerUsage {
    fn read(store: &Store, containers: &[ContainerSummary]) -> Result<Self> {
        let used: HashSet<&Digest> = containers.iter().map(|container| &container.image_id).collect();
        let in_images: HashSet<Digest> = store.meta().layers_of_images()?.into_iter().collect();
        let listed = store.meta().listed_images()?;
        let images_in_use = listed.iter().filter(|image| used.contains(image)).count() as u64;
        let mut in_use = HashSet::new();
        for image in used {
            let image = store.meta().find_image(image)?;
            in_use.extend(image.into_iter().flat_map(|image| image.layers));
        }
        let sizes: HashMap<Digest, u64> = store
            .layers()
            .list()?
            .into_iter()
            .map(|layer| (layer.diff_id.clone(), layer.disk_size()))
            .collect();
        let kept: HashSet<Digest> = store.removals().held_layers()?.into_iter().collect();
        let mut cached = HashSet::new();
        let build_cache = store.meta().cache_list()?.into_iter().map(|entry| {
            let size_of = |layer: &Digest| sizes.get(layer).copied().unwrap_or(0);
            let made = entry.record.layers.last();
            let shared = made.is_some_and(|layer| in_images.contains(layer) || cached.contains(layer));
            let size = match made.filter(|_| shared) {
                Some(layer) if entry.record.size > 0 => size_of(layer),
                Some(_) => 0,
                None => {
                    let layers = entry.record.layers.iter();
                    let own = layers.filter(|layer| !in_images.contains(*layer) && !cached.contains(*layer));
                    own.map(size_of).sum()
                }
            };
            cached.extend(entry.record.layers);
            BuildCacheEntry {
                id: entry.key,
                parent: None,
                kind: "regular".to_owned(),
                description: String::new(),
                in_use: false,
                shared,
                size,
                created: entry.created,
                last_used: Some(entry.last_used),
                usage_count: entry.hits,
            }
        });
        let build_cache = build_cache.collect();
        let sum = |counted: &dyn Fn(&Digest) -> bool| -> u64 {
            let counted = sizes.iter().filter(|(layer, _)| counted(layer));
            counted.map(|(_, size)| size).sum()
        };
        // What was removed and can be brought back has a row of its own.
        let elsewhere =
            |layer: &Digest| kept.contains(layer) || cached.contains(layer) && !in_images.contains(layer);
        Ok(Self {
            in_images: sum(&|layer| !elsewhere(layer)),
            unused: sum(&|layer| in_images.contains(layer) && !in_use.contains(layer)),
            images: listed.len() as u64,
            images_in_use,
            compressed: store.compressed_size()?,
            build_cache,
        })
    }
}

fn version() -> VersionInfo {
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    VersionInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: option_env!("HAVRE_GIT_COMMIT").unwrap_or_default().to_owned(),
        build_time: option_env!("HAVRE_BUILD_TIME").unwrap_or_default().to_owned(),
        os: "linux".to_owned(),
        arch: havre_oci::Platform::host().architecture,
        kernel_version: text(uname.release()),
        components: vec![Component {
            name: "Engine".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            details: BTreeMap::from([
                ("Arch".to_owned(), havre_oci::Platform::host().architecture),
                ("Os".to_owned(), "linux".to_owned()),
                ("KernelVersion".to_owned(), text(uname.release())),
            ]),
        }],
    }
}

impl Inner {
    fn info(&self) -> Result<SystemInfo> {
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let [total, running, paused, stopped] = self.containers.counts();
        let cgroups = Cgroups::read();
        let (name, version) = os_release();
        let mut warnings = Vec::new();
        for (there, what) in [
            (cgroups.memory, "memory limit"),
            (cgroups.swap, "swap limit"),
            (cgroups.pids, "pids limit"),
            (cgroups.quota, "cpu cfs quota"),
        ] {
            if !there {
                warnings.push(format!("WARNING: No {what} support"));
            }
        }
        let forwarding = read("/proc/sys/net/ipv4/ip_forward").trim() == "1";
        if !forwarding {
            warnings.push("WARNING: IPv4 forwarding is disabled".to_owned());
        }
        if self.store.verify() == Verify::Read {
            let layers = self.store.layers().list()?;
            let directories = layers.iter().filter(|layer| layer.form == Form::Directory);
            let count = directories.count();
            if count > 0 {
                warnings.push(format!(
                    "WARNING: {count} layers are directories, which no container gets with verify = \"read\": convert them with system migrate"
                ));
            }
        }
        let variable = |name: &str| {
            std::env::var(name)
                .or_else(|_| std::env::var(name.to_ascii_lowercase()))
                .unwrap_or_default()
        };
        let hosts = &self.config.registries;
        Ok(SystemInfo {
            id: self.id.clone(),
            containers: total,
            containers_running: running,
            containers_paused: paused,
            containers_stopped: stopped,
            images: self.store.meta().image_count()?,
            driver: crate::containers::DRIVER.to_owned(),
            driver_status: vec![
                (
                    "Layer Format".to_owned(),
                    self.store.layer_form().form.description().to_owned(),
                ),
                (
                    "Layer Format Reason".to_owned(),
                    self.store.layer_form().reason.clone(),
                ),
                (
                    "Layer Verification".to_owned(),
                    self.store.verify().description().to_owned(),
                ),
                (
                    "Backing Filesystem".to_owned(),
                    file_system(self.store.layout().root()),
                ),
            ],
            log_driver: self.log_driver.clone(),
            cgroup_driver: "cgroupfs".to_owned(),
            cgroup_version: if cgroups.unified { 2 } else { 1 },
            memory_limit: cgroups.memory,
            swap_limit: cgroups.swap,
            cpu_cfs_period: cgroups.quota,
            cpu_cfs_quota: cgroups.quota,
            cpu_shares: cgroups.cpu,
            cpu_set: cgroups.cpuset,
            pids_limit: cgroups.pids,
            oom_kill_disable: cgroups.memory && !cgroups.unified,
            ipv4_forwarding: forwarding,
            file_descriptors: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            threads: fs::read_dir("/proc/self/task").map_or(0, |entries| entries.count() as u64),
            system_time: Timestamp::now(),
            events_listeners: self.events.listeners() as u64,
            kernel_version: text(uname.release()),
            operating_system: name,
            os_version: version,
            os_type: "linux".to_owned(),
            architecture: text(uname.machine()),
            cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            memory_total: memory_total(),
            root_dir: self.store.layout().root().to_string_lossy().into_owned(),
            http_proxy: variable("HTTP_PROXY"),
            https_proxy: variable("HTTPS_PROXY"),
            no_proxy: variable("NO_PROXY"),
            name: text(uname.nodename()),
            labels: Vec::new(),
            experimental: false,
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            default_runtime: self.config.runtimes.name(""),
            runtimes: self.config.runtimes.all(),
            security_options: security_options(cgroups.unified, self.containers.remap().is_some()),
            init_binary: "havre".to_owned(),
            warnings,
            debug: self
                .config
                .log_level
                .as_deref()
                .is_some_and(|level| matches!(level, "debug" | "trace")),
            registry_mirrors: hosts
                .registry
                .get("docker.io")
                .map(|host| host.mirrors.clone())
                .unwrap_or_default(),
            insecure_registries: hosts
                .registry
                .iter()
                .filter(|(_, host)| host.insecure)
                .map(|(name, _)| name.clone())
                .chain(hosts.insecure_networks.iter().cloned())
                .collect(),
            address_pools: self.address_pools.clone(),
            cdi_spec_dirs: Vec::new(),
        })
    }
}

fn security_options(unified: bool, remapped: bool) -> Vec<String> {
    let mut options = vec!["name=seccomp,profile=builtin".to_owned()];
    // In Docker's order.
    if remapped {
        options.push("name=userns".to_owned());
    }
    if unified {
        options.push("name=cgroupns".to_owned());
    }
    options
}

/// Which controllers limit containers here.
#[derive(Debug, Default)]
struct Cgroups {
    unified: bool,
    memory: bool,
    swap: bool,
    cpu: bool,
    quota: bool,
    cpuset: bool,
    pids: bool,
}

impl Cgroups {
    fn read() -> Self {
        let unified = is_cgroup_v2();
        let exists = |path: &str| Path::new("/sys/fs/cgroup").join(path).exists();
        if unified {
            let controllers = read("/sys/fs/cgroup/cgroup.controllers");
            let has = |name: &str| {
                controllers
                    .split_whitespace()
                    .any(|controller| controller == name)
            };
            return Cgroups {
                unified,
                memory: has("memory"),
                // A file of every group but the root; the kernel has it when swap is accounted for.
                swap: has("memory") && !read("/proc/swaps").is_empty(),
                cpu: has("cpu"),
                quota: has("cpu"),
                cpuset: has("cpuset"),
                pids: has("pids"),
            };
        }
        Cgroups {
            unified,
            memory: exists("memory"),
            swap: exists("memory/memory.memsw.limit_in_bytes"),
            cpu: exists("cpu"),
            quota: exists("cpu/cpu.cfs_quota_us"),
            cpuset: exists("cpuset"),
            pids: exists("pids"),
        }
    }
}

/// The unified hierarchy alone, without the controllers of version 1.
pub(crate) fn is_cgroup_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn memory_total() -> u64 {
    let info = read("/proc/meminfo");
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Name and version of the distribution.
fn os_release() -> (String, String) {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_else(|_| read("/usr/lib/os-release"));
    let value = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    (
        value("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
        value("VERSION_ID").unwrap_or_default(),
    )
}

/// Type of the file system a directory lies on: the longest mount point above it wins.
fn file_system(path: &Path) -> String {
    let mounts = read("/proc/self/mounts");
    let kind = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.len());
    kind.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        assert!(memory_total() > 1 << 20);
        assert!(!os_release().0.is_empty());
        assert_eq!(file_system(Path::new("/proc/self")), "proc");
        let version = version();
        assert!(!version.kernel_version.is_empty() && !version.arch.is_empty());
        assert_eq!(Cgroups::read().unified, is_cgroup_v2());
    }
}
