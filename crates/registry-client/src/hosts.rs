use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Settings of one registry: the TOML table `[registry."HOST"]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostConfig {
    /// Base address that stands for the registry in pull, push, login and search, e.g. `http://10.0.0.5:5000`.
    pub endpoint: Option<String>,
    /// Base addresses tried first when pulling.
    pub mirrors: Vec<String>,
    /// Certificates are not verified, and plain HTTP is tried when HTTPS is not spoken.
    pub insecure: bool,
}

/// The registry part of the configuration: `registry` tables by host name, plus insecure networks (CIDR).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostsConfig {
    pub registry: BTreeMap<String, HostConfig>,
    /// Networks whose registries are insecure (`insecure-registries` of daemon.json takes CIDR as well).
    pub insecure_networks: Vec<String>,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostsError {
    #[error("invalid address {address:?} of registry {host:?}: {reason}")]
    Address {
        host: String,
        address: String,
        reason: String,
    },
    #[error("invalid registry host name {0:?}: expected HOST or HOST:PORT")]
    Host(String),
    #[error("invalid network {0:?}: expected ADDRESS/BITS")]
    Network(String),
    #[error("invalid daemon.json: {0}")]
    DaemonJson(String),
}

/// Validated settings: which addresses serve a registry name.
#[derive(Debug, Clone, Default)]
pub struct Hosts {}

impl HostsConfig {
    /// Merges `registry-mirrors` (of docker.io) and `insecure-registries` of a Docker daemon.json; other keys are ignored.
    pub fn merge_daemon_json(&mut self, text: &str) -> Result<(), HostsError> {
        todo!("{text}")
    }
}

impl Hosts {
    /// Checks every address and network.
    pub fn new(config: HostsConfig) -> Result<Self, HostsError> {
        todo!("{config:?}")
    }
    /// Whether certificates of this registry are not verified.
    pub fn is_insecure(&self, domain: &str) -> bool {
        todo!("{domain}")
    }
}
