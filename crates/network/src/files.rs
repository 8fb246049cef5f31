//! The three files of a container that name hosts: `resolv.conf`, `hosts`, `hostname`.

use std::fmt::Write;
use std::net::IpAddr;

use fs_err as fs;

/// What a container asks when the host knows no server that it could reach; Docker's choice.
const PUBLIC_SERVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

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
    let read = |path: &str| fs::read_to_string(path).ok();
    let host = read("/etc/resolv.conf").unwrap_or_default();
    if servers(&host) == ["127.0.0.53"] {
        return read("/run/systemd/resolve/resolv.conf").unwrap_or(host);
    }
    host
}

/// `resolv.conf` of a container with its own namespace: the host's, without servers on loopback addresses, which
/// would be the container's own; when none is left, the public servers Docker falls back to.
pub fn resolv_conf(host: &str, options: &DnsOptions) -> String {
    let mut text = String::new();
    if options.servers.is_empty() {
        let mut reachable: Vec<_> = servers(host)
            .into_iter()
            .filter(|server| !is_loopback(server))
            .collect();
        if reachable.is_empty() {
            reachable.extend(PUBLIC_SERVERS);
        }
        for server in reachable {
            let _ = writeln!(text, "nameserver {server}");
        }
    } else {
        for server in &options.servers {
            let _ = writeln!(text, "nameserver {server}");
        }
    }

    let search: Vec<&str> = if options.search.is_empty() {
        values(host, "search")
            .or_else(|| values(host, "domain"))
            .unwrap_or_default()
    } else {
        options.search.iter().map(String::as_str).collect()
    };
    if !search.is_empty() && search != ["."] {
        let _ = writeln!(text, "search {}", search.join(" "));
    }

    let chosen: Vec<&str> = if options.options.is_empty() {
        values(host, "options").unwrap_or_default()
    } else {
        options.options.iter().map(String::as_str).collect()
    };
    if !chosen.is_empty() {
        let _ = writeln!(text, "options {}", chosen.join(" "));
    }
    text
}

/// `resolv.conf` of a container whose names are answered by `server`, and the servers that are asked for all others: their
/// addresses, and whether they are the host's own loopback ones.
pub fn resolv_conf_of_server(
    host: &str,
    options: &DnsOptions,
    server: IpAddr,
) -> (String, Vec<(IpAddr, bool)>) {
    let upstream: Vec<_> = if options.servers.is_empty() {
        // The file behind systemd-resolved's stub has been read already, if there is one.
        let known = servers(host)
            .into_iter()
            .filter_map(|server| server.parse::<IpAddr>().ok());
        let mut known: Vec<_> = known.map(|server| (server, server.is_loopback())).collect();
        if known.is_empty() {
            known.extend(
                PUBLIC_SERVERS
                    .iter()
                    .filter_map(|server| Some((server.parse().ok()?, false))),
            );
        }
        known
    } else {
        options.servers.iter().map(|server| (*server, false)).collect()
    };
    let own = DnsOptions {
        servers: vec![server],
        ..options.clone()
    };
    let mut text = resolv_conf(host, &own);
    let chosen = |line: &str| line.split_whitespace().any(|word| word.starts_with("ndots:"));
    // Names of containers have no dot, and are ours to answer.
    match text.lines().position(|line| line.starts_with("options ")) {
        Some(at) if !text.lines().nth(at).is_some_and(chosen) => {
            let lines: Vec<_> = text
                .lines()
                .enumerate()
                .map(|(index, line)| match index == at {
                    true => format!("{line} ndots:0\n"),
                    false => format!("{line}\n"),
                })
                .collect();
            text = lines.concat();
        }
        Some(_) => {}
        None => text.push_str("options ndots:0\n"),
    }
    let named: Vec<_> = upstream
        .iter()
        .map(|(server, loopback)| match loopback {
            true => format!("host({server})"),
            false => server.to_string(),
        })
        .collect();
    let _ = writeln!(text, "\n# ExtServers: [{}]", named.join(" "));
    (text, upstream)
}

/// `hosts` of a container: localhost, its own addresses with its names, and what `--add-host` adds.
pub fn hosts(own: &[IpAddr], names: &[&str], extra: &[(String, IpAddr)]) -> String {
    let mut text = "127.0.0.1\tlocalhost\n\
                    ::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::\tip6-localnet\n\
                    ff00::\tip6-mcastprefix\n\
                    ff02::1\tip6-allnodes\n\
                    ff02::2\tip6-allrouters\n"
        .to_owned();
    for (name, address) in extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
    for address in own {
        let _ = writeln!(text, "{address}\t{}", names.join(" "));
    }
    text
}

/// `hostname` of a container.
pub fn hostname(name: &str) -> String {
    format!("{name}\n")
}

pub(crate) fn servers(text: &str) -> Vec<&str> {
    directives(text, "nameserver")
        .filter_map(|rest| rest.split_whitespace().next())
        .collect()
}

/// The words of the last line that begins with `keyword`: resolv.conf(5) lets the last one win.
fn values<'a>(text: &'a str, keyword: &'a str) -> Option<Vec<&'a str>> {
    directives(text, keyword)
        .last()
        .map(|rest| rest.split_whitespace().collect())
}

fn directives<'a>(text: &'a str, keyword: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let rest = line.trim_start().strip_prefix(keyword)?;
        rest.starts_with([' ', '\t'])
            .then(|| rest.split(['#', ';']).next().unwrap_or_default())
    })
}

fn is_loopback(server: &str) -> bool {
    // A zone (`fe80::1%eth0`) names an interface of the host, which a container doesn't have either.
    server.contains('%') || server.parse::<IpAddr>().map_or(true, |ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(host: &str) -> String {
        resolv_conf(host, &DnsOptions::default())
    }

    #[test]
    fn the_hosts_servers_are_kept_and_loopback_ones_left_out() {
        let host = "# made by hand\nnameserver 127.0.0.53\nnameserver 10.0.0.1 # office\n nameserver ::1\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions ndots:2\n";
        assert_eq!(
            plain(host),
            "nameserver 10.0.0.1\nsearch a.example b.example\noptions ndots:2\n"
        );
    }

    #[test]
    fn without_a_server_that_can_be_reached_the_public_ones_are_asked() {
        for host in [
            "",
            "nameserver 127.0.0.1\n",
            "nameserver not-an-address\n",
            "nameservers 10.0.0.1\n",
        ] {
            assert_eq!(
                plain(host),
                "nameserver 8.8.8.8\nnameserver 8.8.4.4\n",
                "{host:?}"
            );
        }
    }

    #[test]
    fn the_last_search_line_wins_and_domain_stands_in_for_it() {
        assert!(plain("search one\nsearch two\n").contains("\nsearch two\n"));
        assert!(plain("domain one\n").contains("\nsearch one\n"));
    }

    #[test]
    fn what_the_user_says_replaces_the_hosts() {
        let options = DnsOptions {
            servers: vec![IpAddr::from([127, 0, 0, 1])],
            search: vec![".".to_owned()],
            options: vec!["timeout:1".to_owned()],
        };
        let text = resolv_conf(
            "nameserver 10.0.0.1\nsearch a.example\noptions ndots:2\n",
            &options,
        );
        assert_eq!(text, "nameserver 127.0.0.1\noptions timeout:1\n");
    }

    #[test]
    fn a_server_of_ones_own_stands_before_the_others() {
        let own = IpAddr::from([127, 0, 0, 11]);
        let host = "nameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch a.example\noptions edns0\n";
        let (text, servers) = resolv_conf_of_server(host, &DnsOptions::default(), own);
        assert_eq!(
            text,
            "nameserver 127.0.0.11\nsearch a.example\noptions edns0 ndots:0\n\n\
             # ExtServers: [host(127.0.0.53) 10.0.0.1]\n"
        );
        assert_eq!(
            servers,
            [
                (IpAddr::from([127, 0, 0, 53]), true),
                (IpAddr::from([10, 0, 0, 1]), false)
            ]
        );
        let options = DnsOptions {
            servers: vec![IpAddr::from([9, 9, 9, 9])],
            options: vec!["ndots:3".to_owned()],
            ..DnsOptions::default()
        };
        let (text, servers) = resolv_conf_of_server("", &options, own);
        assert_eq!(
            text,
            "nameserver 127.0.0.11\noptions ndots:3\n\n# ExtServers: [9.9.9.9]\n"
        );
        assert_eq!(servers, [(IpAddr::from([9, 9, 9, 9]), false)]);
        let (text, servers) = resolv_conf_of_server("", &DnsOptions::default(), own);
        assert!(text.contains("\noptions ndots:0\n"), "{text}");
        assert_eq!(servers.len(), 2, "the public ones");
    }

    #[test]
    fn hosts_name_the_container_last() {
        let own = [IpAddr::from([172, 17, 0, 2])];
        let text = hosts(
            &own,
            &["web.example", "web"],
            &[("db".to_owned(), IpAddr::from([10, 0, 0, 9]))],
        );
        assert!(text.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"));
        assert!(text.ends_with("10.0.0.9\tdb\n172.17.0.2\tweb.example web\n"));
        assert_eq!(hosts(&[], &["web"], &[]).lines().count(), 6);
    }
}
