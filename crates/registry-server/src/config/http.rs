//! `http`: where the registry listens, who it says it is, and what it says of itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use havre_tls::Identity;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use super::{ConfigError, Debug, refuse};

/// As it is written. What is `Value` is accepted without a word on it, as everywhere in the file.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Http {
    addr: Option<String>,
    net: Option<String>,
    host: Option<String>,
    secret: Value,
    relativeurls: Value,
    draintimeout: Value,
    headers: BTreeMap<String, Vec<String>>,
    http2: Value,
    tls: Option<Tls>,
    debug: DebugFile,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DebugFile {
    addr: Option<String>,
    prometheus: Prometheus,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Prometheus {
    enabled: bool,
    path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    #[serde(default)]
    clientcas: Vec<PathBuf>,
    #[serde(default)]
    minimumtls: Option<String>,
}

/// What is configured.
pub(super) struct Checked {
    pub(super) address: Option<String>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) identity: Option<Identity>,
    pub(super) debug: Option<Debug>,
    pub(super) host: Option<String>,
}

impl Http {
    pub(super) fn checked(self) -> Result<Checked, ConfigError> {
        if let Some(net) = self.net.as_deref().filter(|net| *net != "tcp") {
            return refuse("http.net", net, "only tcp is listened on");
        }
        let mut headers = Vec::new();
        for (name, values) in &self.headers {
            for value in values {
                match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                    (Ok(name), Ok(value)) => headers.push((name, value)),
                    _ => return refuse("http.headers", name, "that is no header"),
                }
            }
        }
        Ok(Checked {
            address: self.addr.map(every_address),
            headers,
            identity: self.tls.map(Tls::checked).transpose()?,
            debug: self.debug.checked()?,
            host: self.host.as_deref().map_or(Ok(None), host)?,
        })
    }
}

impl Tls {
    fn checked(self) -> Result<Identity, ConfigError> {
        if let Some(version) = self.minimumtls.as_deref().filter(|version| *version != "tls1.2") {
            return refuse("http.tls.minimumtls", version, "tls1.2 and newer are spoken");
        }
        if self.clientcas.len() > 1 {
            let names = self.clientcas.iter().map(|path| path.display().to_string());
            let names: Vec<_> = names.collect();
            return refuse("http.tls.clientcas", &names.join(", "), "put them into one file");
        }
        Ok(Identity {
            certificate: self.certificate,
            key: self.key,
            clients: self.clientcas.into_iter().next(),
        })
    }
}

impl DebugFile {
    fn checked(self) -> Result<Option<Debug>, ConfigError> {
        let prometheus = self.prometheus;
        let metrics = prometheus
            .enabled
            .then(|| prometheus.path.unwrap_or_else(|| "/metrics".to_owned()));
        if let Some(path) = metrics.as_deref()
            && (!path.starts_with('/') || path.contains(['{', '}', '*']) || path == "/debug/health")
        {
            return refuse("http.debug.prometheus.path", path, "use a path as /metrics");
        }
        match (self.addr, metrics) {
            (Some(address), metrics) => Ok(Some(Debug {
                address: every_address(address),
                metrics,
            })),
            (None, Some(_)) => refuse(
                "http.debug.addr",
                "",
                "metrics are served at an address of their own",
            ),
            (None, None) => Ok(None),
        }
    }
}

/// What the registry is called from outside; nothing for an empty text.
fn host(text: &str) -> Result<Option<String>, ConfigError> {
    let host = text.trim_end_matches('/');
    if host.is_empty() {
        return Ok(None);
    }
    let schemes = ["https://", "http://"];
    let authority = schemes.iter().find_map(|scheme| host.strip_prefix(scheme));
    match authority.is_some_and(crate::access::is_authority) {
        true => Ok(Some(host.to_owned())),
        false => refuse("http.host", host, "use https://HOST or https://HOST:PORT"),
    }
}

/// `:5000` is every address, as in Go.
fn every_address(address: String) -> String {
    match address.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => address,
    }
}
