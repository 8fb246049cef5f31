//! `--link` on the default bridge (on other networks it is a name that the container's name server knows): the other container's address in `hosts` by its alias, its name and its host name, and
//! its ports and variables in the environment.
//!
//! A link is remembered as `ID:alias`; clients see `/name:/owner/alias`.

use std::net::IpAddr;

use super::record::Record;
use super::table::{Container, Table};
use super::validate::NetworkMode;
use super::{HostConfig, Inner, Status, files};
use crate::{EngineError, Result};

/// Looks every container up by what it is called now. The caller stores what comes back.
pub(crate) fn resolve(host: &HostConfig, mode: &NetworkMode, table: &Table) -> Result<Vec<String>> {
    if host.links.is_empty() {
        return Ok(Vec::new());
    }
    let conflict = |text: &str| Err(EngineError::invalid(text));
    match mode {
        NetworkMode::Bridge => {}
        // Names that the container's own name server knows: they belong to the network.
        NetworkMode::User(_) => return Ok(Vec::new()),
        NetworkMode::Host => {
            return conflict("conflicting options: host type networking can't be used with links");
        }
        NetworkMode::Container(_) => {
            return conflict("conflicting options: container type network can't be used with links");
        }
        _ => {
            return conflict("conflicting options: a container without a network can't be used with links");
        }
    }
    let links = host.links.iter().map(|link| {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        let alias = alias.rsplit('/').next().unwrap_or_default();
        if name.is_empty() || !super::is_valid_name(alias) {
            return Err(EngineError::invalid(format!("bad format for links: {link}")));
        }
        let other = table
            .find(name)
            .map_err(|error| EngineError::invalid(format!("could not get container for {name}: {error}")))?;
        let other_mode = NetworkMode::parse(&other.read().host_config.network_mode)?;
        if other_mode == NetworkMode::Host {
            return Err(EngineError::invalid(
                "conflicting options: host type networking can't be used with links",
            ));
        }
        Ok(format!("{}:{alias}", other.id))
    });
    links.collect()
}

/// As clients see them: `/db:/web/store`. One to a container that is gone is not shown.
pub(crate) fn shown(record: &Record, table: &Table) -> Vec<String> {
    let links = record.host_config.links.iter().filter_map(|link| {
        let (id, alias) = link.split_once(':')?;
        let other = table.get(id)?;
        let name = other.read().name.clone();
        Some(format!("/{name}:/{}/{alias}", record.name))
    });
    links.collect()
}

/// The record with what its links add to its hosts and its environment. Every linked container must run.
pub(crate) fn applied(inner: &Inner, record: &Record) -> Result<Record> {
    let mut linked = record.clone();
    for link in &record.host_config.links {
        let Some((id, alias)) = link.split_once(':') else {
            continue;
        };
        // As Docker: a container that was removed is linked no more.
        let Some(other) = inner.table.get(id) else {
            continue;
        };
        let other = other.read().clone();
        if !matches!(other.state.status, Status::Running | Status::Paused) {
            return Err(EngineError::conflict(format!(
                "Cannot link to a non running container: /{} AS /{}/{alias}",
                other.name, record.name
            )));
        }
        let Some(address) = address(&other) else { continue };
        for name in names(alias, &other) {
            linked.host_config.extra_hosts.push(format!("{name}:{address}"));
        }
    }
    linked.config.env = variables(inner, record);
    Ok(linked)
}

/// Its own variables, and before them those of its links that run.
pub(crate) fn variables(inner: &Inner, record: &Record) -> Vec<String> {
    let mut all = Vec::new();
    for link in &record.host_config.links {
        let other = link
            .split_once(':')
            .and_then(|(id, alias)| Some((alias, inner.table.get(id)?.read().clone())));
        if let Some((alias, other)) = other
            && let Some(address) = address(&other)
        {
            all.extend(environment(record, alias, &other, &address));
        }
    }
    all.extend(record.config.env.iter().cloned());
    all
}

fn names(alias: &str, other: &Record) -> Vec<String> {
    let mut names = vec![alias.to_owned()];
    for name in [&other.config.hostname, &other.name] {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn address(record: &Record) -> Option<String> {
    let endpoint = record.network.as_ref()?.endpoints.get("bridge")?;
    Some(endpoint.ip_address.clone()).filter(|address| !address.is_empty())
}

fn environment(record: &Record, alias: &str, other: &Record, address: &str) -> Vec<String> {
    let prefix = alias.to_uppercase().replace(['-', '.'], "_");
    let mut env = Vec::new();
    let mut ports: Vec<_> = other.config.exposed_ports.iter().collect();
    ports.sort_by_key(|port| (port.number, port.protocol.as_str()));
    let url = |port: &super::Port| format!("{}://{address}:{}", port.protocol.as_str(), port.number);
    if let Some(first) = ports.first() {
        env.push(format!("{prefix}_PORT={}", url(first)));
    }
    for port in ports {
        let protocol = port.protocol.as_str();
        let one = format!("{prefix}_PORT_{}_{}", port.number, protocol.to_uppercase());
        env.push(format!("{one}={}", url(port)));
        env.push(format!("{one}_ADDR={address}"));
        env.push(format!("{one}_PORT={}", port.number));
        env.push(format!("{one}_PROTO={protocol}"));
    }
    env.push(format!("{prefix}_NAME=/{}/{alias}", record.name));
    for variable in &other.config.env {
        match variable.split_once('=') {
            Some(("HOME" | "PATH", _)) | None => {}
            Some((name, value)) => env.push(format!("{prefix}_ENV_{name}={value}")),
        }
    }
    env
}

/// A container has started, perhaps at another address: those that are linked to it and run learn it.
pub(crate) fn refresh(inner: &Inner, started: &Container) {
    for other in inner.table.all() {
        let record = other.read().clone();
        let is_linked = record
            .host_config
            .links
            .iter()
            .any(|link| link.split_once(':').is_some_and(|(id, _)| id == started.id));
        if !is_linked || !record.state.status.is_live() {
            continue;
        }
        let endpoint = record
            .network
            .as_ref()
            .and_then(|network| network.endpoints.get("bridge").cloned());
        let written = applied(inner, &record).and_then(|linked| {
            let ip = |text: &str| text.parse::<IpAddr>().ok();
            let (own, gateway) = endpoint.map_or((None, None), |endpoint| {
                (ip(&endpoint.ip_address), ip(&endpoint.gateway))
            });
            files::write_hosts(
                &inner.store,
                &linked,
                &NetworkMode::Bridge,
                own.as_slice(),
                gateway,
            )
        });
        if let Err(error) = written {
            tracing::warn!(container = record.id, %error, "cannot write the hosts of a linked container anew");
        }
    }
}

/// `rm --link OWNER/ALIAS`: the owner without the link, and whether there was one.
pub(crate) fn without(record: &Record, alias: &str) -> Option<Vec<String>> {
    let is_it = |link: &&String| link.split_once(':').is_some_and(|(_, own)| own == alias);
    let links = &record.host_config.links;
    links.iter().any(|link| is_it(&link)).then(|| {
        let left = links.iter().filter(|link| !is_it(link));
        left.cloned().collect()
    })
}
