//! What an engine tells its network: where state lives and what things are called.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::{Ipv4Net, Ipv6Net};

/// The longest interface name the kernel takes, in bytes (IFNAMSIZ without its terminating zero).
pub(crate) const INTERFACE_NAME_MAX: usize = 15;

/// Settings of one engine's network. Engines with different `bridge` and `table` names live beside each other.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Directory of this crate's own state: records and `netns/`. Made when missing.
    /// `netns/` holds bind mounts, so it must lie in the mount namespace the shims see.
    pub state_dir: PathBuf,
    /// Name of the default bridge's interface, at most 15 bytes.
    pub bridge: String,
    /// Name of the nftables table (family `inet`) that holds every rule of this engine.
    pub table: String,
    /// Subnets to try for the default bridge, in order; the first that no route of the host overlaps is taken.
    pub pools: Vec<Ipv4Net>,
    /// Where networks with IPv6 that name no subnet get one of 64 bits.
    pub ipv6_pools: Vec<Ipv6Net>,
    /// The default bridge's IPv6 subnet. `None`: it has no IPv6.
    pub ipv6: Option<Ipv6Net>,
    /// MTU of the bridge and of containers; `None`: the uplink's, at most 1500.
    pub mtu: Option<u32>,
}

impl NetworkConfig {
    /// Names and address pools of an ordinary installation.
    pub fn new(state_dir: impl AsRef<Path>) -> Self {
        Self {
            state_dir: state_dir.as_ref().to_path_buf(),
            bridge: "havre0".to_owned(),
            table: "havre".to_owned(),
            pools: default_pools(),
            ipv6_pools: Vec::new(),
            ipv6: None,
            mtu: None,
        }
    }
}

/// Docker's default address pools: 172.17.0.0/16 … 172.31.0.0/16, then 192.168.0.0/16 in pieces of /20.
pub fn default_pools() -> Vec<Ipv4Net> {
    let class_b = (17..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let class_c = (0..16).map(|block| (Ipv4Addr::new(192, 168, block * 16, 0), 20));
    class_b
        .chain(class_c)
        .filter_map(|(address, prefix)| Ipv4Net::new(address, prefix).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pools_are_dockers() {
        let pools = default_pools();
        assert_eq!(pools[0].to_string(), "172.17.0.0/16");
        assert_eq!(pools[14].to_string(), "172.31.0.0/16");
        assert_eq!(pools[15].to_string(), "192.168.0.0/20");
        assert_eq!(
            pools.last().map(ToString::to_string).as_deref(),
            Some("192.168.240.0/20")
        );
    }
}
