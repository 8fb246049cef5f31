//! `config.toml`, and Docker's `daemon.json` as far as it is understood.
//!
//! ```toml
//! log-level = "info"                 # error, warn, info, debug, trace
//! log-driver = "json-file"           # json-file, local or none, for containers that choose none
//! log-opts = { max-size = "10m", max-file = "3" }   # of this driver: also compress, labels, env, tag …
//! cgroup-parent = "havre"            # cgroup that holds all containers
//! max-concurrent-downloads = 3
//! max-concurrent-uploads = 5
//! userns-remap = "default"           # containers in user namespaces with the ids of USER in /etc/subuid and /etc/subgid:
//!                                    # default (which is dockremap), USER, USER:GROUP, UID or UID:GID
//! certs-dir = "/etc/docker/certs.d"  # HOST:PORT/ca.crt, client.cert and client.key of registries
//!
//! [storage]
//! layers = "auto"                    # auto, file, file-buffered, loop, loop-4k, directories
//! verify = "off"                     # off, or read: damaged layers are I/O errors (fs-verity; refused where it lacks)
//! keep-compressed = "never"          # of layers that are unpacked: never, quota, always
//! compressed-quota = "10GB"          # with keep-compressed = "quota": beyond it the least recently used go
//! compression = "gzip"               # of layers made here, when they are pushed: gzip, zstd
//! compression-level = 1              # gzip 1 (quickest) to 9 (smallest), zstd 1 to 19
//!
//! [listen]                           # beside the socket; what the command line says comes first
//! hosts = ["tcp://0.0.0.0:2376"]     # tcp://ADDRESS:PORT or unix:///PATH
//! tlsverify = true                   # TLS, and clients need a certificate that tlscacert issued
//! tlscacert = "/etc/docker/ca.pem"
//! tlscert = "/etc/docker/server-cert.pem"
//! tlskey = "/etc/docker/server-key.pem"
//!
//! [undo]
//! window = "24h"                     # how long what was removed can be brought back; 0: not at all
//! quota = "10GB"                     # beyond it, or beyond what is free, the oldest goes for good
//! images = false                     # whether images are kept as well; else their space comes back at once
//!
//! default-runtime = "havre"          # above the tables: makes containers that choose none; havre is the engine's own
//! [runtimes.other]                   # for --runtime other; runc and crun are there where they are installed
//! path = "/opt/other/runc"           # a program with the command line of runc
//! args = ["--debug"]                 # before its command
//!
//! [network]
//! bridge = "havre0"                  # interface of the default bridge
//! table = "havre"                    # nftables table
//! pools = ["172.17.0.0/16"]          # subnets to try for networks that name none, of both families
//! mtu = 1500
//! ipv6 = true                        # the default bridge has IPv6, too
//! ipv6-subnet = "fd00:17::/64"       # its subnet; one of the engine's own unless set
//!
//! [registry."docker.io"]             # any registry's name
//! endpoint = "http://10.0.0.5:5000"  # stands for it in pull, push, login, search and build
//! mirrors = ["https://mirror.example"]   # tried first by pulls
//! insecure = true                    # plain HTTP and unverified certificates are fine
//! ```

mod storage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_registry_client::{HostConfig, HostsConfig};
use serde::Deserialize;

use crate::containers::{LogConfig, Logging};
use crate::runtimes::{RuntimeSettings, Runtimes};
use crate::{EngineError, Result, UndoSettings};

pub use storage::StorageSettings;

/// The daemon's configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFile {
    pub log_level: Option<String>,
    /// Options of the log for containers that choose no other driver.
    pub log_options: BTreeMap<String, String>,
    /// `json-file`, `local` or `none`; empty is `json-file`.
    pub log_driver: String,
    pub cgroup_parent: Option<String>,
    pub max_concurrent_downloads: Option<usize>,
    pub max_concurrent_uploads: Option<usize>,
    /// Directory of the certificates of registries, `HOST:PORT/ca.crt`; Docker's own unless set.
    pub certs_dir: Option<PathBuf>,
    /// Whose ids containers have, by Docker's notation; empty is nobody's but the host's own.
    pub userns_remap: String,
    pub listening: Listening,
    pub network: NetworkSettings,
    pub storage: StorageSettings,
    pub undo: UndoSettings,
    pub(crate) runtimes: Runtimes,
    pub registries: HostsConfig,
    /// `data-root` of daemon.json.
    pub data_root: Option<PathBuf>,
    /// Keys of a daemon.json that have no meaning here; to be shown to the user.
    pub ignored: Vec<String>,
}

/// Where the daemon listens beside its socket, by the names Docker gives these settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listening {
    /// `tcp://ADDRESS:PORT` or `unix:///PATH`.
    pub hosts: Vec<String>,
    pub tls: Option<bool>,
    pub tlsverify: Option<bool>,
    pub tlscacert: Option<String>,
    pub tlscert: Option<String>,
    pub tlskey: Option<String>,
}

/// Names and addresses of the engine's network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkSettings {
    pub bridge: Option<String>,
    pub table: Option<String>,
    /// Subnets, `ADDRESS/BITS`, of both families.
    pub pools: Vec<String>,
    pub mtu: Option<u32>,
    /// The default bridge has IPv6, too.
    pub ipv6: bool,
    /// Its IPv6 subnet, `ADDRESS/BITS`.
    #[serde(rename = "ipv6-subnet")]
    pub ipv6_subnet: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct Toml {
    log_level: Option<String>,
    log_opts: BTreeMap<String, String>,
    log_driver: Option<String>,
    cgroup_parent: Option<String>,
    max_concurrent_downloads: Option<usize>,
    max_concurrent_uploads: Option<usize>,
    certs_dir: Option<PathBuf>,
    userns_remap: String,
    listen: Listening,
    network: NetworkSettings,
    storage: StorageSettings,
    undo: UndoSettings,
    default_runtime: String,
    runtimes: BTreeMap<String, RuntimeSettings>,
    registry: BTreeMap<String, HostConfig>,
    insecure_networks: Vec<String>,
}

/// Of daemon.json: `base` in pieces of `size` bits.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AddressPool {
    base: String,
    size: u8,
}

/// The most pieces of one base that are considered.
const POOL_PIECES: usize = 4096;

impl AddressPool {
    /// The subnets of its pieces.
    fn subnets(&self) -> Result<Vec<String>> {
        let wrong = || {
            EngineError::invalid(format!(
                "invalid default-address-pools: base {:?} in pieces of /{}: expected ADDRESS/BITS and at least as many bits",
                self.base, self.size
            ))
        };
        let base: ipnet::IpNet = self.base.parse().map_err(|_| wrong())?;
        let pieces = base.trunc().subnets(self.size).map_err(|_| wrong())?;
        Ok(pieces.take(POOL_PIECES).map(|piece| piece.to_string()).collect())
    }
}

/// The keys of daemon.json that have a meaning here; everything else is collected.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct DaemonJson {
    log_level: Option<String>,
    log_opts: BTreeMap<String, String>,
    log_driver: Option<String>,
    data_root: Option<PathBuf>,
    debug: bool,
    mtu: Option<u32>,
    ipv6: bool,
    fixed_cidr_v6: Option<String>,
    default_address_pools: Vec<AddressPool>,
    bridge: Option<String>,
    max_concurrent_downloads: Option<usize>,
    max_concurrent_uploads: Option<usize>,
    default_runtime: String,
    runtimes: BTreeMap<String, RuntimeSettings>,
    userns_remap: String,
    hosts: Vec<String>,
    tls: Option<bool>,
    tlsverify: Option<bool>,
    tlscacert: Option<String>,
    tlscert: Option<String>,
    tlskey: Option<String>,
    // Read by the registry client from the same text.
    registry_mirrors: serde::de::IgnoredAny,
    insecure_registries: serde::de::IgnoredAny,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

impl ConfigFile {
    /// Reads a TOML (or, by its `.json` ending, Docker's daemon.json) file. An unknown key of the TOML is an error with key
    /// and line; those of a daemon.json are listed in [`ConfigFile::ignored`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .map_err(|error| EngineError::invalid(error.to_string()).with_source(error))?;
        let parsed = match path.extension().is_some_and(|extension| extension == "json") {
            true => Self::parse_daemon_json(&text),
            false => Self::parse_toml(&text),
        };
        parsed.map_err(|error| error.context(path.display()))
    }

    /// `config.toml`
    pub fn parse_toml(text: &str) -> Result<Self> {
        let toml: Toml = toml::from_str(text).map_err(|error| {
            // The message of the parser shows the line with a marker beneath the key.
            EngineError::invalid(error.to_string().trim_end().to_owned())
        })?;
        let config = ConfigFile {
            log_level: toml.log_level,
            log_options: toml.log_opts,
            log_driver: toml.log_driver.unwrap_or_default(),
            cgroup_parent: toml.cgroup_parent,
            max_concurrent_downloads: toml.max_concurrent_downloads,
            max_concurrent_uploads: toml.max_concurrent_uploads,
            certs_dir: toml.certs_dir,
            userns_remap: toml.userns_remap,
            listening: toml.listen,
            network: toml.network,
            storage: toml.storage,
            undo: toml.undo,
            runtimes: Runtimes {
                configured: toml.runtimes,
                default: toml.default_runtime,
            },
            registries: HostsConfig {
                registry: toml.registry,
                insecure_networks: toml.insecure_networks,
            },
            data_root: None,
            ignored: Vec::new(),
        };
        config.checked()
    }

    /// Docker's `daemon.json`
    pub fn parse_daemon_json(text: &str) -> Result<Self> {
        let text = if text.trim().is_empty() { "{}" } else { text };
        let daemon: DaemonJson =
            serde_json::from_str(text).map_err(|error| EngineError::invalid(error.to_string()))?;
        let mut registries = HostsConfig::default();
        registries
            .merge_daemon_json(text)
            .map_err(|error| EngineError::invalid(error.to_string()))?;
        let mut pools = Vec::new();
        for pool in &daemon.default_address_pools {
            pools.extend(pool.subnets()?);
        }
        let config = ConfigFile {
            log_level: daemon
                .log_level
                .or_else(|| daemon.debug.then(|| "debug".to_owned())),
            log_options: daemon.log_opts,
            log_driver: daemon.log_driver.unwrap_or_default(),
            cgroup_parent: None,
            max_concurrent_downloads: daemon.max_concurrent_downloads,
            max_concurrent_uploads: daemon.max_concurrent_uploads,
            certs_dir: None,
            userns_remap: daemon.userns_remap,
            listening: Listening {
                hosts: daemon.hosts,
                tls: daemon.tls,
                tlsverify: daemon.tlsverify,
                tlscacert: daemon.tlscacert,
                tlscert: daemon.tlscert,
                tlskey: daemon.tlskey,
            },
            network: NetworkSettings {
                bridge: daemon.bridge,
                mtu: daemon.mtu,
                pools,
                ipv6: daemon.ipv6,
                ipv6_subnet: daemon.fixed_cidr_v6,
                ..NetworkSettings::default()
            },
            storage: StorageSettings::default(),
            undo: UndoSettings::default(),
            runtimes: Runtimes {
                configured: daemon.runtimes,
                default: daemon.default_runtime,
            },
            registries,
            data_root: daemon.data_root,
            ignored: daemon.others.into_keys().collect(),
        };
        config.checked()
    }

    fn checked(self) -> Result<Self> {
        let wrong = |key: &str, value: &dyn std::fmt::Display, expected: &str| {
            Err(EngineError::invalid(format!(
                "{key}: invalid value {value}: expected {expected}"
            )))
        };
        // Docker writes warning and fatal for what are warn and error here.
        const LEVELS: &[&str] = &["trace", "debug", "info", "warn", "warning", "error", "fatal"];
        if let Some(level) = self
            .log_level
            .as_ref()
            .filter(|level| !LEVELS.contains(&level.as_str()))
        {
            return wrong("log-level", level, "error, warn, info, debug or trace");
        }
        let log = LogConfig {
            driver: self.log_driver.clone(),
            options: self.log_options.clone(),
        };
        Logging::parse(&log).map_err(|error| error.context("log-driver and log-opts"))?;
        self.undo.window()?;
        self.undo.quota()?;
        self.storage.store_options()?;
        self.runtimes.check()?;
        for pool in &self.network.pools {
            if pool.parse::<ipnet::IpNet>().is_err() {
                return wrong("network.pools", pool, "ADDRESS/BITS, such as 172.17.0.0/16");
            }
        }
        if let Some(subnet) = &self.network.ipv6_subnet {
            let fits = |net: &ipnet::Ipv6Net| net.trunc() == *net && (8..=126).contains(&net.prefix_len());
            if !subnet.parse().is_ok_and(|net| fits(&net)) {
                return wrong(
                    "network.ipv6-subnet",
                    subnet,
                    "ADDRESS/BITS, such as fd00:17::/64",
                );
            }
        }
        if let Some(mtu) = self.network.mtu.filter(|mtu| !(68..=65_535).contains(mtu)) {
            return wrong("network.mtu", &mtu, "68 to 65535");
        }
        for (key, value) in [
            ("max-concurrent-downloads", self.max_concurrent_downloads),
            ("max-concurrent-uploads", self.max_concurrent_uploads),
        ] {
            if value == Some(0) {
                return wrong(key, &0, "at least 1");
            }
        }
        if let Some(dir) = self.certs_dir.as_ref().filter(|dir| !dir.is_absolute()) {
            return wrong("certs-dir", &dir.display(), "an absolute path");
        }
        self.storage.keep()?;
        self.storage.packing()?;
        if let Some(parent) = &self.cgroup_parent {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/');
            let fine = !parent.is_empty()
                && parent.bytes().all(plain)
                && !parent.split('/').any(|part| part == "..");
            if !fine {
                return wrong(
                    "cgroup-parent",
                    parent,
                    "a relative path of letters, digits, '_', '.' and '-'",
                );
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_read() {
        let config = ConfigFile::parse_toml(
            r#"
            log-level = "debug"
            log-opts = { max-size = "10m", max-file = "3" }
            max-concurrent-downloads = 6
            certs-dir = "/etc/certs"
            userns-remap = "ann:staff"
            [storage]
            layers = "loop-4k"
            [network]
            bridge = "test0"
            table = "test"
            pools = ["10.9.0.0/16"]
            [registry."docker.io"]
            endpoint = "http://127.0.0.1:5000"
            mirrors = ["http://m:1"]
            insecure = true
            "#,
        )
        .unwrap();
        assert_eq!(config.storage.layers.as_deref(), Some("loop-4k"));
        assert_eq!(config.network.bridge.as_deref(), Some("test0"));
        assert_eq!(config.userns_remap, "ann:staff");
        assert_eq!(config.certs_dir.as_deref(), Some(Path::new("/etc/certs")));
        assert_eq!(
            config.registries.registry["docker.io"].endpoint.as_deref(),
            Some("http://127.0.0.1:5000")
        );
        assert_eq!(config.max_concurrent_downloads, Some(6));
        assert_eq!(ConfigFile::parse_toml("").unwrap(), ConfigFile::default());
    }

    #[test]
    fn unknown_keys_are_named_with_their_line() {
        for (text, key, line) in [
            ("log-level = \"info\"\ncolour = 1\n", "colour", "line 2"),
            ("[network]\nbridge = \"b\"\nsubnet = \"x\"\n", "subnet", "line 3"),
            ("[registry.\"h\"]\nurl = \"x\"\n", "url", "line 2"),
        ] {
            let error = ConfigFile::parse_toml(text).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(line), "{error}");
        }
    }

    #[test]
    fn wrong_values_are_named() {
        for (text, key) in [
            ("log-level = \"loud\"", "log-level"),
            ("log-opts = { tags = \"x\" }", "tags"),
            ("log-opts = { max-size = \"much\" }", "log-opts"),
            ("log-driver = \"syslog\"", "syslog"),
            ("[network]\npools = [\"10.0.0.0\"]", "network.pools"),
            ("[storage]\nlayers = \"tar\"", "storage.layers"),
            ("[network]\nmtu = 1", "network.mtu"),
            ("[undo]\nwindow = \"often\"", "undo.window"),
            ("[undo]\nquota = \"much\"", "undo.quota"),
            ("max-concurrent-downloads = 0", "max-concurrent-downloads"),
            ("certs-dir = \"certs\"", "certs-dir"),
            ("cgroup-parent = \"../up\"", "cgroup-parent"),
        ] {
            let error = ConfigFile::parse_toml(text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn daemon_json() {
        let config = ConfigFile::parse_daemon_json(
            r#"{"registry-mirrors": ["http://m:5000"], "insecure-registries": ["r:5000", "10.0.0.0/8"],
                "log-opts": {"max-size": "1m"}, "storage-driver": "overlay2", "debug": true}"#,
        )
        .unwrap();
        assert_eq!(config.registries.registry["docker.io"].mirrors, ["http://m:5000"]);
        assert!(config.registries.registry["r:5000"].insecure);
        assert_eq!(config.registries.insecure_networks, ["10.0.0.0/8"]);
        assert_eq!(config.log_level.as_deref(), Some("debug"));
        assert_eq!(config.ignored, ["storage-driver"]);
        let remapped = ConfigFile::parse_daemon_json(r#"{"userns-remap": "default"}"#).unwrap();
        assert_eq!(
            (remapped.userns_remap.as_str(), remapped.ignored),
            ("default", vec![])
        );
        assert!(ConfigFile::parse_daemon_json("{").is_err());
        assert_eq!(ConfigFile::parse_daemon_json("").unwrap(), ConfigFile::default());
    }

    #[test]
    fn dockers_address_pools_are_pools() {
        let pools = |text: &str| {
            let text = format!(
                "{{\"default-address-pools\": [{text}], \"ipv6\": true, \"fixed-cidr-v6\": \"fd17::/64\"}}"
            );
            ConfigFile::parse_daemon_json(&text)
        };
        let both =
            pools(r#"{"base": "10.10.0.0/23", "size": 24}, {"base": "fd00:10::/62", "size": 64}"#).unwrap();
        assert_eq!(
            both.network.pools,
            [
                "10.10.0.0/24",
                "10.10.1.0/24",
                "fd00:10::/64",
                "fd00:10:0:1::/64",
                "fd00:10:0:2::/64",
                "fd00:10:0:3::/64"
            ]
        );
        assert!(both.network.ipv6);
        assert_eq!(both.network.ipv6_subnet.as_deref(), Some("fd17::/64"));
        assert_eq!(both.ignored, [""; 0]);
        let many = pools(r#"{"base": "fd00::/16", "size": 64}"#).unwrap();
        assert_eq!(many.network.pools.len(), POOL_PIECES);
        for wrong in [
            r#"{"base": "10.10.0.0/16", "size": 8}"#,
            r#"{"base": "10.10.0.0/16", "size": 33}"#,
            r#"{"base": "here", "size": 24}"#,
            r#"{"base": "10.10.0.0/16"}"#,
        ] {
            let error = pools(wrong).unwrap_err().to_string();
            assert!(error.starts_with("invalid default-address-pools"), "{error}");
        }
        let wrong = ConfigFile::parse_toml("[network]\nipv6-subnet = \"10.0.0.0/8\"").unwrap_err();
        assert!(wrong.to_string().contains("network.ipv6-subnet"), "{wrong}");
    }

    #[test]
    fn files_are_told_apart_by_their_ending() {
        let directory = tempfile::tempdir().unwrap();
        let json = directory.path().join("daemon.json");
        fs::write(&json, "{\"mtu\": 1400}").unwrap();
        assert_eq!(ConfigFile::read(&json).unwrap().network.mtu, Some(1400));
        let toml = directory.path().join("config.toml");
        fs::write(&toml, "what = 1").unwrap();
        let error = ConfigFile::read(&toml).unwrap_err().to_string();
        assert!(error.contains("config.toml") && error.contains("what"), "{error}");
        assert!(ConfigFile::read(&directory.path().join("none.toml")).is_err());
    }
}
