//! `--network` and what belongs to it.

use serde_json::{Map, Value, json};

use super::SpecError;
use super::environment::options;

/// What is asked of one network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) aliases: Vec<String>,
    pub(crate) driver_opts: Vec<String>,
    pub(crate) gw_priority: Option<i64>,
    pub(crate) ip: Option<String>,
    pub(crate) ip6: Option<String>,
    pub(crate) links: Vec<String>,
    pub(crate) link_local: Vec<String>,
    pub(crate) mac_address: Option<String>,
}

impl Endpoint {
    /// As the API takes it.
    pub(crate) fn body(&self) -> Result<Value, SpecError> {
        let mut body = Map::new();
        let mut addresses = Map::new();
        let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        for (field, value) in [("IPv4Address", &self.ip), ("IPv6Address", &self.ip6)] {
            if let Some(value) = text(value) {
                addresses.insert(field.to_owned(), json!(value));
            }
        }
        if !self.link_local.is_empty() {
            addresses.insert("LinkLocalIPs".to_owned(), json!(self.link_local));
        }
        if !addresses.is_empty() {
            body.insert("IPAMConfig".to_owned(), addresses.into());
        }
        for (field, list) in [("Aliases", &self.aliases), ("Links", &self.links)] {
            if !list.is_empty() {
                body.insert(field.to_owned(), json!(list));
            }
        }
        if !self.driver_opts.is_empty() {
            body.insert("DriverOpts".to_owned(), json!(options(&self.driver_opts)?));
        }
        if let Some(priority) = self.gw_priority {
            body.insert("GwPriority".to_owned(), json!(priority));
        }
        if let Some(mac) = text(&self.mac_address) {
            body.insert("MacAddress".to_owned(), json!(mac));
        }
        Ok(body.into())
    }
}

/// The pieces of flags that take several values separated by commas.
pub(crate) fn pieces(flags: &[String]) -> Vec<String> {
    let pieces = flags.iter().flat_map(|flag| flag.split(','));
    pieces
        .map(|piece| piece.trim().to_owned())
        .filter(|piece| !piece.is_empty())
        .collect()
}

/// The networks of a container, in order: names with what is asked of each. `own` is what flags beside `--network` say of the
/// first.
pub(crate) fn networks(flags: &[String], own: Endpoint) -> Result<Vec<(String, Endpoint)>, SpecError> {
    let mut networks: Vec<(String, Endpoint)> = Vec::new();
    for flag in flags {
        let (name, endpoint) = network(flag)?;
        if networks.iter().any(|(other, _)| *other == name) {
            return Err(SpecError::value(format!(
                "network {name:?} is specified multiple times"
            )));
        }
        networks.push((name, endpoint));
    }
    if networks.is_empty() {
        networks.push(("default".to_owned(), Endpoint::default()));
    }
    if let [_, .., (name, _)] = &networks[..]
        && let Some((private, _)) = networks.iter().find(|(name, _)| is_private(name))
    {
        return Err(SpecError::value(format!(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes: {private} and {name}"
        )));
    }
    let (name, first) = &mut networks[0];
    // On the default network they are the container's own.
    if !is_private(name) && !matches!(name.as_str(), "default" | "bridge") {
        first.links = own.links;
    }
    let conflict = |flag: &str, field: &str| {
        SpecError::value(format!(
            "conflicting options: cannot specify both --{flag} and per-network {field}"
        ))
    };
    if !own.aliases.is_empty() {
        if !first.aliases.is_empty() {
            return Err(conflict("network-alias", "alias"));
        }
        first.aliases = own.aliases;
    }
    if !own.link_local.is_empty() {
        if !first.link_local.is_empty() {
            return Err(conflict("link-local-ip", "link-local IP addresses"));
        }
        first.link_local = own.link_local;
    }
    for (flag, field, given, place) in [
        ("ip", "IPv4 address", own.ip, &mut first.ip),
        ("ip6", "IPv6 address", own.ip6, &mut first.ip6),
        (
            "mac-address",
            "MAC address",
            own.mac_address,
            &mut first.mac_address,
        ),
    ] {
        if let Some(given) = given.filter(|given| !given.is_empty()) {
            if place.is_some() {
                return Err(conflict(flag, field));
            }
            *place = Some(given);
        }
    }
    Ok(networks)
}

/// Whether a network mode leaves no room for others.
fn is_private(name: &str) -> bool {
    matches!(name, "host" | "none") || name.starts_with("container:")
}

/// A name, or `name=NAME,alias=web,ip=10.9.0.5,...`.
fn network(text: &str) -> Result<(String, Endpoint), SpecError> {
    let mut endpoint = Endpoint::default();
    if !text.contains('=') {
        return Ok((text.to_owned(), endpoint));
    }
    let mut name = String::new();
    for field in text.split(',') {
        let invalid = || SpecError::value(format!("invalid field {field}"));
        let (key, value) = field.split_once('=').ok_or_else(invalid)?;
        let value = value.trim().to_owned();
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => name = value,
            "alias" => endpoint.aliases.push(value.to_lowercase()),
            "ip" => endpoint.ip = Some(value),
            "ip6" => endpoint.ip6 = Some(value),
            "mac-address" => endpoint.mac_address = Some(value),
            "link-local-ip" => endpoint.link_local.push(value),
            "driver-opt" => endpoint.driver_opts.push(value),
            "gw-priority" => {
                let priority = value.parse();
                endpoint.gw_priority =
                    Some(priority.map_err(|_| SpecError::value(format!("invalid gw-priority: {value}")))?);
            }
            _ => return Err(SpecError::value(format!("invalid field key {}", key.trim()))),
        }
    }
    if name.is_empty() {
        return Err(SpecError::value("network name/id is not specified".to_owned()));
    }
    Ok((name, endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(flags: &[&str], own: Endpoint) -> Result<Vec<(String, Endpoint)>, SpecError> {
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        networks(&flags, own)
    }

    #[test]
    fn networks_and_what_is_asked_of_them() {
        assert_eq!(
            all(&[], Endpoint::default()).expect("none"),
            [("default".to_owned(), Endpoint::default())]
        );
        let own = Endpoint {
            ip: Some("10.9.0.5".to_owned()),
            aliases: vec!["db".to_owned()],
            links: vec!["store:money".to_owned()],
            ..Endpoint::default()
        };
        assert_eq!(all(&["bridge"], own.clone()).expect("one")[0].1.links, [""; 0]);
        let two = all(
            &["shop", "name=back,alias=Web,gw-priority=-3,ip=10.8.0.2"],
            own.clone(),
        )
        .expect("two");
        assert_eq!(two[0], ("shop".to_owned(), own.clone()));
        assert_eq!(
            two[1].1.body().expect("body"),
            json!({"Aliases": ["web"], "GwPriority": -3, "IPAMConfig": {"IPv4Address": "10.8.0.2"}})
        );
        for flags in [
            &["name=a,colour=red"][..],
            &["alias=a"],
            &["name=a,ip"],
            &["name=a,gw-priority=high"],
            &["a", "a"],
            &["a", "host"],
            &["none", "a"],
        ] {
            assert!(all(flags, Endpoint::default()).is_err(), "{flags:?}");
        }
        assert!(all(&["name=a,ip=10.9.0.6"], own).is_err(), "said twice");
    }
}
