//! `-p` and `--expose`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::SpecError;

/// One place on the host a container's port is published at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Binding {
    /// Address; empty for all.
    pub(crate) host_ip: String,
    /// Port or range of ports; empty for any.
    pub(crate) host_port: String,
}

/// `80/tcp` to its bindings; empty when only exposed.
pub(crate) type PortMap = BTreeMap<String, Vec<Binding>>;

fn invalid<T>(message: String) -> Result<T, SpecError> {
    Err(SpecError::value(message))
}

/// Adds what `-p spec` publishes.
pub(crate) fn publish(spec: &str, map: &mut PortMap) -> Result<(), SpecError> {
    if spec.contains('=') {
        return publish_long(spec, map);
    }
    let (rest, protocol) = split_protocol(spec)?;
    let (ip, host, container) = split_parts(rest);
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
        return invalid(format!("invalid IP address: {ip}"));
    }
    if container.is_empty() {
        return invalid(format!("no port specified: {spec}<empty>"));
    }
    let Some((first, last)) = range(container) else {
        return invalid(format!("invalid containerPort: {container}"));
    };
    let host_range = match host {
        "" => None,
        host => match range(host) {
            Some(range) => Some(range),
            None => return invalid(format!("invalid hostPort: {host}")),
        },
    };
    if let Some((host_first, host_last)) = host_range
        && host_last - host_first != last - first
        && first != last
    {
        return invalid(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        ));
    }
    for port in first..=last {
        let host_port = match host_range {
            None => String::new(),
            Some((host_first, host_last)) if first == last && host_first != host_last => {
                format!("{host_first}-{host_last}")
            }
            Some((host_first, _)) => (host_first + (port - first)).to_string(),
        };
        let binding = Binding {
            host_ip: ip.to_owned(),
            host_port,
        };
        let bindings = map.entry(format!("{port}/{protocol}")).or_default();
        if !bindings.contains(&binding) {
            bindings.push(binding);
        }
    }
    Ok(())
}

/// `published=8080,target=80,protocol=tcp`.
fn publish_long(spec: &str, map: &mut PortMap) -> Result<(), SpecError> {
    let (mut target, mut published, mut protocol) = ("", "", "tcp");
    for field in spec.split(',') {
        match field.split_once('=') {
            Some(("target", value)) => target = value,
            Some(("published", value)) => published = value,
            Some(("protocol", value)) => protocol = value,
            Some(("mode", "host" | "ingress")) => {}
            _ => return invalid(format!("invalid field: {field}")),
        }
    }
    if target.is_empty() {
        return invalid(format!("no target port in {spec:?}"));
    }
    publish(&format!("{published}:{target}/{protocol}"), map)
}

/// Adds what `--expose spec` exposes.
pub(crate) fn expose(spec: &str, map: &mut PortMap) -> Result<(), SpecError> {
    if spec.contains(':') {
        return invalid(format!("invalid port format for --expose: {spec}"));
    }
    let (ports, protocol) = split_protocol(spec)?;
    let Some((first, last)) = range(ports) else {
        return invalid(format!("invalid range format for --expose: {ports}"));
    };
    for port in first..=last {
        map.entry(format!("{port}/{protocol}")).or_default();
    }
    Ok(())
}

fn split_protocol(spec: &str) -> Result<(&str, String), SpecError> {
    let (rest, protocol) = spec.rsplit_once('/').unwrap_or((spec, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    match protocol.as_str() {
        "tcp" | "udp" | "sctp" => Ok((rest, protocol)),
        _ => invalid(format!("invalid proto: {protocol}")),
    }
}

/// Address, host port and container port, from the right.
fn split_parts(spec: &str) -> (&str, &str, &str) {
    match spec.rsplit_once(':') {
        None => ("", "", spec),
        Some((before, container)) => match before.rsplit_once(':') {
            None => ("", before, container),
            Some((ip, host)) => (ip, host, container),
        },
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(spec: &str) -> String {
        let mut map = PortMap::new();
        match publish(spec, &mut map) {
            Err(error) => format!("ERROR {error}"),
            Ok(()) => map
                .iter()
                .flat_map(|(port, bindings)| {
                    bindings
                        .iter()
                        .map(move |b| format!("{}|{}|{port}", b.host_ip, b.host_port))
                })
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    #[test]
    fn port_specs() {
        for (spec, expected) in [
            ("80", "||80/tcp"),
            ("8080:80", "|8080|80/tcp"),
            ("8080:80/udp", "|8080|80/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1|8080|80/tcp"),
            ("127.0.0.1::80", "127.0.0.1||80/tcp"),
            ("[::1]:8080:80", "::1|8080|80/tcp"),
            ("8000-8001:80-81", "|8000|80/tcp |8001|81/tcp"),
            ("8000-8010:80", "|8000-8010|80/tcp"),
            ("published=8080,target=80,protocol=udp", "|8080|80/udp"),
            ("x:y:z:w", "ERROR invalid IP address: x:y"),
            ("80:", "ERROR no port specified: 80:<empty>"),
            ("a:80", "ERROR invalid hostPort: a"),
            ("80:99999", "ERROR invalid containerPort: 99999"),
            ("80:90/icmp", "ERROR invalid proto: icmp"),
            (
                "1-3:1-2",
                "ERROR invalid ranges specified for container and host Ports: 1-2 and 1-3",
            ),
            ("published=1,host=2", "ERROR invalid field: host=2"),
        ] {
            assert_eq!(published(spec), expected, "{spec}");
        }
    }

    #[test]
    fn exposed_ranges() {
        let mut map = PortMap::new();
        expose("80-82/udp", &mut map).unwrap();
        assert_eq!(map.keys().collect::<Vec<_>>(), ["80/udp", "81/udp", "82/udp"]);
        assert!(expose("80:80", &mut map).is_err() && expose("a", &mut map).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a-z:./\\[\\]=,-]{0,24}") {
            let mut map = PortMap::new();
            let _ = publish(&text, &mut map);
            let _ = expose(&text, &mut map);
        }
    }
}
