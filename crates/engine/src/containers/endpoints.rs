//! What is asked of one network: checked, and put to the driver.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use havre_network::{EndpointRequest, MacAddress, PortRequest, has_ipv6};

use super::EndpointConfig;
use crate::networks::Found;
use crate::{EngineError, Result};

/// Options of endpoints that have an effect; others are ignored, as Docker does.
const INTERFACE: &str = "com.docker.network.endpoint.ifname";
const SETTINGS: &str = "com.docker.network.endpoint.sysctls";

fn invalid(text: impl std::fmt::Display) -> EngineError {
    EngineError::invalid(format!("invalid endpoint settings:\n{text}"))
}

/// Refuses what a network cannot give.
pub(super) fn check(found: &Found, config: &EndpointConfig) -> Result<()> {
    for alias in &config.aliases {
        if alias.is_empty() || alias.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(invalid(format_args!("invalid network alias {alias:?}")));
        }
    }
    if let Some(bad) = config.links.iter().find(|text| link(text).is_none()) {
        return Err(EngineError::invalid(format!("bad format for links: {bad}")));
    }
    if !config.mac_address.is_empty() {
        config.mac_address.parse::<MacAddress>().map_err(invalid)?;
    }
    settings(config)?;
    for text in &config.link_local_addresses {
        let ip: IpAddr = text
            .parse()
            .map_err(|_| invalid(format_args!("invalid link-local IP address: {text}")))?;
        let is_link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        if !is_link_local {
            return Err(invalid(format_args!(
                "invalid link-local IP address: {text}: those of 169.254.0.0/16 and fe80::/10 are"
            )));
        }
    }
    let ipv4 = parsed::<Ipv4Addr>("IPv4", &config.ipv4_address)?;
    let ipv6 = parsed::<Ipv6Addr>("IPv6", &config.ipv6_address)?;
    let network = match found {
        Found::Predefined(_) => {
            if ipv4.is_some() || ipv6.is_some() {
                return Err(invalid(
                    "user specified IP address is supported on user defined networks only",
                ));
            }
            if !config.aliases.is_empty() {
                return Err(invalid(
                    "network-scoped aliases are only supported for user-defined networks",
                ));
            }
            return Ok(());
        }
        Found::User(network) => network,
    };
    let unconfigured = "user specified IP address is supported only when connecting to networks with user configured subnets";
    let outside = |ip: IpAddr, subnet: &dyn std::fmt::Display| {
        invalid(format_args!(
            "no configured subnet or ip-range contain the IP address {ip}: the subnet is {subnet}"
        ))
    };
    if let Some(ip) = ipv4 {
        let Some(given) = &network.ipv4 else {
            return Err(invalid(format_args!(
                "{unconfigured}: network {} has no IPv4",
                network.name
            )));
        };
        if !given.configured {
            return Err(invalid(unconfigured));
        }
        if !given.subnet.contains(&ip) {
            return Err(outside(ip.into(), &given.subnet));
        }
    }
    if let Some(ip) = ipv6 {
        let Some(given) = &network.ipv6 else {
            return Err(invalid(format_args!(
                "{unconfigured}: network {} has no IPv6",
                network.name
            )));
        };
        if !given.configured {
            return Err(invalid(unconfigured));
        }
        if !given.subnet.contains(&ip) {
            return Err(outside(ip.into(), &given.subnet));
        }
    }
    Ok(())
}

/// An endpoint for a container. `mac`: the container's own wish, where this network has none. `ports` that name no address
/// of the host are published where the network says.
pub(super) fn request(
    container: &str,
    found: &Found,
    config: &EndpointConfig,
    mac: Option<&str>,
    ports: &[PortRequest],
) -> Result<EndpointRequest> {
    let mac = [config.mac_address.as_str(), mac.unwrap_or_default()];
    let mac = mac.into_iter().find(|mac| !mac.is_empty()).map(str::parse);
    let binding = match found {
        Found::User(network) => network.options()?.host_binding,
        Found::Predefined(_) => None,
    };
    let everywhere = [
        Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        has_ipv6().then_some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    ];
    let default: Vec<_> = match binding {
        Some(ip) => vec![ip.into()],
        None => everywhere.into_iter().flatten().collect(),
    };
    let mut ports = ports.to_vec();
    for port in ports.iter_mut().filter(|port| port.host_ips.is_empty()) {
        port.host_ips.clone_from(&default);
    }
    let link_local = config
        .link_local_addresses
        .iter()
        .filter_map(|ip| ip.parse().ok());
    Ok(EndpointRequest {
        ports,
        ip: parsed("IPv4", &config.ipv4_address)?,
        ip6: parsed("IPv6", &config.ipv6_address)?,
        link_local: link_local.collect(),
        mac: mac
            .transpose()
            .map_err(|error: havre_network::ParseMacError| EngineError::invalid(error.to_string()))?,
        interface: config.driver_opts.get(INTERFACE).cloned(),
        settings: settings(config)?,
        priority: config.gateway_priority,
        ..EndpointRequest::new(found.key(), container)
    })
}

fn parsed<T: std::str::FromStr>(family: &str, text: &str) -> Result<Option<T>> {
    match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| invalid(format_args!("invalid {family} address: {text}"))),
    }
}

/// `net.ipv4.conf.IFNAME.log_martians=1,…` as paths beneath `/proc/sys/net` with their values.
fn settings(config: &EndpointConfig) -> Result<Vec<(String, String)>> {
    let Some(text) = config.driver_opts.get(SETTINGS) else {
        return Ok(Vec::new());
    };
    let one = |setting: &str| {
        let (name, value) = setting.split_once('=')?;
        let parts: Vec<_> = name.trim().split('.').collect();
        let plain =
            |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let fits = matches!(parts[..], ["net", _, _, "IFNAME", _]) && parts.iter().all(plain);
        fits.then(|| (parts[1..].join("/"), value.trim().to_owned()))
    };
    let all = text.split(',').map(|setting| {
        one(setting).ok_or_else(|| {
            invalid(format_args!(
                "unrecognised network interface sysctl '{setting}': sysctls are of the form net.X.Y.IFNAME.Z=VALUE"
            ))
        })
    });
    all.collect()
}

/// `name:alias` or `name`: whom the network knows, and what he is called. Both in lower case, as names are looked up; a full id
/// is known by its beginning.
pub(super) fn link(text: &str) -> Option<(String, String)> {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    let (name, alias) = (name.trim_start_matches('/'), alias.rsplit('/').next()?);
    let word = |word: &str| {
        !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':')
    };
    if !word(name) || !word(alias) {
        return None;
    }
    let is_id = name.len() == 64 && name.bytes().all(|digit| digit.is_ascii_hexdigit());
    let name = if is_id { &name[..12] } else { name };
    Some((name.to_ascii_lowercase(), alias.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_names_and_aliases() {
        let pair = |name: &str, alias: &str| Some((name.to_owned(), alias.to_owned()));
        assert_eq!(link("db:Store"), pair("db", "store"));
        assert_eq!(link("DB"), pair("db", "db"));
        assert_eq!(link("/db:/web/store"), pair("db", "store"));
        assert_eq!(
            link(&format!("{}:x", "0123456789abcdef".repeat(4))),
            pair("0123456789ab", "x")
        );
        for bad in ["", ":", "db:", ":x", "a:b:c", "a b"] {
            assert_eq!(link(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn settings_are_those_of_the_interface() {
        let with = |text: &str| {
            settings(&EndpointConfig {
                driver_opts: [(SETTINGS.to_owned(), text.to_owned())].into(),
                ..EndpointConfig::default()
            })
        };
        assert_eq!(
            with("net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=0").expect("two"),
            [
                ("ipv4/conf/IFNAME/log_martians".to_owned(), "1".to_owned()),
                ("ipv6/conf/IFNAME/accept_ra".to_owned(), "0".to_owned())
            ]
        );
        for bad in [
            "",
            "net.ipv4.conf.IFNAME.log_martians",
            "net.ipv4.conf.eth0.log_martians=1",
            "kernel.x.y.IFNAME.z=1",
            "net.ipv4.../../../x.IFNAME.z=1",
            "net.ipv4.conf.IFNAME.a/b=1",
        ] {
            assert!(with(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_predefined_networks_give_no_addresses() {
        let bridge = Found::Predefined("bridge");
        let with = |change: &dyn Fn(&mut EndpointConfig)| {
            let mut config = EndpointConfig::default();
            change(&mut config);
            check(&bridge, &config)
        };
        assert!(with(&|_| {}).is_ok());
        assert!(
            with(&|config| config.link_local_addresses = vec!["169.254.3.3".into(), "fe80::9".into()])
                .is_ok()
        );
        for refused in [
            with(&|config| config.ipv4_address = "172.17.0.9".into()),
            with(&|config| config.ipv6_address = "fd00::9".into()),
            with(&|config| config.ipv6_address = "10.0.0.9".into()),
            with(&|config| config.link_local_addresses = vec!["10.0.0.9".into()]),
            with(&|config| config.aliases = vec!["db".into()]),
            with(&|config| config.mac_address = "no".into()),
            with(&|config| config.links = vec!["a:b:c".into()]),
        ] {
            refused.expect_err("refused");
        }
    }
}
