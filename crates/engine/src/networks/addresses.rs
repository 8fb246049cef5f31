//! The addresses of a network as they are asked for: at most one pool of each family.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use havre_network::Pool;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Ipam, IpamPool};
use crate::{EngineError, Result};

/// What was asked for of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub subnet: IpNet,
    pub range: Option<IpNet>,
    pub gateway: Option<IpAddr>,
    pub auxiliary: BTreeMap<String, IpAddr>,
}

/// What was asked for; `None`: nothing of this family.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub ipv4: Option<Wanted>,
    pub ipv6: Option<Wanted>,
}

/// `driver` names who says that one pool is enough.
pub(crate) fn plan(driver: &str, ipam: &Ipam) -> Result<Plan> {
    if !matches!(ipam.driver.as_str(), "" | "default") {
        return Err(EngineError::not_found(format!(
            "plugin \"{}\" not found: there is only the IPAM driver default",
            ipam.driver
        )));
    }
    let mut plan = Plan::default();
    for pool in &ipam.pools {
        let wanted = one(pool)?;
        let place = match wanted.subnet {
            IpNet::V4(_) => &mut plan.ipv4,
            IpNet::V6(_) => &mut plan.ipv6,
        };
        if place.replace(wanted).is_some() {
            return Err(EngineError::invalid(format!(
                "{driver} driver doesn't support multiple subnets: give one of each family"
            )));
        }
    }
    Ok(plan)
}

fn invalid(text: String) -> EngineError {
    EngineError::invalid(format!("invalid network config:\n{text}"))
}

fn one(pool: &IpamPool) -> Result<Wanted> {
    if pool.subnet.is_empty() {
        return Err(invalid(
            "an IP range, a gateway or an auxiliary address needs a subnet: give --subnet".to_owned(),
        ));
    }
    let subnet = net("subnet", &pool.subnet)?;
    if subnet.trunc() != subnet {
        return Err(invalid(format!(
            "invalid subnet {subnet}: it should be {}",
            subnet.trunc()
        )));
    }
    let (shortest, longest) = match subnet {
        IpNet::V4(_) => (8, 30),
        IpNet::V6(_) => (8, 126),
    };
    if !(shortest..=longest).contains(&subnet.prefix_len()) {
        return Err(invalid(format!(
            "invalid subnet {subnet}: its prefix is to be from /{shortest} to /{longest}, so that a gateway and a container have \
             an address"
        )));
    }
    let ip = subnet.network();
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() || link_local {
        return Err(invalid(format!(
            "invalid subnet {subnet}: it is not for containers"
        )));
    }
    let mut wanted = Wanted {
        subnet,
        range: None,
        gateway: None,
        auxiliary: BTreeMap::new(),
    };
    if !pool.range.is_empty() {
        let range = net("ip-range", &pool.range)?;
        if !subnet.contains(&range) {
            return Err(invalid(format!(
                "invalid ip-range {range}: parent subnet is {subnet}"
            )));
        }
        wanted.range = Some(range.trunc());
    }
    let host = |what: &str, text: &str| -> Result<IpAddr> {
        let ip: IpAddr = text
            .parse()
            .map_err(|_| EngineError::invalid(format!("invalid {what}: {text}")))?;
        let everybody = ip.is_ipv4() && ip == subnet.broadcast();
        match subnet.contains(&ip) && ip != subnet.network() && !everybody {
            true => Ok(ip),
            false => Err(invalid(format!("invalid {what} {ip}: parent subnet is {subnet}"))),
        }
    };
    if !pool.gateway.is_empty() {
        wanted.gateway = Some(host("gateway", &pool.gateway)?);
    }
    for (name, text) in &pool.auxiliary {
        let ip = host("auxiliary address", text)?;
        if wanted.gateway == Some(ip) || wanted.auxiliary.values().any(|other| *other == ip) {
            return Err(EngineError::new(
                crate::ErrorKind::Forbidden,
                format!("failed to allocate secondary ip address ({name}:{ip}): Address already in use"),
            ));
        }
        wanted.auxiliary.insert(name.clone(), ip);
    }
    Ok(wanted)
}

fn net(what: &str, text: &str) -> Result<IpNet> {
    text.parse()
        .map_err(|_| EngineError::invalid(format!("invalid {what} {text}: invalid CIDR address: {text}")))
}

impl Wanted {
    /// A subnet without further wishes.
    pub(crate) fn of(subnet: IpNet) -> Self {
        Self {
            subnet,
            range: None,
            gateway: None,
            auxiliary: BTreeMap::new(),
        }
    }

    /// The gateway's address: the one asked for, or the first that is free.
    pub(crate) fn gateway(&self) -> Result<IpAddr> {
        let free = |ip: &IpAddr| !self.auxiliary.values().any(|other| other == ip);
        let first = self
            .subnet
            .hosts()
            .find(|ip| *ip != self.subnet.network() && free(ip));
        self.gateway.or(first).ok_or_else(|| {
            EngineError::invalid(format!(
                "no address of subnet {} can be the gateway's",
                self.subnet
            ))
        })
    }
}

/// The addresses of one family as they were decided. Stored with the network.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Given<N, A> {
    pub subnet: N,
    pub gateway: A,
    pub range: Option<N>,
    /// Names and addresses that no container gets.
    pub auxiliary: BTreeMap<String, A>,
    /// The user chose the subnet, and may choose addresses of it.
    pub configured: bool,
}

impl<N: Copy + ToString, A: Copy + ToString> Given<N, A> {
    pub(crate) fn pool(&self) -> Pool<N, A> {
        Pool {
            subnet: self.subnet,
            gateway: self.gateway,
            range: self.range,
            reserved: self.auxiliary.values().copied().collect(),
        }
    }

    /// As clients see it.
    pub(crate) fn shown(&self) -> IpamPool {
        let auxiliary = self.auxiliary.iter();
        IpamPool {
            subnet: self.subnet.to_string(),
            range: self.range.map_or_else(String::new, |range| range.to_string()),
            gateway: self.gateway.to_string(),
            auxiliary: auxiliary
                .map(|(name, ip)| (name.clone(), ip.to_string()))
                .collect(),
        }
    }
}

pub(crate) type Ipv4Given = Given<Ipv4Net, Ipv4Addr>;
pub(crate) type Ipv6Given = Given<Ipv6Net, Ipv6Addr>;

/// `None`: of the other family.
pub(crate) fn ipv4(wanted: &Wanted, configured: bool) -> Result<Option<Ipv4Given>> {
    let net = |net| match net {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    };
    let address = |ip| match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    };
    given(wanted, configured, net, address)
}

/// `None`: of the other family.
pub(crate) fn ipv6(wanted: &Wanted, configured: bool) -> Result<Option<Ipv6Given>> {
    let net = |net| match net {
        IpNet::V6(net) => Some(net),
        IpNet::V4(_) => None,
    };
    let address = |ip| match ip {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    };
    given(wanted, configured, net, address)
}

/// What is wanted in the family that `net` and `address` let through.
fn given<N, A>(
    wanted: &Wanted,
    configured: bool,
    net: impl Fn(IpNet) -> Option<N>,
    address: impl Fn(IpAddr) -> Option<A>,
) -> Result<Option<Given<N, A>>> {
    let (Some(subnet), Some(gateway)) = (net(wanted.subnet), address(wanted.gateway()?)) else {
        return Ok(None);
    };
    let auxiliary = wanted
        .auxiliary
        .iter()
        .filter_map(|(name, ip)| Some((name.clone(), address(*ip)?)));
    Ok(Some(Given {
        subnet,
        gateway,
        range: wanted.range.and_then(net),
        auxiliary: auxiliary.collect(),
        configured,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(subnet: &str, range: &str, gateway: &str, auxiliary: &[(&str, &str)]) -> IpamPool {
        IpamPool {
            subnet: subnet.to_owned(),
            range: range.to_owned(),
            gateway: gateway.to_owned(),
            auxiliary: auxiliary
                .iter()
                .map(|(name, ip)| ((*name).to_owned(), (*ip).to_owned()))
                .collect(),
        }
    }

    fn planned(pools: &[IpamPool]) -> Result<Plan> {
        plan(
            "bridge",
            &Ipam {
                pools: pools.to_vec(),
                ..Ipam::default()
            },
        )
    }

    #[test]
    fn addresses_lie_in_their_subnet() {
        let good = planned(&[
            asked(
                "10.9.0.0/16",
                "10.9.4.0/24",
                "10.9.0.9",
                &[("router", "10.9.0.5")],
            ),
            asked("fd09::/64", "fd09::8000/113", "", &[("router", "fd09::1")]),
        ])
        .expect("good");
        let (v4, v6) = (good.ipv4.expect("IPv4"), good.ipv6.expect("IPv6"));
        assert_eq!(v4.range, Some("10.9.4.0/24".parse().expect("net")));
        assert_eq!(v4.auxiliary["router"], IpAddr::from([10, 9, 0, 5]));
        assert_eq!(v4.gateway().expect("asked for").to_string(), "10.9.0.9");
        assert_eq!(v6.gateway().expect("the first free one").to_string(), "fd09::2");
        let given = ipv6(&v6, true).expect("fits").expect("of its family");
        assert_eq!(
            given.shown(),
            asked("fd09::/64", "fd09::8000/113", "fd09::2", &[("router", "fd09::1")])
        );
        assert_eq!(ipv4(&v6, true).expect("fits"), None);
        assert_eq!(planned(&[]).expect("nothing said"), Plan::default());
        for (subnet, range, gateway, auxiliary) in [
            ("10.9.0.1/16", "", "", None),
            ("10.9.0.0/31", "", "", None),
            ("10.9.0.0", "", "", None),
            ("127.0.0.0/8", "", "", None),
            ("fd00::1/64", "", "", None),
            ("fd00::/127", "", "", None),
            ("fe80::/64", "", "", None),
            ("ff00::/16", "", "", None),
            ("10.9.0.0/16", "10.8.0.0/24", "", None),
            ("10.9.0.0/16", "10.0.0.0/8", "", None),
            ("10.9.0.0/16", "fd09::/64", "", None),
            ("10.9.0.0/16", "", "10.8.0.1", None),
            ("10.9.0.0/16", "", "10.9.0.0", None),
            ("10.9.0.0/16", "", "fd09::1", None),
            ("fd09::/64", "", "fd09::", None),
            ("10.9.0.0/16", "", "10.9.0.1", Some("10.9.0.1")),
            ("10.9.0.0/16", "", "", Some("10.9.255.255")),
            ("", "10.9.4.0/24", "", None),
            ("", "", "10.9.4.1", None),
        ] {
            let auxiliary: Vec<_> = auxiliary.iter().map(|ip| ("x", *ip)).collect();
            assert!(
                planned(&[asked(subnet, range, gateway, &auxiliary)]).is_err(),
                "{subnet} {range} {gateway}"
            );
        }
    }

    #[test]
    fn one_pool_of_each_family() {
        let pools = ["10.9.0.0/16", "10.8.0.0/16"].map(|subnet| asked(subnet, "", "", &[]));
        let error = planned(&pools).expect_err("two").to_string();
        assert!(
            error.starts_with("bridge driver doesn't support multiple subnets"),
            "{error}"
        );
    }
}
