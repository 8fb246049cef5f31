//! The three files of a container that name hosts: `resolv.conf`, `hosts`, `hostname`.

use std::net::IpAddr;

/// What the user said about name resolution (`--dns`, `--dns-search`, `--dns-option`); empty means the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsOptions {
    pub servers: Vec<IpAddr>,
    /// Search domains; a single `.` means none at all.
    pub search: Vec<String>,
    pub options: Vec<String>,
}

/// The host's `resolv.conf`, or the one systemd-resolved keeps behind its loopback stub. Empty when there is none.
pub fn host_resolv_conf() -> String {
    todo!()
}

/// `resolv.conf` of a container with its own namespace: the host's, without servers on loopback addresses, which
/// would be the container's own; when none is left, the public servers Docker falls back to.
pub fn resolv_conf(host: &str, options: &DnsOptions) -> String {
    let _ = (host, options);
    todo!()
}

/// `hosts` of a container: localhost, its own name, and what `--add-host` adds (name, address).
pub fn hosts(own: Option<(IpAddr, &str, &str)>, extra: &[(String, IpAddr)]) -> String {
    let _ = (own, extra);
    todo!()
}

/// `hostname` of a container.
pub fn hostname(name: &str) -> String {
    format!("{name}\n")
}
