//! The network service: the predefined networks `bridge`, `host` and `none`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use havre_network::Network;
use havre_oci::Digest;
use jiff::Timestamp;

use crate::error::blocking;
use crate::{Containers, EndpointView, EngineError, ErrorKind, Filters, Result};

/// A network.
#[derive(Debug, Clone)]
pub struct NetworkInfo {
    pub name: String,
    /// 64 hex digits.
    pub id: String,
    pub created: Timestamp,
    /// `bridge`, `host`, `null`
    pub driver: String,
    pub enable_ipv4: bool,
    pub enable_ipv6: bool,
    pub internal: bool,
    pub attachable: bool,
    /// Subnet and gateway.
    pub ipam: Vec<(String, String)>,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// By container id: name and endpoint. Filled by `inspect` only.
    pub containers: BTreeMap<String, (String, EndpointView)>,
}

/// Every network there is.
const NAMES: [&str; 3] = ["bridge", "host", "none"];

/// The id of a predefined network: the same on every machine.
pub(crate) fn id_of(name: &str) -> String {
    static IDS: LazyLock<[String; 3]> = LazyLock::new(|| NAMES.map(hashed));
    match NAMES.iter().position(|known| *known == name) {
        Some(known) => IDS[known].clone(),
        None => hashed(name),
    }
}

fn hashed(name: &str) -> String {
    let text = format!("havre network {name}");
    Digest::sha256_of(text.as_bytes()).hex().to_owned()
}

pub(crate) fn driver_of(name: &str) -> &str {
    if name == "none" { "null" } else { name }
}

/// The network a container's mode names; `container:…` stays as it is.
pub(crate) fn name_of_mode(mode: &str) -> &str {
    match mode {
        "" | "default" => "bridge",
        mode => mode,
    }
}

/// The networks.
#[derive(Clone)]
pub struct Networks(Arc<Inner>);

struct Inner {
    network: Arc<Network>,
    containers: Containers,
    created: Timestamp,
}

impl Networks {
    pub(crate) fn new(network: Arc<Network>, containers: Containers, created: Timestamp) -> Self {
        Networks(Arc::new(Inner {
            network,
            containers,
            created,
        }))
    }

    /// dangling driver id label name scope type
    pub async fn list(&self, filters: Filters) -> Result<Vec<NetworkInfo>> {
        filters.only(&[
            "dangling", "driver", "id", "label", "label!", "name", "scope", "type",
        ])?;
        for kind in filters.values("type") {
            if !matches!(kind, "builtin" | "custom") {
                return Err(EngineError::invalid(format!("invalid filter 'type={kind}'")));
            }
        }
        let dangling = filters.boolean("dangling")?;
        let networks = self.clone();
        blocking(move || {
            let mut found = Vec::new();
            for name in NAMES {
                let info = networks.info(name)?;
                let shown = filters.any("name", |part| info.name.contains(part))
                    && filters.any("id", |prefix| info.id.starts_with(prefix))
                    && filters.exact("driver", &info.driver)
                    && filters.exact("scope", "local")
                    && filters.exact("type", "builtin")
                    && filters.labels(&info.labels)
                    // The predefined ones are never dangling.
                    && dangling != Some(true);
                if shown {
                    found.push(info);
                }
            }
            Ok(found)
        })
        .await
    }

    /// By name, id or unique prefix.
    pub async fn inspect(&self, name: &str) -> Result<NetworkInfo> {
        let known = find(name)?;
        let networks = self.clone();
        blocking(move || {
            let mut info = networks.info(known)?;
            info.containers = networks.0.containers.on_network(known);
            Ok(info)
        })
        .await
    }

    /// Predefined networks cannot be removed; others do not exist yet.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let known = find(name)?;
        Err(EngineError::new(
            ErrorKind::Forbidden,
            format!("{known} is a pre-defined network and cannot be removed"),
        ))
    }

    fn info(&self, name: &str) -> Result<NetworkInfo> {
        let mut info = NetworkInfo {
            name: name.to_owned(),
            id: id_of(name),
            created: self.0.created,
            driver: driver_of(name).to_owned(),
            enable_ipv4: true,
            enable_ipv6: false,
            internal: false,
            attachable: false,
            ipam: Vec::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            containers: BTreeMap::new(),
        };
        if name == "bridge" {
            let bridge = self.0.network.inspect()?;
            info.ipam
                .push((bridge.subnet.to_string(), bridge.gateway.to_string()));
            for (option, value) in [
                ("default_bridge", "true".to_owned()),
                ("enable_icc", "true".to_owned()),
                ("enable_ip_masquerade", "true".to_owned()),
                ("host_binding_ipv4", "0.0.0.0".to_owned()),
                ("name", bridge.interface),
            ] {
                info.options
                    .insert(format!("com.docker.network.bridge.{option}"), value);
            }
            info.options
                .insert("com.docker.network.driver.mtu".to_owned(), bridge.mtu.to_string());
        }
        Ok(info)
    }
}

fn find(name: &str) -> Result<&'static str> {
    let by_name = NAMES.into_iter().find(|known| *known == name);
    let by_id = || {
        let mut matching = NAMES
            .into_iter()
            .filter(|known| !name.is_empty() && id_of(known).starts_with(name));
        matching.next().filter(|_| matching.next().is_none())
    };
    by_name
        .or_else(by_id)
        .ok_or_else(|| EngineError::not_found(format!("network {name} not found")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_found_by_name_id_and_prefix() {
        let id = id_of("host");
        assert_eq!(find("host").unwrap(), "host");
        assert_eq!(find(&id).unwrap(), "host");
        assert_eq!(find(&id[..12]).unwrap(), "host");
        for unknown in ["", "shop", "zzz"] {
            assert_eq!(
                find(unknown).unwrap_err().to_string(),
                format!("network {unknown} not found")
            );
        }
    }
}
