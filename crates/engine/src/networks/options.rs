//! The options of a network's driver.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use havre_network::{BridgeDriver, Driver, IpvlanFlag, IpvlanMode, MacvlanMode, ParentDriver, Sharing};

use crate::{EngineError, Result};

/// What begins the names of interfaces in containers, unless something else is asked for.
const PREFIX: &str = "eth";

/// Options as they take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub mtu: Option<u32>,
    /// Begins the names of interfaces in containers.
    pub prefix: String,
    /// Where ports are published that name no address of the host; `None`: at all of them.
    pub host_binding: Option<Ipv4Addr>,
    /// `None`: named after the network's id.
    pub interface: Option<String>,
    pub kind: Kind,
    /// Options that this driver doesn't know: they are kept and shown, and do nothing.
    pub ignored: Vec<String>,
}

/// What carries the network, but for the name of its interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Bridge {
        neighbours: bool,
        masquerade: bool,
        unnumbered: bool,
    },
    Parent(Sharing),
}

/// `driver` is one of `bridge`, `macvlan`, `ipvlan`.
pub(crate) fn parse(driver: &str, options: &BTreeMap<String, String>) -> Result<Options> {
    let mut parsed = Options {
        mtu: None,
        prefix: PREFIX.to_owned(),
        host_binding: None,
        interface: None,
        kind: match driver {
            "macvlan" => Kind::Parent(Sharing::Macvlan(MacvlanMode::Bridge)),
            "ipvlan" => Kind::Parent(Sharing::Ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge)),
            _ => Kind::Bridge {
                neighbours: true,
                masquerade: true,
                unnumbered: false,
            },
        },
        ignored: Vec::new(),
    };
    for (key, value) in options {
        let known = match &mut parsed.kind {
            Kind::Bridge {
                neighbours,
                masquerade,
                unnumbered,
            } => match key.as_str() {
                "com.docker.network.bridge.name" => {
                    parsed.interface = Some(interface(key, value)?);
                    true
                }
                "com.docker.network.bridge.enable_icc" => {
                    *neighbours = boolean(key, value)?;
                    true
                }
                "com.docker.network.bridge.enable_ip_masquerade" => {
                    *masquerade = boolean(key, value)?;
                    true
                }
                "com.docker.network.bridge.inhibit_ipv4" => {
                    *unnumbered = boolean(key, value)?;
                    true
                }
                "com.docker.network.bridge.host_binding_ipv4" => {
                    let binding: Ipv4Addr = value.parse().map_err(|_| wrong(key, value, "nil ip"))?;
                    parsed.host_binding = (!binding.is_unspecified()).then_some(binding);
                    true
                }
                "com.docker.network.bridge.gateway_mode_ipv4"
                | "com.docker.network.bridge.gateway_mode_ipv6" => {
                    if value != "nat" {
                        return Err(EngineError::invalid(format!(
                            "{key}={value} is not supported: addresses are translated (nat)"
                        )));
                    }
                    true
                }
                _ => false,
            },
            Kind::Parent(sharing) => match (key.as_str(), sharing) {
                ("parent", _) if value == "lo" => {
                    return Err(EngineError::invalid(format!(
                        "loopback interface is not a valid {driver} parent link"
                    )));
                }
                ("parent", _) => {
                    parsed.interface = (!value.is_empty()).then(|| interface(key, value)).transpose()?;
                    true
                }
                ("macvlan_mode", Sharing::Macvlan(mode)) => {
                    *mode = match value.as_str() {
                        "" | "bridge" => MacvlanMode::Bridge,
                        "vepa" => MacvlanMode::Vepa,
                        "private" => MacvlanMode::Private,
                        "passthru" => MacvlanMode::Passthru,
                        _ => {
                            return Err(EngineError::invalid(format!(
                                "requested macvlan mode '{value}' is not valid, 'bridge' mode is the macvlan driver default"
                            )));
                        }
                    };
                    true
                }
                ("ipvlan_mode", Sharing::Ipvlan(mode, _)) => {
                    *mode = match value.as_str() {
                        "" | "l2" => IpvlanMode::L2,
                        "l3" => IpvlanMode::L3,
                        "l3s" => IpvlanMode::L3s,
                        _ => {
                            return Err(EngineError::invalid(format!(
                                "requested ipvlan mode '{value}' is not valid, 'l2' mode is the ipvlan driver default"
                            )));
                        }
                    };
                    true
                }
                ("ipvlan_flag", Sharing::Ipvlan(_, flag)) => {
                    *flag = match value.as_str() {
                        "" | "bridge" => IpvlanFlag::Bridge,
                        "private" => IpvlanFlag::Private,
                        "vepa" => IpvlanFlag::Vepa,
                        _ => {
                            return Err(EngineError::invalid(format!(
                                "requested ipvlan flag '{value}' is not valid, 'bridge' is the ipvlan driver default"
                            )));
                        }
                    };
                    true
                }
                _ => false,
            },
        };
        match key.as_str() {
            _ if known => {}
            "com.docker.network.driver.mtu" | "com.docker.network.bridge.mtu" => {
                let mtu: u32 = value.parse().map_err(|_| {
                    wrong(
                        key,
                        value,
                        &format!("strconv.Atoi: parsing {value:?}: invalid syntax"),
                    )
                })?;
                if mtu != 0 && !(68..=65535).contains(&mtu) {
                    return Err(wrong(key, value, "bytes from 68 to 65535"));
                }
                parsed.mtu = (mtu != 0).then_some(mtu);
            }
            "com.docker.network.container_iface_prefix" => {
                parsed.prefix = interface(key, value)?;
                if parsed.prefix.len() > 11 {
                    return Err(wrong(key, value, "at most 11 letters: a number follows"));
                }
            }
            _ => parsed.ignored.push(key.clone()),
        }
    }
    Ok(parsed)
}

impl Options {
    /// The driver, with its interface.
    pub(crate) fn driver(&self, interface: &str) -> Driver {
        match self.kind {
            Kind::Bridge {
                neighbours,
                masquerade,
                unnumbered,
            } => Driver::Bridge(BridgeDriver {
                interface: interface.to_owned(),
                neighbours,
                masquerade,
                unnumbered,
            }),
            Kind::Parent(sharing) => Driver::Parent(ParentDriver {
                parent: interface.to_owned(),
                dummy: self.interface.is_none(),
                sharing,
            }),
        }
    }

    /// Containers can only reach each other, whatever was asked for.
    pub(crate) fn leads_nowhere(&self) -> bool {
        matches!(self.kind, Kind::Parent(_)) && self.interface.is_none()
    }

    /// The name of the interface of a network that names none.
    pub(crate) fn interface_of(&self, id: &str) -> String {
        let prefix = match self.kind {
            Kind::Bridge { .. } => "br",
            Kind::Parent(Sharing::Macvlan(_)) => "dm",
            Kind::Parent(Sharing::Ipvlan(..)) => "di",
        };
        let own = || format!("{prefix}-{}", &id[..12.min(id.len())]);
        self.interface.clone().unwrap_or_else(own)
    }
}

fn wrong(key: &str, value: &str, reason: &str) -> EngineError {
    EngineError::invalid(format!("failed to parse {key} value: {value} ({reason})"))
}

fn interface(key: &str, value: &str) -> Result<String> {
    let fits = (1..=15).contains(&value.len())
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && value != "."
        && value != "..";
    let expected = "an interface's name has 1 to 15 letters, digits, '-', '_' or '.'";
    fits.then(|| value.to_owned())
        .ok_or_else(|| wrong(key, value, expected))
}

/// As Go's `strconv.ParseBool` reads it.
fn boolean(key: &str, value: &str) -> Result<bool> {
    match value {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err(wrong(
            key,
            value,
            &format!("strconv.ParseBool: parsing {value:?}: invalid syntax"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(driver: &str, key: &str, value: &str) -> Result<Options> {
        parse(driver, &BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn options_of_bridges() {
        let bridge = |key: &str, value: &str| with("bridge", key, value).expect(key);
        let named = bridge("com.docker.network.bridge.name", "shop0");
        assert_eq!(named.interface_of("0123456789abcdef"), "shop0");
        let plain = parse("bridge", &BTreeMap::new()).expect("nothing said");
        assert_eq!(plain.interface_of("0123456789abcdef"), "br-0123456789ab");
        let kind = |neighbours, masquerade, unnumbered| Kind::Bridge {
            neighbours,
            masquerade,
            unnumbered,
        };
        assert_eq!(plain.kind, kind(true, true, false));
        let icc = bridge("com.docker.network.bridge.enable_icc", "false");
        assert_eq!(icc.kind, kind(false, true, false));
        let masquerade = bridge("com.docker.network.bridge.enable_ip_masquerade", "0");
        assert_eq!(masquerade.kind, kind(true, false, false));
        let unnumbered = bridge("com.docker.network.bridge.inhibit_ipv4", "true");
        assert_eq!(unnumbered.kind, kind(true, true, true));
        assert_eq!(bridge("com.docker.network.driver.mtu", "1400").mtu, Some(1400));
        assert_eq!(
            bridge("com.docker.network.container_iface_prefix", "lan").prefix,
            "lan"
        );
        assert_eq!(bridge("parent", "eth0").ignored, ["parent"], "as Docker does");
        let binding = bridge("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1").host_binding;
        assert_eq!(binding, Some(Ipv4Addr::LOCALHOST));
        assert_eq!(
            bridge("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0").host_binding,
            None
        );
        for (key, value) in [
            ("com.docker.network.bridge.name", "a b"),
            ("com.docker.network.bridge.name", "x\"; drop"),
            ("com.docker.network.bridge.enable_icc", "perhaps"),
            ("com.docker.network.bridge.host_binding_ipv4", "here"),
            ("com.docker.network.bridge.gateway_mode_ipv4", "routed"),
            ("com.docker.network.driver.mtu", "7"),
            ("com.docker.network.driver.mtu", "abc"),
            ("com.docker.network.container_iface_prefix", "twelveletters"),
        ] {
            let error = with("bridge", key, value).expect_err(key).to_string();
            assert!(error.contains(key) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn options_of_shared_interfaces() {
        let private = with("macvlan", "macvlan_mode", "private").expect("a mode");
        assert_eq!(private.kind, Kind::Parent(Sharing::Macvlan(MacvlanMode::Private)));
        assert!(private.leads_nowhere());
        assert_eq!(private.interface_of("0123456789abcdef"), "dm-0123456789ab");
        let on = with("ipvlan", "parent", "eth0.10").expect("a parent");
        assert_eq!(
            on.kind,
            Kind::Parent(Sharing::Ipvlan(IpvlanMode::L2, IpvlanFlag::Bridge))
        );
        assert!(!on.leads_nowhere());
        let l3s = with("ipvlan", "ipvlan_mode", "l3s").expect("a mode");
        assert_eq!(
            l3s.kind,
            Kind::Parent(Sharing::Ipvlan(IpvlanMode::L3s, IpvlanFlag::Bridge))
        );
        assert_eq!(l3s.interface_of("0123456789abcdef"), "di-0123456789ab");
        let other = with("macvlan", "ipvlan_mode", "l9").expect("somebody else's");
        assert_eq!(other.ignored, ["ipvlan_mode"]);
        for (driver, key, value, says) in [
            (
                "macvlan",
                "macvlan_mode",
                "foo",
                "requested macvlan mode 'foo' is not valid",
            ),
            (
                "ipvlan",
                "ipvlan_mode",
                "l9",
                "requested ipvlan mode 'l9' is not valid",
            ),
            (
                "ipvlan",
                "ipvlan_flag",
                "x",
                "requested ipvlan flag 'x' is not valid",
            ),
            (
                "macvlan",
                "parent",
                "lo",
                "loopback interface is not a valid macvlan parent link",
            ),
        ] {
            let error = with(driver, key, value).expect_err(key).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
