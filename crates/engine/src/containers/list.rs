//! `ps`

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use havre_oci::Digest;
use jiff::Timestamp;

use super::record::{Record, State};
use super::table::Container;
use super::{ContainerSummary, Containers, HealthStatus, ListOptions, MountKind, Port, PortSummary, Status};
use crate::duration::human;
use crate::error::blocking;
use crate::networks::Registry;
use crate::{EngineError, Filters, Result};

/// What lists and prunes filter by.
pub(super) const FILTER_KEYS: &[&str] = &[
    "ancestor", "before", "expose", "exited", "health", "id", "is-task", "label", "label!", "name",
    "network", "publish", "since", "status", "volume",
];

impl Containers {
    /// Newest first.
    pub async fn list(&self, options: ListOptions) -> Result<Vec<ContainerSummary>> {
        options.filters.only(FILTER_KEYS)?;
        let filter = self.filter(&options.filters).await?;
        // A limit counts containers in any state, as do filters that name states.
        let every_state = options.all
            || options.limit.is_some()
            || ["status", "exited", "since", "before"]
                .iter()
                .any(|key| options.filters.contains(key));
        let inner = self.0.clone();
        blocking(move || {
            let containers = inner.table.all();
            let mut containers: Vec<_> = containers
                .iter()
                .map(|container| (container.read().created, container))
                .collect();
            containers.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.id.cmp(&other.id)));
            let aliases = aliases(&containers);
            let now = Timestamp::now();
            let mut listed: Vec<ContainerSummary> = containers
                .iter()
                .filter_map(|(_, container)| {
                    // Judged and described as it is at one moment.
                    let record = container.read();
                    let status = record.state.status;
                    let running = status.is_live() || status == Status::Restarting;
                    let wanted = (every_state || running) && filter.accepts(&record);
                    wanted.then(|| {
                        let mut summary = summary(&inner.networks, &record, now);
                        summary
                            .names
                            .extend(aliases.get(&record.id).into_iter().flatten().cloned());
                        summary
                    })
                })
                .take(options.limit.unwrap_or(usize::MAX))
                .collect();
            show_current_names(&inner, &mut listed)?;
            if options.size {
                for container in &mut listed {
                    let (written, all) = sizes(&inner, &container.id, &container.image_id)?;
                    (container.size_rw, container.size_root_fs) = (Some(written), Some(all));
                }
            }
            Ok(listed)
        })
        .await
    }

    pub(super) async fn filter(&self, filters: &Filters) -> Result<Filter> {
        let mut statuses = BTreeSet::new();
        for value in filters.values("status") {
            let known = Status::ALL.into_iter().find(|status| status.as_str() == value);
            statuses.insert(
                known.ok_or_else(|| EngineError::invalid(format!("invalid filter 'status={value}'")))?,
            );
        }
        let mut codes = BTreeSet::new();
        for value in filters.values("exited") {
            let code = value.parse::<i64>();
            codes.insert(code.map_err(|_| EngineError::invalid(format!("invalid filter 'exited={value}'")))?);
        }
        let mut ancestors = BTreeSet::new();
        for name in filters.values("ancestor") {
            // An unknown image is nobody's ancestor.
            if let Ok(image) = self.0.images.resolve(name).await {
                ancestors.insert(image.id);
            }
        }
        let created = |key: &str| {
            filters
                .values(key)
                .next()
                .map(|name| Ok::<_, EngineError>(self.find(name)?.read().created))
                .transpose()
        };
        let ports = |key: &str| {
            let mut found = BTreeSet::new();
            for value in filters.values(key) {
                found.extend(port_range(value)?);
            }
            Ok::<_, EngineError>(found)
        };
        let none_is_task = filters.boolean("is-task")? == Some(true);
        for value in filters.values("health") {
            if !matches!(value, "none" | "starting" | "healthy" | "unhealthy") {
                return Err(EngineError::invalid(format!(
                    "unrecognized filter value for health: {value}"
                )));
            }
        }
        Ok(Filter {
            statuses,
            codes,
            ancestors,
            before: created("before")?,
            since: created("since")?,
            published: ports("publish")?,
            exposed: ports("expose")?,
            networks: self.0.networks.clone(),
            nobody: none_is_task,
            filters: filters.clone(),
        })
    }
}

/// The filters of one list, looked up once.
pub(super) struct Filter {
    statuses: BTreeSet<Status>,
    codes: BTreeSet<i64>,
    ancestors: BTreeSet<Digest>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    published: BTreeSet<Port>,
    exposed: BTreeSet<Port>,
    nobody: bool,
    filters: Filters,
    networks: std::sync::Arc<Registry>,
}

impl Filter {
    pub(super) fn accepts(&self, record: &Record) -> bool {
        let state = &record.state;
        let filters = &self.filters;
        let published = || {
            let live = record.network.iter().flat_map(|network| &network.ports);
            live.filter(|(_, bindings)| !bindings.is_empty())
                .any(|(port, bindings)| {
                    self.published.contains(port)
                        || bindings.iter().any(|binding| {
                            binding.host_port.parse().is_ok_and(|number| {
                                self.published.contains(&Port {
                                    number,
                                    protocol: port.protocol,
                                })
                            })
                        })
                })
        };
        !self.nobody
            && (self.statuses.is_empty() || self.statuses.contains(&state.status))
            && (self.codes.is_empty()
                || (self.codes.contains(&state.exit_code) && state.status == Status::Exited))
            && (!filters.contains("ancestor") || self.ancestors.contains(&record.image))
            && self.before.is_none_or(|before| record.created < before)
            && self.since.is_none_or(|since| record.created > since)
            && filters.exact(
                "health",
                state
                    .health
                    .as_ref()
                    .map_or("none", |health| health.status.as_str()),
            )
            && filters.any("id", |prefix| record.id.starts_with(prefix))
            && filters.any("name", |part| name_matches(&record.name, part))
            && filters.labels(&record.config.labels)
            && filters.any("volume", |wanted| {
                record.mounts.iter().any(|mount| {
                    let point = &mount.point;
                    point.name == wanted || point.destination == wanted || point.source == wanted
                })
            })
            && filters.any("network", |wanted| {
                let on = super::inspect::endpoints(&self.networks, record);
                on.iter().any(|(name, endpoint)| {
                    name == wanted || (wanted.len() >= 2 && endpoint.network_id.starts_with(wanted))
                })
            })
            && (self.published.is_empty() || published())
            && (self.exposed.is_empty()
                || record
                    .config
                    .exposed_ports
                    .iter()
                    .any(|port| self.exposed.contains(port)))
    }
}

/// Part of a name, with or without the slash; `^` and `$` anchor, as users of Docker's regular expressions write.
fn name_matches(name: &str, pattern: &str) -> bool {
    let (anchored, rest) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let rest = rest
        .strip_prefix('/')
        .map_or((anchored, rest), |rest| (true, rest));
    match (rest, rest.1.strip_suffix('$')) {
        ((true, _), Some(exact)) => name == exact,
        ((false, _), Some(end)) => name.ends_with(end),
        ((true, start), None) => name.starts_with(start),
        ((false, part), None) => name.contains(part),
    }
}

/// `80`, `80/udp`, `8000-8080/tcp`
fn port_range(text: &str) -> Result<Vec<Port>> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let first: Port = format!("{first}/{protocol}").parse()?;
    let last: Port = format!("{last}/{protocol}").parse()?;
    Ok((first.number..=last.number)
        .map(|number| Port {
            number,
            protocol: first.protocol,
        })
        .collect())
}

/// A moment as filters write it: RFC 3339, seconds since 1970, or a span before now (`10m`, `1h30m`, `24h`).
pub(crate) fn point_in_time(text: &str) -> Result<Timestamp> {
    let invalid = || EngineError::invalid(format!("invalid filter 'until={text}'"));
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Some((seconds, nanos)) = seconds(text) {
        return Timestamp::new(seconds, nanos).map_err(|_| invalid());
    }
    if let Ok(date) = text.parse::<jiff::civil::DateTime>() {
        return date
            .to_zoned(jiff::tz::TimeZone::UTC)
            .map(|zoned| zoned.timestamp())
            .map_err(|_| invalid());
    }
    let span = text.parse::<jiff::SignedDuration>().map_err(|_| invalid())?;
    Timestamp::now().checked_sub(span).map_err(|_| invalid())
}

fn seconds(text: &str) -> Option<(i64, i32)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let nanos: String = format!("{fraction:0<9}").chars().take(9).collect();
    Some((seconds.parse().ok()?, nanos.parse().ok()?))
}

/// What containers are called by the links of others, `/owner/alias`, by ID and in the order of names.
fn aliases(containers: &[(Timestamp, &Arc<Container>)]) -> BTreeMap<String, Vec<String>> {
    let mut aliases: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, container) in containers {
        let record = container.read();
        for link in &record.host_config.links {
            if let Some((id, alias)) = link.split_once(':') {
                let name = format!("/{}/{alias}", record.name);
                aliases.entry(id.to_owned()).or_default().push(name);
            }
        }
    }
    aliases.values_mut().for_each(|names| names.sort());
    aliases
}

/// `ps` shows the image as it was written, and its id once that name has moved on to another image.
fn show_current_names(inner: &super::Inner, containers: &mut [ContainerSummary]) -> Result<()> {
    let names: BTreeMap<String, String> = containers
        .iter()
        .map(|container| container.image.as_str())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .filter_map(|written| Some((written.to_owned(), tagged_name(written)?)))
        .collect();
    let images = inner
        .store
        .meta()
        .named_images(names.values().map(String::as_str))?;
    let current: BTreeMap<String, Option<Digest>> = names.into_keys().zip(images).collect();
    for container in containers {
        let Some(current) = current.get(&container.image) else {
            continue;
        };
        let id = &container.image_id;
        let stays = match current {
            Some(image) => image == id,
            None => id.hex().starts_with(&container.image),
        };
        if !stays {
            container.image = id.to_string();
        }
    }
    Ok(())
}

/// The full name of a reference that can move; `None` for one with a digest and for what is no reference.
fn tagged_name(written: &str) -> Option<String> {
    let reference = havre_oci::Reference::parse(written).ok()?;
    reference
        .digest()
        .is_none()
        .then(|| reference.with_default_tag().canonical())
}

/// Bytes written, and bytes with the image.
pub(super) fn sizes(inner: &super::Inner, id: &str, image: &Digest) -> Result<(u64, u64)> {
    let written = inner.store.snapshots().usage(id)?;
    let image = inner
        .store
        .meta()
        .find_image(image)?
        .map_or(0, |image| image.size);
    Ok((written, written + image))
}

/// Without sizes, and with the image as it was written.
fn summary(networks: &Registry, record: &Record, now: Timestamp) -> ContainerSummary {
    let points = record.mounts.iter().map(|mount| &mount.point);
    ContainerSummary {
        id: record.id.clone(),
        names: vec![format!("/{}", record.name)],
        image: record.config.image.clone(),
        image_id: record.image.clone(),
        command: command(&record.args),
        created: record.created,
        ports: ports(record),
        labels: record.config.labels.clone(),
        status: record.state.status,
        status_text: status_text(&record.state, now),
        health: record
            .state
            .health
            .as_ref()
            .map(|health| (health.status, health.failing_streak)),
        network_mode: super::inspect::network_mode(&record.host_config.network_mode),
        networks: super::inspect::endpoints(networks, record),
        mounts: points
            .filter(|point| point.kind != MountKind::Tmpfs || !point.destination.is_empty())
            .cloned()
            .collect(),
        size_rw: None,
        size_root_fs: None,
    }
}

/// The program and its arguments; arguments with spaces are quoted.
fn command(args: &[String]) -> String {
    let quoted = args
        .iter()
        .enumerate()
        .map(|(index, word)| match index > 0 && word.contains(' ') {
            true => format!("'{word}'"),
            false => word.clone(),
        });
    quoted.collect::<Vec<_>>().join(" ")
}

fn ports(record: &Record) -> Vec<PortSummary> {
    let mut ports = Vec::new();
    let live = record.network.iter().flat_map(|network| &network.ports);
    for (port, bindings) in live {
        let summary = |ip: Option<String>, public_port: Option<u16>| PortSummary {
            ip,
            private_port: port.number,
            public_port,
            protocol: port.protocol.as_str(),
        };
        if bindings.is_empty() {
            ports.push(summary(None, None));
        }
        for binding in bindings {
            ports.push(summary(
                Some(binding.host_ip.clone()),
                binding.host_port.parse().ok(),
            ));
        }
    }
    ports
}

fn status_text(state: &State, now: Timestamp) -> String {
    let since = |time: Option<Timestamp>| {
        let span = time.map(|time| now.duration_since(time));
        human(span.and_then(|span| span.try_into().ok()).unwrap_or_default())
    };
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => {
            let health = match state.health.as_ref().map(|health| health.status) {
                None => "",
                Some(HealthStatus::Starting) => " (health: starting)",
                Some(HealthStatus::Healthy) => " (healthy)",
                Some(HealthStatus::Unhealthy) => " (unhealthy)",
            };
            format!("Up {}{health}", since(state.started_at))
        }
        Status::Paused => format!("Up {} (Paused)", since(state.started_at)),
        Status::Restarting => format!(
            "Restarting ({}) {} ago",
            state.exit_code,
            since(state.finished_at)
        ),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished_at)),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_docker_users_write_them() {
        for (pattern, matches) in [
            ("web", true),
            ("eb-1", true),
            ("^web", true),
            ("^/web-1$", true),
            ("/web", true),
            ("1$", true),
            ("^eb", false),
            ("web$", false),
            ("db", false),
        ] {
            assert_eq!(name_matches("web-1", pattern), matches, "{pattern}");
        }
    }

    #[test]
    fn port_ranges() {
        let shown: Vec<_> = port_range("80-82/udp")
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, ["80/udp", "81/udp", "82/udp"]);
        assert_eq!(port_range("80").unwrap()[0].to_string(), "80/tcp");
        assert!(port_range("a-b").is_err() && port_range("80/x").is_err());
    }

    #[test]
    fn moments() {
        assert_eq!(point_in_time("1700000000").unwrap().as_second(), 1_700_000_000);
        assert_eq!(
            point_in_time("1700000000.5").unwrap().subsec_nanosecond(),
            500_000_000
        );
        assert_eq!(
            point_in_time("2023-11-14T22:13:20Z").unwrap().as_second(),
            1_700_000_000
        );
        assert_eq!(
            point_in_time("2023-11-14T22:13:20").unwrap().as_second(),
            1_700_000_000
        );
        let past = Timestamp::now().duration_since(point_in_time("1h30m").unwrap());
        assert!((past.as_secs() - 5400).abs() <= 1, "{past}");
        assert!(point_in_time("soon").is_err());
    }

    #[test]
    fn states_in_words() {
        let now = Timestamp::from_second(1000).unwrap();
        let state = |status, exit_code| State {
            status,
            exit_code,
            started_at: Timestamp::from_second(700).ok(),
            finished_at: Timestamp::from_second(940).ok(),
            ..State::default()
        };
        assert_eq!(status_text(&state(Status::Running, 0), now), "Up 5 minutes");
        assert_eq!(
            status_text(&state(Status::Paused, 0), now),
            "Up 5 minutes (Paused)"
        );
        assert_eq!(
            status_text(&state(Status::Exited, 137), now),
            "Exited (137) About a minute ago"
        );
        assert_eq!(
            status_text(&state(Status::Restarting, 1), now),
            "Restarting (1) About a minute ago"
        );
        assert_eq!(status_text(&State::default(), now), "Created");
    }

    #[test]
    fn commands_are_quoted_as_docker_does() {
        let words = ["sh", "-c", "echo a b"].map(str::to_owned);
        assert_eq!(command(&words), "sh -c 'echo a b'");
    }
}
