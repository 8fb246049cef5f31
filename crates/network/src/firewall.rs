//! The firewall: one nftables table per engine, made once by the `nft` program; a published port is one element of a map,
//! added and removed in process ([`elements`]).
//!
//! ```text
//! table inet NAME
//!   map  tcp_any, udp_any      host port → container address . port          (host IP 0.0.0.0)
//!   map  tcp_one, udp_one      host IP . host port → container address . port
//!   map  tcp6_any … udp6_one   the same in IPv6
//!   chain guard        prerouting, raw    containers never reach the host's 127.0.0.0/8 through the bridge
//!   chain publish                         the eight look-ups
//!   chain prerouting   nat                from elsewhere and from containers → publish
//!   chain output       nat                from the host itself, 127.0.0.1 included → publish
//!   chain postrouting  nat                masquerade what leaves a subnet, what comes from 127.0.0.0/8, and hairpins
//!   chain forward      filter             into a bridge only answers, neighbours and published ports; nothing at all
//!                                         into and out of an internal one
//! ```
//!
//! What the host sends to its own `::1` is not looked up: unlike 127.0.0.1, the kernel takes no answer for it from elsewhere.
//!
//! Accepting here does not override another table that drops. Where iptables drops what is forwarded (a running dockerd,
//! or its policy), [`Foreign`] adds exceptions to it and takes them away again.

mod elements;
mod foreign;

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use ipnet::{Ipv4Net, Ipv6Net};

pub(crate) use elements::Element;
pub(crate) use foreign::Foreign;

use crate::error::NetworkError;

/// What the rules need to know of one bridge. The names are checked: they go into the rules as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) bridge: String,
    pub(crate) ipv4: Option<Ipv4Net>,
    pub(crate) ipv6: Option<Ipv6Net>,
    /// Nothing gets in or out but to and from the host itself.
    pub(crate) internal: bool,
    /// Its containers reach each other at every port, not only at published ones.
    pub(crate) neighbours: bool,
    /// What leaves the subnet takes the host's address.
    pub(crate) masquerade: bool,
}

/// One engine's table.
#[derive(Clone, Debug)]
pub(crate) struct Firewall {
    table: String,
    /// The program that makes tables.
    nft: &'static str,
}

impl Firewall {
    /// `table` is a name that was checked: it goes into the rules as it is.
    pub(crate) fn new(table: String) -> Self {
        Self { table, nft: "nft" }
    }

    /// Makes the table, replacing one of that name, in a single transaction: there is no moment without rules.
    pub(crate) fn install(&self, zones: &[Zone], published: &[Element]) -> Result<(), NetworkError> {
        self.run_nft(&self.rules(zones, published))
    }

    /// Removes the table. There being none is no error.
    pub(crate) fn remove(&self) -> Result<(), NetworkError> {
        let table = &self.table;
        self.run_nft(&format!("add table inet {table}\ndelete table inet {table}\n"))
    }

    /// Whether the table is there: somebody may have flushed the ruleset.
    pub(crate) fn is_installed(&self) -> Result<bool, NetworkError> {
        elements::table_exists(&self.table).map_err(|source| self.failed("look for", source))
    }

    /// Publishes ports. Either all of them are published or none.
    pub(crate) fn publish(&self, published: &[Element]) -> Result<(), NetworkError> {
        elements::add(&self.table, published).map_err(|source| self.failed("publish ports in", source))
    }

    /// Ends the publication of ports. Ports that are not published are no error.
    pub(crate) fn withdraw(&self, published: &[Element]) -> Result<(), NetworkError> {
        match elements::delete(&self.table, published) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // One transaction with one missing element changes nothing: go on one by one.
                for element in published {
                    match elements::delete(&self.table, std::slice::from_ref(element)) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(self.failed("withdraw ports from", error));
                        }
                        _ => {}
                    }
                }
                Ok(())
            }
            outcome => outcome.map_err(|source| self.failed("withdraw ports from", source)),
        }
    }

    /// In the namespace of the calling thread: who asks `address` for names is answered from `port`.
    pub(crate) fn redirect_names(&self, address: Ipv4Addr, port: u16) -> Result<(), NetworkError> {
        let table = &self.table;
        self.run_nft(&format!(
            "add table ip {table}\ndelete table ip {table}\ntable ip {table} {{\n    chain names {{\n        \
             type nat hook output priority -100; policy accept;\n        \
             ip daddr {address} udp dport 53 dnat to {address}:{port}\n        \
             ip daddr {address} tcp dport 53 dnat to {address}:{port}\n    }}\n}}\n"
        ))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> NetworkError {
        NetworkError::FirewallTalk {
            action,
            table: self.table.clone(),
            source,
        }
    }

    /// Earlier versions had a table of family `ip`, which goes where it still is.
    fn rules(&self, zones: &[Zone], published: &[Element]) -> String {
        let table = &self.table;
        let contents = |map: &str| {
            let elements: Vec<_> = published
                .iter()
                .filter(|element| element.map_name() == map)
                .map(|element| element.to_nft())
                .collect();
            if elements.is_empty() {
                String::new()
            } else {
                format!("elements = {{ {} }}", elements.join(", "))
            }
        };
        let maps: String = [("", "ipv4_addr"), ("6", "ipv6_addr")]
            .into_iter()
            .flat_map(|(number, address)| {
                let (any, one) = ("inet_service".to_owned(), format!("{address} . inet_service"));
                ["tcp", "udp"].map(|protocol| {
                    let lines = [("any", &any), ("one", &one)].map(|(kind, key)| {
                        let map = format!("{protocol}{number}_{kind}");
                        let contents = contents(&map);
                        format!("    map {map} {{ type {key} : {one}; {contents} }}\n")
                    });
                    lines.concat()
                })
            })
            .collect();
        let each = |rules: &dyn Fn(&Zone) -> String| zones.iter().map(rules).collect::<String>();
        let guard =
            each(&|Zone { bridge, .. }| format!("        iifname \"{bridge}\" ip daddr 127.0.0.0/8 drop\n"));
        let postrouting = each(&|zone| {
            let Zone {
                bridge, ipv4, ipv6, ..
            } = zone;
            let mut rules = String::new();
            if zone.internal {
                return rules;
            }
            let from_ipv4 = ipv4.map(|subnet| format!("ip saddr {subnet}"));
            let from_ipv6 = ipv6.map(|subnet| format!("ip6 saddr {subnet}"));
            for from in from_ipv4.into_iter().chain(from_ipv6) {
                if zone.masquerade {
                    rules += &format!("        {from} oifname != \"{bridge}\" masquerade\n");
                }
                rules += &format!("        {from} oifname \"{bridge}\" ct status dnat masquerade\n");
            }
            if ipv4.is_some() {
                rules += &format!("        ip saddr 127.0.0.0/8 oifname \"{bridge}\" masquerade\n");
            }
            rules
        });
        let closed = each(&|Zone { bridge, internal, .. }| match internal {
            true => format!(
                "        iifname \"{bridge}\" oifname != \"{bridge}\" drop\n        \
                 oifname \"{bridge}\" iifname != \"{bridge}\" drop\n"
            ),
            false => String::new(),
        });
        let neighbours = each(&|Zone {
                                    bridge, neighbours, ..
                                }| match neighbours {
            true => format!("        iifname \"{bridge}\" oifname \"{bridge}\" accept\n"),
            false => String::new(),
        });
        let ours: Vec<_> = zones.iter().map(|zone| format!("\"{}\"", zone.bridge)).collect();
        let foreign = match ours.is_empty() {
            true => "        accept\n".to_owned(),
            false => format!("        oifname != {{ {} }} accept\n", ours.join(", ")),
        };
        format!(
            r#"add table ip {table}
delete table ip {table}
add table inet {table}
delete table inet {table}
table inet {table} {{
{maps}    chain guard {{
        type filter hook prerouting priority raw; policy accept;
{guard}    }}
    chain publish {{
        dnat ip to ip daddr . tcp dport map @tcp_one
        dnat ip to ip daddr . udp dport map @udp_one
        meta nfproto ipv4 dnat ip to tcp dport map @tcp_any
        meta nfproto ipv4 dnat ip to udp dport map @udp_any
        dnat ip6 to ip6 daddr . tcp dport map @tcp6_one
        dnat ip6 to ip6 daddr . udp dport map @udp6_one
        meta nfproto ipv6 dnat ip6 to tcp dport map @tcp6_any
        meta nfproto ipv6 dnat ip6 to udp dport map @udp6_any
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        iifname != "lo" ip daddr 127.0.0.0/8 return
        fib daddr type local jump publish
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        ip6 daddr ::1 return
        fib daddr type local jump publish
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
{postrouting}    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
{closed}{foreign}        ct state established,related accept
{neighbours}        ct status dnat accept
        drop
    }}
}}
"#
        )
    }

    fn run_nft(&self, script: &str) -> Result<(), NetworkError> {
        let failed = |source| self.failed("change", source);
        let mut nft = Command::new(self.nft)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => NetworkError::NftMissing,
                _ => failed(error),
            })?;
        // Written before anything is read: nft reads its whole script first, and says little.
        let written = nft
            .stdin
            .take()
            .map_or(Ok(()), |mut stdin| stdin.write_all(script.as_bytes()));
        let output = nft.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return written.map_err(failed);
        }
        let message = String::from_utf8_lossy(&output.stderr);
        // The first line says what is wrong, those after it quote the script.
        let message = message
            .lines()
            .next()
            .unwrap_or("nft failed and said nothing")
            .trim()
            .to_owned();
        Err(NetworkError::Firewall {
            table: self.table.clone(),
            message,
        })
    }
}

/// Whether a name can stand in a rule as it is: a letter, then letters, digits, '_' and '-', at most 32.
pub(crate) fn is_table_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_nft_the_error_names_the_way_out() {
        let firewall = Firewall {
            nft: "/nonexistent/nft",
            ..Firewall::new("havre_t".to_owned())
        };
        let error = firewall.install(&[], &[]).expect_err("no such program");
        assert!(error.to_string().contains("apt-get install nftables"), "{error}");
    }

    #[test]
    fn only_plain_words_name_a_table() {
        for name in ["havre", "havre_2", "havre-demo", "H0"] {
            assert!(is_table_name(name), "{name}");
        }
        for name in ["", "0havre", "a b", "a;flush", "a\"", "é", &"a".repeat(33)] {
            assert!(!is_table_name(name), "{name}");
        }
    }
}
