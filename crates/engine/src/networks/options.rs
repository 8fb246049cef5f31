//! What may be said when a network is created: the bridge driver's options, and its addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::{Ipam, IpamPool};
use crate::{EngineError, Result};

/// The options of the bridge driver that have an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BridgeOptions {
    pub interface: Option<String>,
    pub neighbours: bool,
    pub masquerade: bool,
    pub mtu: Option<u32>,
    /// Where ports are published that name no address of the host.
    pub host_binding: Ipv4Addr,
}

pub(crate) fn parse(options: &BTreeMap<String, String>) -> Result<BridgeOptions> {
    let mut parsed = BridgeOptions {
        interface: None,
        neighbours: true,
        masquerade: true,
        mtu: None,
        host_binding: Ipv4Addr::UNSPECIFIED,
    };
    for (key, value) in options {
        let wrong = |expected: &str| {
            EngineError::invalid(format!("invalid value {value:?} for option {key}: {expected}"))
        };
        match key.as_str() {
            "com.docker.network.bridge.name" => {
                let fits = (1..=15).contains(&value.len())
                    && value
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
                    && value != "."
                    && value != "..";
                if !fits {
                    return Err(wrong(
                        "an interface's name has 1 to 15 letters, digits, '-', '_' or '.'",
                    ));
                }
                parsed.interface = Some(value.clone());
            }
            "com.docker.network.bridge.enable_icc" => {
                parsed.neighbours = boolean(value).ok_or_else(|| wrong("true or false"))?;
            }
            "com.docker.network.bridge.enable_ip_masquerade" => {
                parsed.masquerade = boolean(value).ok_or_else(|| wrong("true or false"))?;
            }
            "com.docker.network.bridge.host_binding_ipv4" => {
                parsed.host_binding = value.parse().map_err(|_| wrong("an IPv4 address"))?;
            }
            "com.docker.network.driver.mtu" | "com.docker.network.bridge.mtu" => {
                let mtu = value.parse().ok().filter(|mtu| (68..=65535).contains(mtu));
                parsed.mtu = Some(mtu.ok_or_else(|| wrong("bytes from 68 to 65535"))?);
            }
            _ => {
                return Err(EngineError::invalid(format!(
                    "option {key} is not supported by the bridge driver: com.docker.network.bridge.name, .enable_icc, \
                     .enable_ip_masquerade, .host_binding_ipv4 and com.docker.network.driver.mtu are"
                )));
            }
        }
    }
    Ok(parsed)
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Some(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Addresses as they were asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub subnet: Option<Ipv4Net>,
    pub range: Option<Ipv4Net>,
    pub gateway: Option<Ipv4Addr>,
    pub auxiliary: BTreeMap<String, Ipv4Addr>,
}

pub(crate) fn plan(ipam: &Ipam) -> Result<Plan> {
    if !matches!(ipam.driver.as_str(), "" | "default") {
        return Err(EngineError::invalid(format!(
            "IPAM driver {} is not supported: only default is",
            ipam.driver
        )));
    }
    if let Some(option) = ipam.options.keys().next() {
        return Err(EngineError::invalid(format!(
            "IPAM option {option} is not supported by the default IPAM driver"
        )));
    }
    let pool = match &ipam.pools[..] {
        [] => return Ok(Plan::default()),
        [pool] => pool,
        _ => {
            return Err(EngineError::invalid(
                "a bridge network has one subnet: give one --subnet",
            ));
        }
    };
    one(pool)
}

fn one(pool: &IpamPool) -> Result<Plan> {
    let invalid = |text: String| EngineError::invalid(format!("invalid network config:\n{text}"));
    let mut plan = Plan::default();
    if !pool.subnet.is_empty() {
        plan.subnet = Some(net("subnet", &pool.subnet)?);
    }
    let Some(subnet) = plan.subnet else {
        let other = [&pool.range, &pool.gateway];
        if other.iter().any(|text| !text.is_empty()) || !pool.auxiliary.is_empty() {
            return Err(invalid(
                "an IP range, a gateway or an auxiliary address needs a subnet: give --subnet".to_owned(),
            ));
        }
        return Ok(plan);
    };
    if subnet.trunc() != subnet {
        return Err(invalid(format!(
            "invalid subnet {subnet}: it should be {}",
            subnet.trunc()
        )));
    }
    if subnet.prefix_len() > 30 || subnet.prefix_len() < 8 {
        return Err(invalid(format!(
            "invalid subnet {subnet}: its prefix is to be from /8 to /30, so that a gateway and a container have an address"
        )));
    }
    let ip = subnet.network();
    if ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() || ip.is_link_local() {
        return Err(invalid(format!(
            "invalid subnet {subnet}: it is not for containers"
        )));
    }
    if !pool.range.is_empty() {
        let range = net("ip-range", &pool.range)?;
        if !subnet.contains(&range) {
            return Err(invalid(format!(
                "invalid ip-range {range}: parent subnet is {subnet}"
            )));
        }
        plan.range = Some(range.trunc());
    }
    let host = |what: &str, text: &str| -> Result<Ipv4Addr> {
        let ip = address(what, text)?;
        match subnet.contains(&ip) && ip != subnet.network() && ip != subnet.broadcast() {
            true => Ok(ip),
            false => Err(invalid(format!("invalid {what} {ip}: parent subnet is {subnet}"))),
        }
    };
    if !pool.gateway.is_empty() {
        plan.gateway = Some(host("gateway", &pool.gateway)?);
    }
    for (name, text) in &pool.auxiliary {
        let ip = host("auxiliary address", text)?;
        if plan.gateway == Some(ip) || plan.auxiliary.values().any(|other| *other == ip) {
            return Err(invalid(format!("auxiliary address {ip} is in use already")));
        }
        plan.auxiliary.insert(name.clone(), ip);
    }
    Ok(plan)
}

fn net(what: &str, text: &str) -> Result<Ipv4Net> {
    match text.parse::<IpNet>() {
        Ok(IpNet::V4(net)) => Ok(net),
        Ok(IpNet::V6(_)) => Err(no_ipv6(text)),
        Err(_) => Err(EngineError::invalid(format!(
            "invalid {what} {text}: invalid CIDR address"
        ))),
    }
}

/// An IPv4 address.
pub(crate) fn address(what: &str, text: &str) -> Result<Ipv4Addr> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => Ok(ip),
        Ok(IpAddr::V6(_)) => Err(no_ipv6(text)),
        Err(_) => Err(EngineError::invalid(format!("invalid {what}: {text}"))),
    }
}

fn no_ipv6(text: &str) -> EngineError {
    EngineError::invalid(format!(
        "{text}: networks have IPv4 addresses only: leave IPv6 addresses out"
    ))
}

pub(crate) fn overlap(one: &Ipv4Net, other: &Ipv4Net) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnet: &str, range: &str, gateway: &str, auxiliary: &[(&str, &str)]) -> Result<Plan> {
        let pool = IpamPool {
            subnet: subnet.to_owned(),
            range: range.to_owned(),
            gateway: gateway.to_owned(),
            auxiliary: auxiliary
                .iter()
                .map(|(name, ip)| ((*name).to_owned(), (*ip).to_owned()))
                .collect(),
        };
        plan(&Ipam {
            pools: vec![pool],
            ..Ipam::default()
        })
    }

    #[test]
    fn addresses_lie_in_their_subnet() {
        let good = pool(
            "10.9.0.0/16",
            "10.9.4.0/24",
            "10.9.0.9",
            &[("router", "10.9.0.5")],
        )
        .expect("good");
        assert_eq!(good.range, Some("10.9.4.0/24".parse().expect("net")));
        assert_eq!(good.auxiliary["router"], Ipv4Addr::new(10, 9, 0, 5));
        assert_eq!(pool("", "", "", &[]).expect("nothing said"), Plan::default());
        for (subnet, range, gateway, auxiliary) in [
            ("10.9.0.1/16", "", "", None),
            ("10.9.0.0/31", "", "", None),
            ("10.9.0.0", "", "", None),
            ("127.0.0.0/8", "", "", None),
            ("fd00::/64", "", "", None),
            ("10.9.0.0/16", "10.8.0.0/24", "", None),
            ("10.9.0.0/16", "10.0.0.0/8", "", None),
            ("10.9.0.0/16", "", "10.8.0.1", None),
            ("10.9.0.0/16", "", "10.9.0.0", None),
            ("10.9.0.0/16", "", "10.9.0.1", Some("10.9.0.1")),
            ("10.9.0.0/16", "", "", Some("10.9.255.255")),
            ("", "10.9.4.0/24", "", None),
            ("", "", "10.9.4.1", None),
        ] {
            let auxiliary: Vec<_> = auxiliary.iter().map(|ip| ("x", *ip)).collect();
            assert!(
                pool(subnet, range, gateway, &auxiliary).is_err(),
                "{subnet} {range} {gateway}"
            );
        }
    }

    #[test]
    fn options_have_an_effect_or_are_refused() {
        let with = |key: &str, value: &str| parse(&BTreeMap::from([(key.to_owned(), value.to_owned())]));
        assert_eq!(
            with("com.docker.network.bridge.name", "shop0")
                .expect("name")
                .interface
                .as_deref(),
            Some("shop0")
        );
        assert!(
            !with("com.docker.network.bridge.enable_icc", "false")
                .expect("icc")
                .neighbours
        );
        assert!(
            !with("com.docker.network.bridge.enable_ip_masquerade", "0")
                .expect("masquerade")
                .masquerade
        );
        assert_eq!(
            with("com.docker.network.driver.mtu", "1400").expect("mtu").mtu,
            Some(1400)
        );
        for (key, value) in [
            ("com.docker.network.bridge.name", "a b"),
            ("com.docker.network.bridge.name", "x\"; drop"),
            ("com.docker.network.bridge.enable_icc", "perhaps"),
            ("com.docker.network.bridge.host_binding_ipv4", "here"),
            ("com.docker.network.driver.mtu", "7"),
            ("com.docker.network.bridge.inhibit_ipv4", "true"),
            ("parent", "eth0"),
        ] {
            assert!(with(key, value).is_err(), "{key}={value}");
        }
    }
}
