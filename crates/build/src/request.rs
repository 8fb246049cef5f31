//! What a build is asked to do.

use std::collections::BTreeMap;

use havre_oci::{Platform, Reference};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Where the Dockerfile's text comes from.
#[derive(Debug, Clone)]
pub enum DockerfileSource {
    /// A path inside the context (`-f`); Docker's default is `Dockerfile`. It may name a file that
    /// `.dockerignore` excludes.
    Path(String),
    /// The text itself (`docker build -`, or a client that read the file outside of the context). `name` is
    /// shown in error excerpts and names the special ignore file (`NAME.dockerignore`).
    Text { name: String, text: Vec<u8> },
}

impl Default for DockerfileSource {
    fn default() -> Self {
        DockerfileSource::Path("Dockerfile".to_owned())
    }
}

/// Limits and namespaces of the containers that carry out `RUN`. Zero and empty mean "not set", as in the
/// Engine API. Everything here goes to the executor unchanged and takes no part in cache keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes.
    pub memory: i64,
    /// Memory plus swap in bytes; -1 is unlimited swap.
    pub memory_swap: i64,
    pub cpu_shares: i64,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds.
    pub cpu_quota: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    /// Size of `/dev/shm` in bytes; 0 is the engine's default.
    pub shm_size: i64,
    pub ulimits: Vec<Ulimit>,
    /// The cgroup above those of the steps; empty is the engine's.
    pub cgroup_parent: String,
    /// `--security-opt`, as of containers.
    pub security_opt: Vec<String>,
}

/// One `--ulimit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

/// One build, as a client asked for it.
pub struct BuildRequest {
    /// The unpacked build context. It is kept until the build ends.
    pub context: Context,
    pub dockerfile: DockerfileSource,
    /// Names the image gets when everything has succeeded (tag included).
    pub tags: Vec<Reference>,
    /// `--build-arg`. `None` is a name given without a value and not set by the client: the Dockerfile's own
    /// default stays.
    pub build_args: BTreeMap<String, Option<String>>,
    /// Stage name or index to stop at; the last stage otherwise.
    pub target: Option<String>,
    pub no_cache: bool,
    /// Make one layer of what the build adds to its base.
    pub squash: bool,
    /// Images whose layers serve as results of the steps their history tells of. Those that are not here are skipped
    /// with a warning.
    pub cache_from: Vec<String>,
    /// Ask the registry for newer base images even when they are here.
    pub pull: bool,
    /// `--label`: added to the image as one more step at the end, as Docker does.
    pub labels: BTreeMap<String, String>,
    /// `--network` of `RUN` containers: `default` (or empty), `host`, `none`, `container:ID`, a network's name.
    pub network: String,
    /// `--platform`; the host's otherwise.
    pub platform: Option<Platform>,
    pub resources: Resources,
    /// `--add-host`, each `name:address`.
    pub extra_hosts: Vec<String>,
    /// Credentials of registries, for base images and `COPY --from=image`.
    pub credentials: havre_image::Accounts,
    /// Cancelled by the engine when the client goes away: the running step is killed and everything half-built
    /// is dropped. Dropping the build's future has the same effect.
    pub cancel: CancellationToken,
}

impl BuildRequest {
    /// A request with Docker's defaults for everything but the context.
    pub fn new(context: Context) -> Self {
        BuildRequest {
            context,
            dockerfile: DockerfileSource::default(),
            tags: Vec::new(),
            build_args: BTreeMap::new(),
            target: None,
            no_cache: false,
            squash: false,
            cache_from: Vec::new(),
            pull: false,
            labels: BTreeMap::new(),
            network: String::new(),
            platform: None,
            resources: Resources::default(),
            extra_hosts: Vec::new(),
            credentials: havre_image::Accounts::default(),
            cancel: CancellationToken::new(),
        }
    }
}
