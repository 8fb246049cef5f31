//! A container's record as the runtime's specification.

use std::path::{Path, PathBuf};

use havre_runtime::spec::{
    BlockLimit, BlockLimits, ContainerSpec, Device, LogConfig, Mount, MountKind as Kind, NamespaceMode,
    NetworkNamespace, Propagation, Resources, Rlimit, Seccomp,
};

use super::record::{MountRecord, Record};
use super::validate::{self, NetworkMode, Sharing};
use super::{HostConfig, Inner, Logging, MountKind, Status, files, userns};
use crate::remap::Remap;
use crate::{EngineError, Result};

/// Bytes of /dev/shm unless said otherwise.
pub(crate) const DEFAULT_SHM: i64 = 64 << 20;

/// The host's name.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Variables with a value; a name alone takes a variable away.
pub(crate) fn environment(entries: &[String]) -> Vec<String> {
    entries
        .iter()
        .filter(|entry| entry.contains('='))
        .cloned()
        .collect()
}

/// Devices of the host must exist before anything is made.
pub(crate) fn check_devices(host: &HostConfig) -> Result<()> {
    for device in &host.resources.devices {
        if device
            .cgroup_permissions
            .chars()
            .any(|permission| !"rwm".contains(permission))
        {
            return Err(EngineError::invalid(format!(
                "invalid device mode: {}",
                device.cgroup_permissions
            )));
        }
        if let Err(error) = fs_err::metadata(&device.path_on_host) {
            return Err(EngineError::invalid(format!(
                "error gathering device information while adding custom device \"{}\": no such file or directory",
                device.path_on_host
            ))
            .with_source(error));
        }
    }
    Ok(())
}

/// Everything about the container as the runtime wants it.
pub(crate) fn container_spec(
    inner: &Inner,
    record: &Record,
    mode: &NetworkMode,
    rootfs: PathBuf,
    network: NetworkNamespace,
) -> Result<ContainerSpec> {
    let (config, host) = (&record.config, &record.host_config);
    let security = validate::security_options(&host.security_opt)?;
    let mut spec = ContainerSpec::new(record.id.clone(), rootfs, record.args.clone());
    spec.env = environment(&config.env);
    spec.cwd.clone_from(&config.working_dir);
    spec.user.clone_from(&config.user);
    spec.additional_groups.clone_from(&host.group_add);
    spec.hostname.clone_from(&config.hostname);
    spec.domainname.clone_from(&config.domainname);
    spec.tty = config.tty;
    spec.tty_size = host
        .console_size
        .filter(|size| *size != [0, 0])
        .map(|[height, width]| (width, height));
    spec.stdin = config.open_stdin;
    spec.stdin_once = config.stdin_once;
    spec.init = host.init.unwrap_or(false);
    spec.mounts = mounts(inner, record, mode)?;
    spec.readonly_rootfs = host.readonly_rootfs;
    spec.privileged = host.privileged;
    spec.cap_add.clone_from(&host.cap_add);
    spec.cap_drop.clone_from(&host.cap_drop);
    spec.masked_paths.clone_from(&host.masked_paths);
    spec.readonly_paths.clone_from(&host.readonly_paths);
    confine(&mut spec, security);
    spec.rlimits = host
        .resources
        .ulimits
        .iter()
        .map(|limit| Rlimit {
            name: limit.name.clone(),
            soft: rlimit(limit.soft),
            hard: rlimit(limit.hard),
        })
        .collect();
    spec.resources = resources(host);
    spec.devices = host
        .resources
        .devices
        .iter()
        .map(|device| Device {
            host_path: device.path_on_host.clone().into(),
            container_path: or(&device.path_in_container, &device.path_on_host).into(),
            permissions: or(&device.cgroup_permissions, "rwm").to_owned(),
        })
        .collect();
    spec.device_cgroup_rules
        .clone_from(&host.resources.device_cgroup_rules);
    spec.sysctls.clone_from(&host.sysctls);
    spec.oom_score_adj = i32::try_from(host.oom_score_adj).ok().filter(|score| *score != 0);
    spec.shm_size = u64::try_from(host.shm_size)
        .ok()
        .filter(|size| *size > 0)
        .unwrap_or(DEFAULT_SHM as u64);
    if host.ipc_mode == "none" {
        // A namespace of its own, and nothing at /dev/shm.
        spec.shm_size = 0;
    }
    spec.network = network;
    spec.pid_mode = namespace(inner, &validate::pid_mode(host)?, "PID")?;
    spec.ipc_mode = namespace(inner, &validate::ipc_mode(host)?, "IPC")?;
    spec.uts_mode = namespace(inner, &validate::uts_mode(host)?, "UTS")?;
    spec.cgroup_mode = match validate::cgroup_mode(host)? {
        Some(mode) => namespace(inner, &mode, "cgroup")?,
        // Docker's default: private where the unified hierarchy makes it meaningful.
        None if inner.settings.cgroup_v2 && !host.privileged => NamespaceMode::Private,
        None => NamespaceMode::Host,
    };
    spec.log = match Logging::parse(&host.log_config)? {
        None => LogConfig::default(),
        Some(logging) => LogConfig {
            path: Some(files::log_path(&inner.store, &record.id, logging.format)),
            format: logging.format,
            max_size: logging.max_size,
            max_files: logging.max_files,
            compress: logging.compress,
            attributes: logging.attributes(record),
        },
    };
    let parent = &host.resources.cgroup_parent;
    spec.cgroup_parent = Some(parent.clone()).filter(|parent| !parent.is_empty());
    spec.annotations.clone_from(&host.annotations);
    spec.runtime = inner.settings.runtimes.find(&host.runtime)?;
    spec.user_namespace = userns::of(inner, host).map(|remap| remap.map.clone());
    Ok(spec)
}

/// What `--security-opt` says, of a container or of a build step.
pub(crate) fn confine(spec: &mut ContainerSpec, security: validate::SecurityOptions) {
    spec.seccomp = match security.seccomp {
        validate::Seccomp::Default => Seccomp::Default,
        validate::Seccomp::Unconfined => Seccomp::Unconfined,
        validate::Seccomp::Profile(text) => Seccomp::Profile(text),
    };
    spec.no_new_privileges = security.no_new_privileges;
    if security.unconfined_paths {
        spec.masked_paths = Some(Vec::new());
        spec.readonly_paths = Some(Vec::new());
    }
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

/// -1 is unlimited.
fn rlimit(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

pub(crate) fn resources(host: &HostConfig) -> Resources {
    let r = &host.resources;
    let positive = |value: i64| Some(value).filter(|value| *value > 0);
    let text = |value: &String| Some(value.clone()).filter(|value| !value.is_empty());
    Resources {
        memory: positive(r.memory),
        memory_swap: Some(r.memory_swap).filter(|swap| *swap != 0),
        memory_reservation: positive(r.memory_reservation),
        memory_swappiness: r.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        oom_kill_disable: r.oom_kill_disable,
        nano_cpus: positive(r.nano_cpus),
        cpu_shares: positive(r.cpu_shares).map(|shares| shares as u64),
        cpu_quota: Some(r.cpu_quota).filter(|quota| *quota != 0),
        cpu_period: positive(r.cpu_period).map(|period| period as u64),
        cpu_rt_runtime: Some(r.cpu_realtime_runtime).filter(|runtime| *runtime != 0),
        cpu_rt_period: positive(r.cpu_realtime_period).map(|period| period as u64),
        cpuset_cpus: text(&r.cpuset_cpus),
        cpuset_mems: text(&r.cpuset_mems),
        pids: r.pids_limit.filter(|limit| *limit > 0),
        blkio_weight: Some(r.blkio_weight).filter(|weight| *weight != 0),
        block: block_limits(r),
    }
}

fn block_limits(r: &super::Resources) -> BlockLimits {
    let limit = |path: &str, value: u64| BlockLimit {
        path: path.into(),
        value,
    };
    let rates = |devices: &[super::ThrottleDevice]| {
        let limits = devices.iter().map(|device| limit(&device.path, device.rate));
        limits.collect()
    };
    BlockLimits {
        weight: r
            .blkio_weight_device
            .iter()
            .map(|device| limit(&device.path, u64::from(device.weight)))
            .collect(),
        read_bps: rates(&r.blkio_device_read_bps),
        write_bps: rates(&r.blkio_device_write_bps),
        read_iops: rates(&r.blkio_device_read_iops),
        write_iops: rates(&r.blkio_device_write_iops),
    }
}

fn namespace(inner: &Inner, sharing: &Sharing, what: &str) -> Result<NamespaceMode> {
    Ok(match sharing {
        Sharing::Private => NamespaceMode::Private,
        Sharing::Host => NamespaceMode::Host,
        Sharing::Container(other) => NamespaceMode::Of(running_pid(inner, other, what)?),
    })
}

/// The first process of another container, which must run.
pub(crate) fn running_pid(inner: &Inner, other: &str, what: &str) -> Result<i32> {
    let container = inner.table.find(other)?;
    let state = container.read().state.clone();
    match state.status {
        Status::Running | Status::Paused => Ok(state.pid),
        Status::Restarting => Err(EngineError::conflict(format!(
            "Container {} is restarting, wait until the container is running",
            container.id
        ))),
        _ => Err(EngineError::conflict(format!(
            "cannot join {what} namespace of a non running container: container {} is {}",
            container.read().name,
            state.status
        ))),
    }
}

/// The `/dev/shm` of a container that others may share, or shares another's; on the host.
fn shared_memory(inner: &Inner, record: &Record) -> Result<Option<PathBuf>> {
    let host = &record.host_config;
    match validate::ipc_mode(host)? {
        Sharing::Container(other) => {
            let other = inner.table.find(&other)?;
            if other.read().host_config.ipc_mode != "shareable" {
                return Err(EngineError::conflict(format!(
                    "non-shareable IPC (hint: use IpcMode:shareable for the donor container {})",
                    other.read().name
                )));
            }
            Ok(Some(files::shm_path(&inner.store, &other.id)))
        }
        _ if host.ipc_mode == "shareable" => Ok(Some(files::shm_path(&inner.store, &record.id))),
        _ => Ok(None),
    }
}

/// Makes what [`shared_memory`] says for a container that others may share.
pub(crate) fn make_shared_memory(inner: &Inner, record: &Record) -> Result<()> {
    if record.host_config.ipc_mode != "shareable" {
        return Ok(());
    }
    let path = files::shm_path(&inner.store, &record.id);
    remove_shared_memory(inner, &record.id);
    fs_err::create_dir_all(&path)?;
    let size = u64::try_from(record.host_config.shm_size).unwrap_or(0);
    let size = if size > 0 { size } else { DEFAULT_SHM as u64 };
    let owner = userns::of(inner, &record.host_config).map_or((0, 0), Remap::root);
    let made = havre_sys::mount::shared_memory(&path, size, owner);
    made.map_err(|error| EngineError::system(format!("cannot mount {}", path.display())).with_source(error))
}

/// Who still shares it keeps it.
pub(crate) fn remove_shared_memory(inner: &Inner, id: &str) {
    let path = files::shm_path(&inner.store, id);
    if path.exists()
        && let Err(error) = havre_sys::mount::unmount(&path, true)
    {
        tracing::debug!(container = id, %error, "shared memory stays mounted");
    }
}

fn mounts(inner: &Inner, record: &Record, mode: &NetworkMode) -> Result<Vec<Mount>> {
    // The files of a joined network are those of the container that owns it.
    let owner = match mode {
        NetworkMode::Container(other) => inner.table.find(other)?.id.clone(),
        _ => record.id.clone(),
    };
    let own_files = [
        ("/etc/resolv.conf", files::resolv_conf_path(&inner.store, &owner)),
        ("/etc/hostname", files::hostname_path(&inner.store, &owner)),
        ("/etc/hosts", files::hosts_path(&inner.store, &owner)),
    ];
    let mut mounts: Vec<Mount> = own_files
        .into_iter()
        .filter(|(destination, _)| {
            record
                .mounts
                .iter()
                .all(|mount| mount.point.destination != *destination)
        })
        .map(|(destination, source)| Mount {
            destination: destination.to_owned(),
            kind: Kind::Bind {
                source,
                propagation: Propagation::RPrivate,
                recursive: true,
                shifted: true,
            },
            readonly: record.host_config.readonly_rootfs,
        })
        .collect();
    mounts.extend(record.mounts.iter().enumerate().map(|(index, asked)| {
        let mut mount = mount(asked);
        if let (false, Kind::Bind { source, .. }) = (asked.subpath.is_empty(), &mut mount.kind) {
            *source = files::part_path(&inner.store, &record.id, index);
        }
        mount
    }));
    if let Some(source) = shared_memory(inner, record)? {
        let destination = "/dev/shm".to_owned();
        if mounts.iter().all(|mount| mount.destination != destination) {
            mounts.push(Mount {
                destination,
                kind: Kind::Bind {
                    source,
                    propagation: Propagation::RPrivate,
                    recursive: false,
                    shifted: false,
                },
                readonly: false,
            });
        }
    }
    // By path: what lies in another mount comes after it.
    mounts.sort_by(|a, b| Path::new(&a.destination).cmp(Path::new(&b.destination)));
    Ok(mounts)
}

fn mount(record: &MountRecord) -> Mount {
    let point = &record.point;
    let kind = match point.kind {
        MountKind::Tmpfs => Kind::Tmpfs {
            options: record.tmpfs.clone(),
        },
        _ => Kind::Bind {
            source: point.source.clone().into(),
            propagation: match point.propagation.as_str() {
                "private" => Propagation::Private,
                "shared" => Propagation::Shared,
                "rshared" => Propagation::RShared,
                "slave" => Propagation::Slave,
                "rslave" => Propagation::RSlave,
                _ => Propagation::RPrivate,
            },
            recursive: record.recursive,
            // A directory of the host is shown as it is.
            shifted: record.is_volume(),
        },
    };
    Mount {
        destination: point.destination.clone(),
        kind,
        readonly: !point.rw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::Resources as Asked;

    #[test]
    fn only_what_was_asked_for_limits() {
        let none = format!("{:?}", resources(&HostConfig::default()));
        assert!(!none.contains("Some"), "{none}");
        let asked = Asked {
            memory: 1 << 30,
            memory_swap: -1,
            nano_cpus: 1_500_000_000,
            pids_limit: Some(-1),
            cpuset_cpus: "0".into(),
            ..Asked::default()
        };
        let limits = resources(&HostConfig {
            resources: asked,
            ..HostConfig::default()
        });
        assert_eq!((limits.memory, limits.memory_swap), (Some(1 << 30), Some(-1)));
        assert_eq!((limits.nano_cpus, limits.pids), (Some(1_500_000_000), None));
        assert_eq!(limits.cpuset_cpus.as_deref(), Some("0"));
    }

    #[test]
    fn names_without_values_are_no_variables() {
        assert_eq!(
            environment(&["A=1".into(), "B".into(), "C=".into()]),
            ["A=1", "C="]
        );
    }

    #[test]
    fn unlimited() {
        assert_eq!((rlimit(-1), rlimit(5)), (u64::MAX, 5));
    }

    #[test]
    fn missing_devices_are_named() {
        let asked = Asked {
            devices: vec![crate::containers::DeviceMapping {
                path_on_host: "/dev/nothing".into(),
                ..Default::default()
            }],
            ..Asked::default()
        };
        let error = check_devices(&HostConfig {
            resources: asked,
            ..HostConfig::default()
        })
        .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("custom device \"/dev/nothing\": no such file"),
            "{error}"
        );
    }
}
