//! Published ports in one cell of `docker ps`.

use std::collections::HashMap;

use serde::Deserialize;

/// A port of a container's summary.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Port {
    /// Address on the host; empty when not published.
    #[serde(rename = "IP")]
    pub(crate) ip: String,
    /// Port in the container.
    pub(crate) private_port: u16,
    /// Port on the host.
    pub(crate) public_port: u16,
    /// `tcp`, `udp` or `sctp`.
    #[serde(rename = "Type")]
    pub(crate) protocol: String,
}

/// `0.0.0.0:8080->80/tcp, 90-91/tcp`.
pub(crate) fn display(ports: &[Port]) -> String {
    let mut ports: Vec<&Port> = ports.iter().collect();
    ports.sort_by(|a, b| {
        (a.private_port, &a.ip, a.public_port, &a.protocol).cmp(&(
            b.private_port,
            &b.ip,
            b.public_port,
            &b.protocol,
        ))
    });
    let mut order: Vec<(&str, &str)> = Vec::new();
    let mut groups: HashMap<(&str, &str), (u16, u16)> = HashMap::new();
    let mut result = Vec::new();
    let mut mapped = Vec::new();
    for port in ports {
        let current = port.private_port;
        if !port.ip.is_empty() && port.public_port != current {
            let host = join(&port.ip, &port.public_port.to_string());
            mapped.push(format!("{host}->{current}/{}", port.protocol));
            continue;
        }
        let key = (port.ip.as_str(), port.protocol.as_str());
        match groups.get_mut(&key) {
            None => {
                groups.insert(key, (current, current));
                order.push(key);
            }
            Some((_, last)) if last.checked_add(1) == Some(current) => *last = current,
            Some(group) => {
                result.push(form(key, *group));
                *group = (current, current);
            }
        }
    }
    result.extend(
        order
            .into_iter()
            .filter_map(|key| groups.get(&key).map(|group| form(key, *group))),
    );
    result.extend(mapped);
    result.join(", ")
}

fn form((ip, protocol): (&str, &str), (first, last): (u16, u16)) -> String {
    let range = if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    };
    if ip.is_empty() {
        format!("{range}/{protocol}")
    } else {
        format!("{}->{range}/{protocol}", join(ip, &range))
    }
}

/// `address:port`, with brackets around IPv6.
pub(crate) fn join(ip: &str, port: &str) -> String {
    if ip.contains(':') {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, public_port: u16, private_port: u16, protocol: &str) -> Port {
        Port {
            ip: ip.to_owned(),
            private_port,
            public_port,
            protocol: protocol.to_owned(),
        }
    }

    /// Expectations from the tests of Docker's client.
    #[test]
    fn ports_are_grouped() {
        for (ports, expected) in [
            (vec![port("", 0, 9988, "tcp")], "9988/tcp"),
            (vec![port("4.3.2.1", 8899, 9988, "tcp")], "4.3.2.1:8899->9988/tcp"),
            (vec![port("4.3.2.1", 9988, 9988, "tcp")], "4.3.2.1:9988->9988/tcp"),
            (
                vec![port("::", 8080, 80, "tcp"), port("0.0.0.0", 8080, 80, "tcp")],
                "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
            ),
            (
                vec![
                    port("", 0, 80, "tcp"),
                    port("", 0, 81, "tcp"),
                    port("", 0, 90, "tcp"),
                ],
                "80-81/tcp, 90/tcp",
            ),
            (
                vec![
                    port("1.2.3.4", 9998, 9998, "udp"),
                    port("1.2.3.4", 9999, 9999, "udp"),
                ],
                "1.2.3.4:9998-9999->9998-9999/udp",
            ),
        ] {
            assert_eq!(display(&ports), expected);
        }
    }
}
