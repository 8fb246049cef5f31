//! The files the engine keeps beside a container's snapshot: `hosts`, `hostname`, `resolv.conf` and the log.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_network::files;
use havre_runtime::logs::LogFormat;
use havre_store::Store;

use super::HostConfig;
use super::record::Record;
use super::validate::NetworkMode;
use crate::{EngineError, Result};

pub(crate) fn log_path(store: &Store, id: &str, format: LogFormat) -> PathBuf {
    let directory = store.layout().container(id);
    match format {
        LogFormat::Json => directory.join(format!("{id}-json.log")),
        LogFormat::Local => directory.join("local-logs/container.log"),
    }
}

pub(crate) fn shm_path(store: &Store, id: &str) -> PathBuf {
    store.layout().container(id).join("shm")
}

/// Where a part of a volume is bound until the runtime has mounted it; `index`: which of the mounts.
pub(super) fn part_path(store: &Store, id: &str, index: usize) -> PathBuf {
    store.layout().container(id).join("parts").join(index.to_string())
}

pub(crate) fn hosts_path(store: &Store, id: &str) -> PathBuf {
    store.layout().container(id).join("hosts")
}

pub(crate) fn hostname_path(store: &Store, id: &str) -> PathBuf {
    store.layout().container(id).join("hostname")
}

pub(crate) fn resolv_conf_path(store: &Store, id: &str) -> PathBuf {
    store.layout().container(id).join("resolv.conf")
}

/// Servers, search domains and options of `--dns…`.
pub(crate) fn dns_options(host: &HostConfig) -> Result<files::DnsOptions> {
    let servers: Result<Vec<IpAddr>> = host
        .dns
        .iter()
        .map(|server| {
            server.parse().map_err(|_| {
                EngineError::invalid(format!("invalid IP address: {server}: --dns takes addresses"))
            })
        })
        .collect();
    for word in host.dns_search.iter().chain(&host.dns_options) {
        if word.is_empty() || word.contains(char::is_whitespace) {
            return Err(EngineError::invalid(format!(
                "invalid DNS search domain or option: {word:?}"
            )));
        }
    }
    Ok(files::DnsOptions {
        servers: servers?,
        search: host.dns_search.clone(),
        options: host.dns_options.clone(),
    })
}

/// `name:address` and `name=address`; `host-gateway` is the host's address on the bridge.
pub(crate) fn extra_hosts(entries: &[String], gateway: Option<IpAddr>) -> Result<Vec<(String, IpAddr)>> {
    let mut parsed = Vec::with_capacity(entries.len());
    for entry in entries {
        let (name, address) = entry
            .split_once('=')
            .or_else(|| entry.split_once(':'))
            .filter(|(name, address)| {
                !name.is_empty() && !address.is_empty() && !name.contains(char::is_whitespace)
            })
            .ok_or_else(|| EngineError::invalid(format!("bad format for add-host: {entry:?}")))?;
        let bare = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(address);
        let address = match (bare, gateway) {
            ("host-gateway", Some(gateway)) => gateway,
            ("host-gateway", None) => IpAddr::from([127, 0, 0, 1]),
            _ => bare
                .parse()
                .map_err(|_| EngineError::invalid(format!("invalid IP address in add-host: {address:?}")))?,
        };
        parsed.push((name.to_owned(), address));
    }
    Ok(parsed)
}

/// Writes `hostname` and `resolv.conf`, and `hosts` as far as it is known before the address is.
pub(crate) fn write(
    store: &Store,
    record: &Record,
    mode: &NetworkMode,
    gateway: Option<IpAddr>,
    served: bool,
) -> Result<()> {
    let id = &record.id;
    write_resolv_conf(store, record, mode, served)?;
    fs::write(hostname_path(store, id), files::hostname(&record.config.hostname))?;
    write_hosts(store, record, mode, &[], gateway)
}

/// Writes `resolv.conf` in place: it may be mounted already. `served`: the container has a name server of its own.
pub(crate) fn write_resolv_conf(
    store: &Store,
    record: &Record,
    mode: &NetworkMode,
    served: bool,
) -> Result<()> {
    let host = &record.host_config;
    let resolv_conf = match mode {
        NetworkMode::Host if host.dns.is_empty() && host.dns_search.is_empty() => files::host_resolv_conf(),
        _ if served => of_server(record)?.0,
        _ => files::resolv_conf(&files::host_resolv_conf(), &dns_options(host)?),
    };
    Ok(fs::write(resolv_conf_path(store, &record.id), resolv_conf)?)
}

/// Whom a container's own name server asks, and whether the host's own loopback address is meant.
pub(crate) fn servers(record: &Record) -> Result<Vec<(IpAddr, bool)>> {
    Ok(of_server(record)?.1)
}

fn of_server(record: &Record) -> Result<(String, Vec<(IpAddr, bool)>)> {
    let options = dns_options(&record.host_config)?;
    let server = IpAddr::V4(havre_dns::ADDRESS);
    Ok(files::resolv_conf_of_server(
        &files::host_resolv_conf(),
        &options,
        server,
    ))
}

/// Writes `hosts` in place: it may be mounted already.
pub(crate) fn write_hosts(
    store: &Store,
    record: &Record,
    mode: &NetworkMode,
    own: &[IpAddr],
    gateway: Option<IpAddr>,
) -> Result<()> {
    let extra = extra_hosts(&record.host_config.extra_hosts, gateway)?;
    let path = hosts_path(store, &record.id);
    if *mode == NetworkMode::Host {
        let mut hosts = read_or_empty(Path::new("/etc/hosts"))?;
        for (name, address) in extra {
            hosts.push_str(&format!("{address}\t{name}\n"));
        }
        return Ok(fs::write(path, hosts)?);
    }
    let (host, domain) = (record.config.hostname.as_str(), record.config.domainname.as_str());
    let qualified = format!("{host}.{domain}");
    let names: &[&str] = if domain.is_empty() {
        &[host]
    } else {
        &[&qualified, host]
    };
    Ok(fs::write(path, files::hosts(own, names, &extra))?)
}

fn read_or_empty(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if text.is_empty() || text.ends_with('\n') => Ok(text),
        Ok(text) => Ok(text + "\n"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extra(entry: &str) -> Result<Vec<(String, IpAddr)>> {
        extra_hosts(&[entry.to_owned()], Some(IpAddr::from([172, 17, 0, 1])))
    }

    #[test]
    fn added_hosts() {
        for (entry, address) in [
            ("db:10.0.0.1", "10.0.0.1"),
            ("db=10.0.0.1", "10.0.0.1"),
            ("db:::1", "::1"),
            ("db:[::1]", "::1"),
            ("db:host-gateway", "172.17.0.1"),
        ] {
            assert_eq!(
                extra(entry).unwrap(),
                [("db".to_owned(), address.parse().unwrap())],
                "{entry}"
            );
        }
        assert_eq!(
            extra("db").unwrap_err().to_string(),
            "bad format for add-host: \"db\""
        );
        assert_eq!(
            extra("db:here").unwrap_err().to_string(),
            "invalid IP address in add-host: \"here\""
        );
        assert!(extra(":10.0.0.1").is_err());
        assert!(extra("a b:10.0.0.1").is_err());
    }

    #[test]
    fn dns_servers_are_addresses() {
        let with = |server: &str| HostConfig {
            dns: vec![server.to_owned()],
            ..HostConfig::default()
        };
        assert!(dns_options(&with("8.8.8.8")).is_ok());
        assert!(dns_options(&with("dns.google")).is_err());
        let search = HostConfig {
            dns_search: vec!["a\nnameserver 1.2.3.4".into()],
            ..HostConfig::default()
        };
        assert!(dns_options(&search).is_err(), "no line can be smuggled in");
    }
}
