//! What the engine asks for, and the OCI runtime specification made of it.

mod capability;
mod device;
mod filter;
mod mount;
mod oci;
mod place;
mod seccomp;
mod stage;
mod user;

use std::collections::BTreeMap;
use std::path::PathBuf;

use havre_sys::userns::IdMap;
use serde::{Deserialize, Serialize};

use crate::external::ExternalRuntime;
use crate::logs::LogFormat;
use crate::shim_client::AttachRequest;

pub use oci::{MASKED_PATHS, READONLY_PATHS};
pub use user::{User, resolve_user};

pub(crate) use capability::{all as all_capabilities, sets as capability_sets};
pub(crate) use filter::{Filter, Filters};
pub(crate) use oci::{bundle, check_id, working_directory_error};
pub(crate) use stage::{Source, Stage};

/// Everything about one container, as the engine has decided it (image configuration and options merged).
/// [`ContainerSpec::new`] fills in Docker's defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// 1 … 64 characters of `[a-zA-Z0-9_.-]`.
    pub id: String,
    /// The mounted root file system on the host.
    pub rootfs: PathBuf,
    /// Program and arguments; at least one.
    pub args: Vec<String>,
    /// `NAME=value`. PATH, HOSTNAME, HOME and (with a terminal) TERM are added when missing.
    pub env: Vec<String>,
    /// Absolute; made if missing. Empty is `/`.
    pub cwd: String,
    /// `user`, `uid`, `user:group`, `uid:gid`, or empty: looked up in the rootfs.
    pub user: String,
    /// Group names or ids added to the user's own.
    pub additional_groups: Vec<String>,
    pub hostname: String,
    pub domainname: String,
    pub tty: bool,
    /// Width and height of the terminal at start, in characters.
    pub tty_size: Option<(u16, u16)>,
    /// Keep standard input open for attached clients; otherwise it is /dev/null.
    pub stdin: bool,
    /// Close standard input when the first client that attached it leaves.
    pub stdin_once: bool,
    /// Run a small init as process 1 that reaps and forwards signals.
    pub init: bool,
    pub mounts: Vec<Mount>,
    pub readonly_rootfs: bool,
    pub privileged: bool,
    /// With or without `CAP_`, any case; `ALL`.
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub seccomp: Seccomp,
    pub no_new_privileges: bool,
    /// `None`: Docker's defaults (none at all if privileged).
    pub masked_paths: Option<Vec<String>>,
    pub readonly_paths: Option<Vec<String>>,
    pub rlimits: Vec<Rlimit>,
    pub resources: Resources,
    pub devices: Vec<Device>,
    /// Extra device cgroup rules, as Docker's `c 42:* rmw`.
    pub device_cgroup_rules: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub oom_score_adj: Option<i32>,
    /// Bytes of /dev/shm; 64 MiB by default, nothing is mounted there when 0.
    pub shm_size: u64,
    pub network: NetworkNamespace,
    pub pid_mode: NamespaceMode,
    pub ipc_mode: NamespaceMode,
    pub uts_mode: NamespaceMode,
    pub cgroup_mode: NamespaceMode,
    pub log: LogConfig,
    /// Annotations written into the OCI specification.
    pub annotations: BTreeMap<String, String>,
    /// The cgroup its own is in; `None`: that of the runtime.
    pub cgroup_parent: Option<String>,
    /// Made by this runtime of the host; `None`: by the shim itself.
    pub runtime: Option<ExternalRuntime>,
    /// The ids of the user namespace that [`network`](Self::network) belongs to, which is then the container's, and with whose
    /// root's owner the root file system is mounted. `None` is the host's.
    #[serde(default)]
    pub user_namespace: Option<IdMap>,
}

impl ContainerSpec {
    /// A container with Docker's defaults: private namespaces, default capabilities and seccomp profile, no limits.
    pub fn new(id: impl Into<String>, rootfs: impl Into<PathBuf>, args: Vec<String>) -> Self {
        let id = id.into();
        let hostname = id.chars().take(12).collect();
        ContainerSpec {
            id,
            rootfs: rootfs.into(),
            args,
            env: Vec::new(),
            cwd: String::new(),
            user: String::new(),
            additional_groups: Vec::new(),
            hostname,
            domainname: String::new(),
            tty: false,
            tty_size: None,
            stdin: false,
            stdin_once: false,
            init: false,
            mounts: Vec::new(),
            readonly_rootfs: false,
            privileged: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            seccomp: Seccomp::Default,
            no_new_privileges: false,
            masked_paths: None,
            readonly_paths: None,
            rlimits: Vec::new(),
            resources: Resources::default(),
            devices: Vec::new(),
            device_cgroup_rules: Vec::new(),
            sysctls: BTreeMap::new(),
            oom_score_adj: None,
            shm_size: 64 << 20,
            network: NetworkNamespace::Private,
            pid_mode: NamespaceMode::Private,
            ipc_mode: NamespaceMode::Private,
            uts_mode: NamespaceMode::Private,
            // As Docker: private on cgroup v2, where it is cheap and safe to show, the host's on v1.
            cgroup_mode: if crate::cgroup::is_v2() {
                NamespaceMode::Private
            } else {
                NamespaceMode::Host
            },
            log: LogConfig::default(),
            annotations: BTreeMap::new(),
            cgroup_parent: None,
            runtime: None,
            user_namespace: None,
        }
    }
}

/// Another process in a running container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Chosen by the engine, unique within the container.
    pub id: String,
    pub args: Vec<String>,
    /// Complete environment, the container's own included.
    pub env: Vec<String>,
    /// Empty is the container's.
    pub cwd: String,
    /// Empty is the container's.
    pub user: String,
    pub tty: bool,
    pub tty_size: Option<(u16, u16)>,
    pub privileged: bool,
    /// Which streams the connection carries; the others are /dev/null.
    pub attach: AttachRequest,
}

/// Something mounted over the rootfs; the destination is resolved beneath it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container; made if missing.
    pub destination: String,
    pub kind: MountKind,
    pub readonly: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum MountKind {
    /// A host file or directory, which must exist.
    Bind {
        source: PathBuf,
        propagation: Propagation,
        recursive: bool,
        /// In a user namespace, owners are shifted by it; otherwise the host's show through.
        shifted: bool,
    },
    /// Options as Docker's `--tmpfs`: `size=64m`, `mode=1777`, `uid=`, `gid=`, `exec`, `noexec`, `ro` …
    Tmpfs { options: Vec<String> },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    #[default]
    RPrivate,
    Private,
    RShared,
    Shared,
    RSlave,
    Slave,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub enum Seccomp {
    /// Docker's default profile (none if privileged).
    #[default]
    Default,
    Unconfined,
    /// A profile in Docker's JSON form, its text.
    Profile(String),
}

/// A resource limit: `name` as in `nofile`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rlimit {
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

impl Rlimit {
    /// The limits of setrlimit(2).
    pub const NAMES: [&str; 16] = [
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
}

/// Limits; `None` is none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<i64>,
    /// Memory and swap together, bytes; -1 is unlimited.
    pub memory_swap: Option<i64>,
    pub memory_reservation: Option<i64>,
    pub memory_swappiness: Option<u64>,
    pub oom_kill_disable: bool,
    /// Billionths of a CPU (`--cpus 1.5` is 1_500_000_000).
    pub nano_cpus: Option<i64>,
    pub cpu_shares: Option<u64>,
    /// Microseconds.
    pub cpu_quota: Option<i64>,
    pub cpu_period: Option<u64>,
    /// Microseconds that programs of the real-time classes may run in each period, of a second unless it is given (cgroup
    /// version 1 only).
    pub cpu_rt_runtime: Option<i64>,
    pub cpu_rt_period: Option<u64>,
    pub cpuset_cpus: Option<String>,
    pub cpuset_mems: Option<String>,
    pub pids: Option<i64>,
    pub blkio_weight: Option<u16>,
    pub block: BlockLimits,
}

/// Limits of block I/O by device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockLimits {
    /// 10 to 1000.
    pub weight: Vec<BlockLimit>,
    /// Bytes a second.
    pub read_bps: Vec<BlockLimit>,
    pub write_bps: Vec<BlockLimit>,
    /// Operations a second.
    pub read_iops: Vec<BlockLimit>,
    pub write_iops: Vec<BlockLimit>,
}

impl BlockLimits {
    /// Every limit there is.
    pub fn all(&self) -> impl Iterator<Item = &BlockLimit> {
        [
            &self.weight,
            &self.read_bps,
            &self.write_bps,
            &self.read_iops,
            &self.write_iops,
        ]
        .into_iter()
        .flatten()
    }
}

/// One of them; `path` is a block device of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockLimit {
    pub path: PathBuf,
    pub value: u64,
}

/// A host device in the container; permissions of `rwm`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Device {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    pub permissions: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub enum NetworkNamespace {
    /// A new one with only a loopback interface (`--network none`).
    #[default]
    Private,
    Host,
    /// An existing one (made by havre-network, or `/proc/<pid>/ns/net`).
    Path(PathBuf),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub enum NamespaceMode {
    #[default]
    Private,
    Host,
    /// The namespace of the container whose init has this process id on the host.
    Of(i32),
}

/// The log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LogConfig {
    /// `None`: nothing is kept. Its directory is made.
    pub path: Option<PathBuf>,
    pub format: LogFormat,
    /// Bytes after which the file is rotated; `None` is never.
    pub max_size: Option<u64>,
    /// How many files exist at most, the current one included; 0 and 1 mean the current one alone.
    pub max_files: u32,
    /// Rotated files are packed with gzip.
    pub compress: bool,
    /// What every entry says of the container (the json-file form only).
    pub attributes: BTreeMap<String, String>,
}

/// The specification asks for something impossible or unsupported.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error(
        "invalid container id {id:?}: 1 to 64 letters, digits, '_', '.' and '-', starting with a letter or digit"
    )]
    Id { id: String },
    #[error("no command specified")]
    NoCommand,
    /// Program, argument, variable or path with a NUL byte.
    #[error("{what} contains a NUL byte")]
    Nul { what: &'static str },
    #[error("invalid {field}: unknown capability: {name:?}")]
    Capability { field: &'static str, name: String },
    #[error(
        "invalid CapAdd: capability not supported by your kernel or not available in the current environment: {name:?}"
    )]
    CapabilityUnavailable { name: String },
    #[error("decoding seccomp profile failed: {detail}")]
    SeccompProfile { detail: String },
    #[error("unable to find user {name}: no matching entries in passwd file")]
    UnknownUser { name: String },
    #[error("unable to find group {name}: no matching entries in group file")]
    UnknownGroup { name: String },
    #[error("uids and gids must be in range 0-2147483647")]
    IdRange,
    #[error("the working directory '{path}' is invalid, it needs to be an absolute path")]
    WorkingDirectory { path: String },
    #[error("create the working directory {path}")]
    CreateWorkingDirectory { path: String, source: std::io::Error },
    #[error("open the root file system {path}")]
    Rootfs { path: PathBuf, source: std::io::Error },
    #[error("invalid mount path: '{path}' mount path must be absolute")]
    MountPath { path: String },
    /// A place the runtime needs for itself, or one the image has made unfit.
    #[error("cannot mount at {path}: {reason}")]
    MountPoint { path: String, reason: &'static str },
    #[error("cannot mount at {path}: {source}")]
    ResolveMountPoint { path: String, source: std::io::Error },
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {}", .path.display())]
    BindSource { path: PathBuf, source: std::io::Error },
    #[error("invalid tmpfs option {option:?} for {destination}")]
    TmpfsOption { destination: String, option: String },
    #[error("invalid ulimit type: {name}")]
    Rlimit { name: String },
    #[error("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")]
    RlimitOrder { soft: u64, hard: u64 },
    #[error("error gathering device information while adding custom device {path:?}: {reason}")]
    Device { path: PathBuf, reason: String },
    #[error("invalid device cgroup rule format: '{rule}'")]
    DeviceRule { rule: String },
    #[error("sysctl {name:?} is not in a separate kernel namespace")]
    Sysctl { name: String },
    #[error("invalid resource limit: {detail}")]
    Resource { detail: &'static str },
    /// A process of a user namespace that would have no id outside.
    #[error(
        "the container's user namespace has no {what} {id}: give userns-remap more ids in /etc/sub{what}, or use --userns host"
    )]
    NotMapped { what: &'static str, id: u32 },
    #[error("no process {pid} whose {namespace} namespace could be shared")]
    NamespaceGone { pid: i32, namespace: &'static str },
    #[error("{what} is not supported")]
    Unsupported { what: &'static str },
    #[error(
        "--init with a runtime of the host needs docker-init, tini-static or catatonit there: install one of them, or leave \
         --runtime out"
    )]
    NoInit,
}
