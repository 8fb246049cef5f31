//! Which addresses serve a registry name, as configured.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Docker Hub's name in references.
pub(crate) const HUB: &str = "docker.io";
/// Where Docker Hub serves the distribution API.
const HUB_REGISTRY: &str = "registry-1.docker.io";

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
        reason: &'static str,
    },
    #[error("invalid registry host name {0:?}: expected HOST or HOST:PORT")]
    Host(String),
    #[error("invalid network {0:?}: expected ADDRESS/BITS")]
    Network(String),
    #[error("invalid daemon.json: {0}")]
    DaemonJson(String),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct DaemonJson {
    registry_mirrors: Vec<String>,
    insecure_registries: Vec<String>,
}

impl HostsConfig {
    /// Merges `registry-mirrors` (of docker.io) and `insecure-registries` of a Docker daemon.json; other keys are ignored.
    pub fn merge_daemon_json(&mut self, text: &str) -> Result<(), HostsError> {
        let daemon: DaemonJson =
            serde_json::from_str(text).map_err(|error| HostsError::DaemonJson(error.to_string()))?;
        if !daemon.registry_mirrors.is_empty() {
            let mirrors = &mut self.registry.entry(HUB.to_owned()).or_default().mirrors;
            for mirror in daemon.registry_mirrors {
                if !mirrors.contains(&mirror) {
                    mirrors.push(mirror);
                }
            }
        }
        for entry in daemon.insecure_registries {
            if entry.contains('/') && !entry.contains("://") {
                if !self.insecure_networks.contains(&entry) {
                    self.insecure_networks.push(entry);
                }
                continue;
            }
            let host = entry.split_once("://").map_or(entry.as_str(), |(_, host)| host);
            let host = host.trim_end_matches('/').to_owned();
            self.registry.entry(host).or_default().insecure = true;
        }
        Ok(())
    }
}

/// A base address: `[scheme://]host[:port][/prefix]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    /// `None`: HTTPS, and HTTP after it when the host is insecure.
    pub(crate) scheme: Option<Scheme>,
    /// Host and port as they stand in an address.
    pub(crate) authority: String,
    /// Path in front of `/v2/`, without a trailing slash.
    pub(crate) prefix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Address {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some(_) => return Err("the scheme must be http or https"),
            None => (None, text),
        };
        let rest = rest.trim_end_matches('/');
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err("credentials do not belong in an address, use login");
        }
        if !is_authority(authority) {
            return Err("expected [http://|https://]HOST[:PORT][/PATH]");
        }
        if path.contains(['?', '#', ' ', '%']) || path.split('/').any(|part| part == "..") {
            return Err("the path must not hold '?', '#', '%', spaces or '..'");
        }
        // People write the address of the API itself; the version is added to every request anyway.
        let path = path
            .strip_suffix("/v2")
            .unwrap_or(if path == "v2" { "" } else { path });
        Ok(Address {
            scheme,
            authority: authority.to_owned(),
            prefix: if path.is_empty() {
                String::new()
            } else {
                format!("/{path}")
            },
        })
    }

    /// The host without its port.
    pub(crate) fn host(&self) -> &str {
        host_of(&self.authority)
    }
}

/// The host of `host[:port]`; IPv6 literals keep no brackets.
pub(crate) fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    authority.split(':').next().unwrap_or_default()
}

fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
                (host, port.strip_prefix(':'))
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let bracketed = text.starts_with('[');
    let valid_host = bracketed
        || (!host.is_empty()
            && host.len() <= 253
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')));
    let trailing_ok = !bracketed || text.ends_with(']') || port.is_some();
    valid_host && trailing_ok && port.is_none_or(|port| u16::from_str(port).is_ok_and(|port| port != 0))
}

#[derive(Debug, Clone, Default)]
struct Host {
    endpoint: Option<Address>,
    mirrors: Vec<Address>,
    insecure: bool,
}

/// Validated settings: which addresses serve a registry name.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    hosts: BTreeMap<String, Host>,
    networks: Vec<IpNet>,
}

impl Hosts {
    /// Checks every address and network. Loopback addresses are always insecure, as with Docker.
    pub fn new(config: HostsConfig) -> Result<Self, HostsError> {
        let mut hosts = BTreeMap::new();
        for (name, host) in config.registry {
            let address = |text: &str| {
                Address::parse(text).map_err(|reason| HostsError::Address {
                    host: name.clone(),
                    address: text.to_owned(),
                    reason,
                })
            };
            if !is_authority(&name) {
                return Err(HostsError::Host(name));
            }
            let validated = Host {
                endpoint: host.endpoint.as_deref().map(address).transpose()?,
                mirrors: host
                    .mirrors
                    .iter()
                    .map(|mirror| address(mirror))
                    .collect::<Result<_, _>>()?,
                insecure: host.insecure,
            };
            hosts.insert(canonical_domain(&name).to_owned(), validated);
        }
        let networks = config
            .insecure_networks
            .into_iter()
            .map(|text| text.parse().map_err(|_| HostsError::Network(text)))
            .collect::<Result<_, _>>()?;
        Ok(Hosts { hosts, networks })
    }

    /// Whether certificates of this registry (`host[:port]`) are not verified and plain HTTP is allowed. Names are
    /// compared, not looked up; [`Hosts::is_insecure_address`] judges what they resolve to.
    pub fn is_insecure(&self, authority: &str) -> bool {
        let host = host_of(authority);
        host == "localhost"
            || self
                .hosts
                .get(authority)
                .or_else(|| self.hosts.get(host))
                .is_some_and(|host| host.insecure)
            || host
                .parse()
                .is_ok_and(|address| self.is_insecure_address(address))
    }

    /// Whether registries at this address are insecure.
    pub fn is_insecure_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether names have to be looked up to know.
    pub(crate) fn has_networks(&self) -> bool {
        !self.networks.is_empty()
    }

    /// The address that stands for the registry itself, and whether its table says it is insecure.
    pub(crate) fn origin(&self, domain: &str) -> (Address, bool) {
        let domain = canonical_domain(domain);
        let host = self.hosts.get(domain);
        let insecure = host.is_some_and(|host| host.insecure);
        if let Some(endpoint) = host.and_then(|host| host.endpoint.clone()) {
            return (endpoint, insecure);
        }
        let authority = if domain == HUB { HUB_REGISTRY } else { domain };
        let address = Address {
            scheme: None,
            authority: authority.to_owned(),
            prefix: String::new(),
        };
        (address, insecure)
    }

    pub(crate) fn mirrors(&self, domain: &str) -> &[Address] {
        self.hosts
            .get(canonical_domain(domain))
            .map_or(&[], |host| &host.mirrors)
    }

    /// Whether an endpoint is configured for the registry.
    pub(crate) fn is_redirected(&self, domain: &str) -> bool {
        self.hosts
            .get(canonical_domain(domain))
            .is_some_and(|host| host.endpoint.is_some())
    }
}

/// Docker Hub's several names are one registry.
pub(crate) fn canonical_domain(domain: &str) -> &str {
    match domain {
        "" | "index.docker.io" | "registry-1.docker.io" => HUB,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(toml: &str) -> Result<Hosts, HostsError> {
        Hosts::new(toml::from_str(toml).unwrap())
    }

    #[test]
    fn configured_addresses() {
        let hosts = hosts(
            "[registry.'docker.io']\nendpoint = 'http://10.0.0.5:5000/hub/'\nmirrors = ['https://m.example', 'n.example:80']\n",
        )
        .unwrap();
        let (origin, insecure) = hosts.origin("index.docker.io");
        assert_eq!(origin.scheme, Some(Scheme::Http));
        assert_eq!(
            (origin.authority.as_str(), origin.prefix.as_str(), insecure),
            ("10.0.0.5:5000", "/hub", false)
        );
        assert_eq!(hosts.mirrors("docker.io").len(), 2);
        assert!(hosts.is_redirected("docker.io") && !hosts.is_redirected("quay.io"));
    }

    #[test]
    fn defaults() {
        let hosts = Hosts::default();
        assert_eq!(hosts.origin("docker.io").0.authority, "registry-1.docker.io");
        assert_eq!(hosts.origin("quay.io").0.authority, "quay.io");
        for insecure in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.8.9.1",
            "[::1]:5000",
        ] {
            assert!(hosts.is_insecure(insecure), "{insecure}");
        }
        for secure in [
            "docker.io",
            "10.0.0.1:5000",
            "localhost.example",
            "[2001:db8::1]:5000",
        ] {
            assert!(!hosts.is_insecure(secure), "{secure}");
        }
    }

    #[test]
    fn daemon_json() {
        let mut config = HostsConfig::default();
        config
            .merge_daemon_json(
                r#"{"registry-mirrors":["https://m.example"],"insecure-registries":["reg.lan:5000","http://old.lan","10.1.0.0/16"],"data-root":"/x"}"#,
            )
            .unwrap();
        let hosts = Hosts::new(config).unwrap();
        assert_eq!(hosts.mirrors("docker.io")[0].authority, "m.example");
        assert!(
            hosts.is_insecure("reg.lan:5000")
                && hosts.is_insecure("old.lan")
                && hosts.is_insecure("10.1.2.3:80")
        );
        assert!(!hosts.is_insecure("reg.lan:5001") && !hosts.is_insecure("10.2.2.3:80"));
        assert!(
            HostsConfig::default()
                .merge_daemon_json("{\"insecure-registries\": 3}")
                .is_err()
        );
    }

    #[test]
    fn refused_settings() {
        let endpoint = |text: &str| hosts(&format!("[registry.\"a.example\"]\nendpoint = {text:?}"));
        for bad in [
            "ftp://x",
            "http://user:pw@x",
            "http://",
            "http://x/../y",
            "x:99999",
            "x y",
            "[::1",
            "http://x?y",
        ] {
            assert!(matches!(endpoint(bad), Err(HostsError::Address { .. })), "{bad}");
        }
        for good in ["x", "http://x/v2/", "https://[::1]:5000/a/b", "x:80"] {
            endpoint(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        assert!(matches!(
            hosts("[registry.'http://x']\ninsecure = true"),
            Err(HostsError::Host(_))
        ));
        assert!(toml::from_str::<HostsConfig>("[registry.x]\nendpiont = 'y'").is_err());
        let networks = HostsConfig {
            insecure_networks: vec!["10.0.0.0/99".into()],
            ..Default::default()
        };
        assert_eq!(
            Hosts::new(networks).unwrap_err(),
            HostsError::Network("10.0.0.0/99".into())
        );
    }
}
