//! `start`: root file system and network at the same time, then the shim, the attached clients, the program.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use havre_network::{Endpoint, NetworkError, PortRequest, Protocol};
use havre_runtime::spec::NetworkNamespace;
use havre_runtime::{Shim, Timings};

use super::membership::{self, Memberships};
use super::record::{NetworkRecord, Record};
use super::table::{Container, lock};
use super::validate::NetworkMode;
use super::{
    Config, Containers, EndpointView, HostConfig, Inner, Port, PortBinding, PortProtocol, Status, Transition,
    WaitCondition, attach, exit, files, health, links, mountpoints, remove, sources, spec, userns,
};
use crate::error::{blocking, start_failure};
use crate::networks::{self, Found};
use crate::remap::Remap;
use crate::{EngineError, ErrorKind, Event, EventType, Result};

impl Containers {
    /// `NotModified` when it runs already.
    pub async fn start(&self, name: &str) -> Result<()> {
        self.start_timed(name, Timings::off()).await
    }

    /// As [`start`](Self::start), and says where the time goes.
    pub async fn start_timed(&self, name: &str, timings: Timings) -> Result<()> {
        let container = self.find(name)?;
        self.0.runtime.anticipate();
        let op = container.op.clone().lock_owned().await;
        let inner = self.0.clone();
        blocking(move || {
            let _op = op;
            match container.status() {
                Status::Running => {
                    return Err(EngineError::new(
                        ErrorKind::NotModified,
                        "container is already running",
                    ));
                }
                Status::Paused => {
                    return Err(EngineError::conflict(
                        "cannot start a paused container, try unpause instead",
                    ));
                }
                Status::Removing | Status::Dead => {
                    return Err(EngineError::conflict(
                        "container is marked for removal and cannot be started",
                    ));
                }
                Status::Created | Status::Exited | Status::Restarting => {}
            }
            exit::call_off_restart(&container);
            *lock(&container.backoff) = exit::FIRST_BACKOFF;
            container.update(&inner.store, |record| {
                record.restart_count = 0;
                record.stopped_by_user = false;
            })?;
            start(&inner, &container, &timings)
        })
        .await
    }
}

/// Starts a container that does not run; the caller holds `op`. A failure leaves it as it was, with the reason in its
/// state, and undoes everything.
pub(super) fn start(inner: &Arc<Inner>, container: &Arc<Container>, timings: &Timings) -> Result<()> {
    let error = match run(inner, container, timings) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    lock(&container.pending).clear();
    let code = exit_code(&error);
    let noted = container.update(&inner.store, |record| {
        record.state.exit_code = code;
        record.state.error = error.to_string();
        if record.state.status == Status::Restarting {
            record.state.status = Status::Exited;
        }
    });
    if let Err(error) = noted {
        tracing::warn!(container = container.id, %error, "cannot note a failed start");
    }
    if container.read().host_config.auto_remove {
        if let Err(error) = remove::remove(inner, container, true) {
            tracing::warn!(container = container.id, %error, "cannot remove a container that did not start");
        }
    } else {
        container.notify(&[WaitCondition::NotRunning, WaitCondition::NextExit], None);
    }
    Err(error)
}

/// As Docker's clients derive it from the message.
fn exit_code(error: &EngineError) -> i64 {
    let start = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<havre_runtime::StartError>());
    match start.map(havre_runtime::StartError::exit_code) {
        Some(code @ (126 | 127)) => i64::from(code),
        _ => 128,
    }
}

fn run(inner: &Arc<Inner>, container: &Arc<Container>, timings: &Timings) -> Result<()> {
    let record = container.read().clone();
    let mode = NetworkMode::parse(&record.host_config.network_mode)?;
    let prepared =
        links::applied(inner, &record).and_then(|linked| prepare(inner, container, &linked, &mode, timings));
    let started = prepared.and_then(|(shim, network)| {
        attach::wire_pending(inner, container, &shim)?;
        timings
            .stage("program started", || shim.start())
            .map_err(start_failure)?;
        let state = timings.stage("state", || shim.state())?;
        Ok((shim, network, state))
    });
    let (shim, network, state) = match started {
        Ok(started) => started,
        Err(error) => {
            exit::clean_up(inner, &record.id);
            return Err(error);
        }
    };
    container
        .stopping
        .store(false, std::sync::atomic::Ordering::SeqCst);
    let endpoints: Vec<_> = network.endpoints.clone().into_iter().collect();
    let stored = timings.stage("record", || {
        container.transit(&inner.store, Transition::Start, |record| {
            record.state.pid = state.pid;
            record.state.exit_code = 0;
            record.state.oom_killed = false;
            record.state.error.clear();
            record.state.started_at = Some(state.started_at.unwrap_or_else(jiff::Timestamp::now));
            record.network = Some(network);
            health::started(record);
        })
    });
    if let Err(error) = stored {
        // It cannot be remembered as running, so it must not run.
        exit::clean_up(inner, &record.id);
        container.change(|live| *live = record);
        return Err(error);
    }
    for (name, endpoint) in endpoints {
        publish_network(inner, "connect", &name, &endpoint.network_id, &container.id);
    }
    sources::publish_mounts(inner, &record);
    health::begin(inner, container);
    inner.publish(container, "start", &[]);
    links::refresh(inner, container);
    exit::watch(inner, container, shim)
}

pub(super) fn publish_network(inner: &Inner, action: &str, name: &str, id: &str, container: &str) {
    let driver = match inner.networks.find(id) {
        Ok(Found::User(record)) => record.driver.clone(),
        _ => networks::driver_of(name).to_owned(),
    };
    inner.events.publish(
        Event::new(EventType::Network, action, id)
            .with("container", container)
            .with("name", name)
            .with("type", driver),
    );
}

/// Root file system, files, network and shim; the program does not run yet.
fn prepare(
    inner: &Inner,
    container: &Container,
    record: &Record,
    mode: &NetworkMode,
    timings: &Timings,
) -> Result<(Shim, NetworkRecord)> {
    let id = container.id.as_str();
    let store = &inner.store;
    userns::check(inner, &record.host_config, mode)?;
    let remap = userns::of(inner, &record.host_config);
    sources::mount(inner, record)?;
    let _parts = sources::bind_parts(inner, record)?;
    spec::make_shared_memory(inner, record)?;
    let rootfs = || {
        let snapshot = store.snapshots().get(id)?;
        let rootfs = timings.stage("root file system", || {
            // What goes when it ends need never be on the disk: unmounting would force everything there, others' files too.
            let shift = remap.map(Remap::shift);
            match record.host_config.auto_remove {
                true => store.snapshots().mount_volatile(&snapshot, shift),
                false => store.snapshots().mount_as(&snapshot, shift),
            }
        })?;
        let made = timings.stage("mount points", || {
            mountpoints::prepare(&rootfs, remap.map(|remap| &remap.map))
        })?;
        // Stored with the rest when it has started. What an earlier start left behind stays on the list.
        container.change(|record| {
            record.mountpoints.retain(|old| !made.contains(old));
            record.mountpoints.extend(made);
        });
        Ok::<_, EngineError>(rootfs)
    };
    if !matches!(mode, NetworkMode::Bridge | NetworkMode::User(_)) {
        let namespace = match mode {
            NetworkMode::Host => NetworkNamespace::Host,
            NetworkMode::Container(other) => {
                let pid = spec::running_pid(inner, other, "network")?;
                if let Some(remap) = remap {
                    userns::joined(inner, remap, &record.host_config, mode)?;
                }
                NetworkNamespace::Path(PathBuf::from(format!("/proc/{pid}/ns/net")))
            }
            _ => NetworkNamespace::Path(
                timings.stage("network namespace", || userns::make_network(inner, record, mode))?,
            ),
        };
        let rootfs = rootfs()?;
        timings.stage("hosts and resolv.conf", || {
            files::write(store, record, mode, None, false)
        })?;
        let spec = spec::container_spec(inner, record, mode, rootfs, namespace)?;
        let shim = inner
            .runtime
            .create_timed(&spec, timings)
            .map_err(start_failure)?;
        return Ok((shim, plain_network(mode)));
    }

    let ports = port_requests(&record.config, &record.host_config)?;
    let memberships = Memberships::of(inner, record)?;
    let (memberships, ports) = (&memberships, &ports);
    let (sandbox, sandbox_made) = mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        let connected = scope.spawn(move || {
            let path = timings.stage("network namespace", || userns::make_network(inner, record, mode))?;
            let _ = sandbox.send(path);
            timings.stage("network connected", || {
                memberships.connect(inner, record, ports)?;
                memberships.prepare_names(inner, record)
            })
        });
        let created = (|| {
            let rootfs = rootfs()?;
            timings.stage("hosts and resolv.conf", || {
                files::write(store, record, mode, None, memberships.serve_names())
            })?;
            // Nothing comes when the sandbox failed; the other thread says why.
            let Ok(sandbox) = sandbox_made.recv() else {
                return Ok(None);
            };
            let spec = spec::container_spec(
                inner,
                record,
                mode,
                rootfs,
                NetworkNamespace::Path(sandbox.clone()),
            )?;
            inner
                .runtime
                .create_timed(&spec, timings)
                .map(|shim| Some((shim, sandbox)))
                .map_err(start_failure)
        })();
        let name_port = connected
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let Some((shim, sandbox)) = created? else {
            return Err(EngineError::system("the network sandbox was not made"));
        };
        if let Some(port) = name_port {
            shim.serve_names(inner.networks.names().path(), &sandbox, port)?;
        }
        membership::begin_to_relay(inner, &shim)?;
        let network = membership::live(inner, record, &sandbox, name_port);
        let (addresses, gateway) = membership::hosts_of(inner, record, &network);
        files::write_hosts(store, record, mode, &addresses, gateway)?;
        Ok((shim, network))
    })
}

pub(super) fn network_failure(record: &Record, error: NetworkError) -> EngineError {
    let name = record.name.clone();
    match &error {
        NetworkError::PortAllocated { .. }
        | NetworkError::PortInUse { .. }
        | NetworkError::PortRefused { .. }
        | NetworkError::PortRangeExhausted { .. } => EngineError::from(error).context(format!(
            "failed to set up container networking: driver failed programming external connectivity on endpoint {name} ({})",
            record.short_id()
        )),
        _ => EngineError::from(error).context("failed to set up container networking"),
    }
}

/// What `none`, `host` and joined networks look like in `inspect`.
fn plain_network(mode: &NetworkMode) -> NetworkRecord {
    let name = match mode {
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
        _ => return NetworkRecord::default(),
    };
    let endpoint = EndpointView {
        network_id: networks::id_of(name),
        ..EndpointView::default()
    };
    NetworkRecord {
        endpoints: [(name.to_owned(), endpoint)].into(),
        ..NetworkRecord::default()
    }
}

/// Exposed and published ports.
pub(super) fn port_bindings(
    record: &Record,
    endpoints: &[Endpoint],
) -> std::collections::BTreeMap<Port, Vec<PortBinding>> {
    let mut ports: std::collections::BTreeMap<Port, Vec<PortBinding>> = record
        .config
        .exposed_ports
        .iter()
        .map(|port| (*port, Vec::new()))
        .collect();
    // One that shares an interface of the host publishes nothing: it is reached without.
    let publishing = endpoints
        .iter()
        .filter(|endpoint| !endpoint.host_interface.is_empty());
    for binding in publishing.flat_map(|endpoint| &endpoint.ports) {
        let protocol = match binding.protocol {
            Protocol::Tcp => PortProtocol::Tcp,
            Protocol::Udp => PortProtocol::Udp,
        };
        ports
            .entry(Port {
                number: binding.container_port,
                protocol,
            })
            .or_default()
            .push(PortBinding {
                host_ip: binding.host_ip.to_string(),
                host_port: binding.host_port.to_string(),
            });
    }
    ports
}

/// As the record of a container that was started by a daemon which died before it could write it. Its names are answered
/// already, where nobody remembers: the next connection to a network finds a port anew.
pub(super) fn recovered_network(inner: &Inner, record: &Record, sandbox: &std::path::Path) -> NetworkRecord {
    match NetworkMode::parse(&record.host_config.network_mode) {
        Ok(NetworkMode::Bridge | NetworkMode::User(_)) => membership::live(inner, record, sandbox, None),
        Ok(mode) => plain_network(&mode),
        Err(_) => NetworkRecord::default(),
    }
}

/// `-p` and `-P` for the network. Those that name no address of the host have none here either: the network says.
pub(super) fn port_requests(config: &Config, host: &HostConfig) -> Result<Vec<PortRequest>> {
    let mut requests = Vec::new();
    for (port, bindings) in &host.port_bindings {
        // A published port without a binding takes any port of the host.
        let any = [PortBinding::default()];
        for binding in if bindings.is_empty() { &any[..] } else { bindings } {
            requests.push(PortRequest {
                container_port: port.number,
                protocol: protocol(*port)?,
                host_ips: host_ip(&binding.host_ip)?.into_iter().collect(),
                host_ports: host_ports(&binding.host_port)?,
            });
        }
    }
    if host.publish_all_ports {
        for port in config
            .exposed_ports
            .iter()
            .filter(|port| !host.port_bindings.contains_key(port))
        {
            requests.push(PortRequest {
                container_port: port.number,
                protocol: protocol(*port)?,
                host_ips: Vec::new(),
                host_ports: None,
            });
        }
    }
    Ok(requests)
}

fn protocol(port: Port) -> Result<Protocol> {
    match port.protocol {
        PortProtocol::Tcp => Ok(Protocol::Tcp),
        PortProtocol::Udp => Ok(Protocol::Udp),
        PortProtocol::Sctp => Err(EngineError::invalid(format!(
            "port {port} cannot be published: only tcp and udp can"
        ))),
    }
}

/// `None`: wherever the network publishes.
fn host_ip(text: &str) -> Result<Option<IpAddr>> {
    if text.is_empty() {
        return Ok(None);
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(text)
        .parse()
        .map(Some)
        .map_err(|_| EngineError::invalid(format!("invalid IP address in port mapping: {text}")))
}

fn host_ports(text: &str) -> Result<Option<std::ops::RangeInclusive<u16>>> {
    let invalid = || EngineError::invalid(format!("invalid port specification: \"{text}\""));
    let port = |text: &str| text.parse::<u16>().map_err(|_| invalid());
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let (first, last) = match text.split_once('-') {
        None => (port(text)?, port(text)?),
        Some((first, last)) => (port(first)?, port(last)?),
    };
    if first == 0 || first > last {
        return Err(invalid());
    }
    Ok(Some(first..=last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(port: &str, ip: &str, host_port: &str) -> Result<Vec<PortRequest>> {
        let binding = PortBinding {
            host_ip: ip.into(),
            host_port: host_port.into(),
        };
        let host = HostConfig {
            port_bindings: [(port.parse().unwrap(), vec![binding])].into(),
            ..HostConfig::default()
        };
        port_requests(&Config::default(), &host)
    }

    #[test]
    fn bindings() {
        let one = requests("80/tcp", "", "8080").unwrap();
        assert_eq!(
            (one[0].container_port, one[0].host_ports.clone()),
            (80, Some(8080..=8080))
        );
        assert_eq!(one[0].host_ips, [] as [IpAddr; 0]);
        let range = requests("53/udp", "127.0.0.1", "5000-5010").unwrap();
        assert_eq!(
            (range[0].protocol, range[0].host_ports.clone()),
            (Protocol::Udp, Some(5000..=5010))
        );
        assert_eq!(requests("80/tcp", "", "").unwrap()[0].host_ports, None);
        assert_eq!(requests("80/tcp", "", "0").unwrap()[0].host_ports, None);
        for (ip, port) in [
            ("", "x"),
            ("", "70000"),
            ("", "9-1"),
            ("", "0-5"),
            ("nowhere", "80"),
        ] {
            let error = requests("80/tcp", ip, port).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidParameter, "{ip} {port}");
        }
        assert!(requests("80/sctp", "", "80").is_err());
        let ips = |ip: &str| requests("80/tcp", ip, "80").unwrap()[0].host_ips.clone();
        assert_eq!(ips(""), [] as [IpAddr; 0]);
        for ip in ["::1", "[::1]"] {
            assert_eq!(ips(ip), ["::1".parse::<IpAddr>().unwrap()]);
        }
    }

    #[test]
    fn publish_all_leaves_chosen_ones_alone() {
        let config = Config {
            exposed_ports: ["80/tcp".parse().unwrap(), "443/tcp".parse().unwrap()].into(),
            ..Config::default()
        };
        let host = HostConfig {
            publish_all_ports: true,
            port_bindings: [("80/tcp".parse().unwrap(), vec![])].into(),
            ..HostConfig::default()
        };
        let numbers: Vec<_> = port_requests(&config, &host)
            .unwrap()
            .iter()
            .map(|request| request.container_port)
            .collect();
        assert_eq!(numbers, [80, 443]);
    }
}
