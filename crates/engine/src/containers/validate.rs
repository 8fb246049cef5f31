//! What is asked for is either carried out or refused here, naming the field.

use havre_runtime::spec::Rlimit;

use super::logging::Logging;
use super::{Config, HostConfig, PortProtocol, RestartPolicyName, signal};
use crate::{EngineError, Result};

/// Which network a container is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    Bridge,
    None,
    Host,
    /// Shares another container's: its name or id as given.
    Container(String),
    /// A user-defined network: its name, or what was given for it.
    User(String),
}

impl NetworkMode {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "" | "default" | "bridge" => NetworkMode::Bridge,
            "none" => NetworkMode::None,
            "host" => NetworkMode::Host,
            _ => match text.strip_prefix("container:") {
                Some("") => {
                    return Err(EngineError::invalid(
                        "invalid network mode: invalid container format container:<name|id>",
                    ));
                }
                Some(container) => NetworkMode::Container(container.to_owned()),
                None => NetworkMode::User(text.to_owned()),
            },
        })
    }
}

/// A namespace shared with the host or another container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sharing {
    Private,
    Host,
    Container(String),
}

fn sharing(field: &str, text: &str, private: &[&str], containers: bool) -> Result<Sharing> {
    match text {
        "host" => Ok(Sharing::Host),
        _ if private.contains(&text) => Ok(Sharing::Private),
        _ => match text.strip_prefix("container:") {
            Some(container) if containers && !container.is_empty() => {
                Ok(Sharing::Container(container.to_owned()))
            }
            _ => Err(EngineError::invalid(format!("invalid {field} mode: {text}"))),
        },
    }
}

pub(crate) fn pid_mode(host: &HostConfig) -> Result<Sharing> {
    sharing("PID", &host.pid_mode, &["", "private"], true)
}

pub(crate) fn ipc_mode(host: &HostConfig) -> Result<Sharing> {
    sharing("IPC", &host.ipc_mode, &["", "private", "shareable", "none"], true)
}

pub(crate) fn uts_mode(host: &HostConfig) -> Result<Sharing> {
    sharing("UTS", &host.uts_mode, &["", "private"], false)
}

/// `None`: the default of the machine's cgroup version.
pub(crate) fn cgroup_mode(host: &HostConfig) -> Result<Option<Sharing>> {
    match host.cgroupns_mode.as_str() {
        "" => Ok(None),
        text => sharing("cgroup namespace", text, &["private"], false).map(Some),
    }
}

/// What `--security-opt` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SecurityOptions {
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    /// `systempaths=unconfined`
    pub unconfined_paths: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Seccomp {
    #[default]
    Default,
    Unconfined,
    /// The text of a profile.
    Profile(String),
}

pub(crate) fn security_options(asked: &[String]) -> Result<SecurityOptions> {
    let mut options = SecurityOptions::default();
    for text in asked {
        let (key, value) = text
            .split_once('=')
            .or_else(|| text.split_once(':'))
            .unwrap_or((text, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => options.no_new_privileges = true,
            ("no-new-privileges", "false") => options.no_new_privileges = false,
            ("seccomp", "unconfined") => options.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin") => options.seccomp = Seccomp::Default,
            ("seccomp", profile) if profile.trim_start().starts_with('{') => {
                if let Err(error) =
                    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(profile)
                {
                    return Err(EngineError::invalid(format!(
                        "Decoding seccomp profile failed: {error}"
                    )));
                }
                options.seccomp = Seccomp::Profile(profile.to_owned());
            }
            ("systempaths", "unconfined") => options.unconfined_paths = true,
            // Neither AppArmor nor SELinux confines containers here, so there is nothing to switch off.
            ("apparmor", "unconfined") | ("label", "disable") => {}
            ("apparmor" | "label", _) => {
                return Err(EngineError::invalid(format!(
                    "security option {text} is not supported: AppArmor and SELinux are not used; leave it out, or say \
                     apparmor=unconfined or label=disable"
                )));
            }
            _ => {
                return Err(EngineError::invalid(format!(
                    "invalid --security-opt 2: {text:?}"
                )));
            }
        }
    }
    Ok(options)
}

/// Checks the path of a cgroup that shall hold others.
pub(crate) fn cgroup_parent(parent: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/:@".contains(&byte);
    if !parent.bytes().all(plain) || parent.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(EngineError::invalid(format!(
            "invalid cgroup parent {parent:?}: expected a path of letters, digits, '_', '.', ':', '@' and '-'"
        )));
    }
    Ok(())
}

/// `10m`, `1.5g`, `512`, `64KiB` in bytes (powers of 1024, as Docker reads memory sizes).
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return None,
    };
    let size = number * 1024f64.powi(power);
    (size.is_finite() && (0.0..9.0e18).contains(&size)).then_some(size as u64)
}

/// What `--storage-opt` limits the files to that a container writes.
pub(crate) fn storage_size(host: &HostConfig) -> Result<Option<u64>> {
    let mut size = None;
    for (option, value) in &host.storage_opt {
        if option != "size" {
            return Err(EngineError::invalid(format!(
                "unknown storage option {option}: there is size"
            )));
        }
        size = match bytes(value) {
            None => return Err(EngineError::invalid(format!("invalid size: '{value}'"))),
            Some(bytes) => Some(bytes).filter(|bytes| *bytes > 0),
        };
    }
    Ok(size)
}

/// Checks everything that needs neither the image nor the host's files.
pub(crate) fn validate(config: &Config, host: &HostConfig) -> Result<()> {
    unsupported(config, host)?;
    let mode = NetworkMode::parse(&host.network_mode)?;
    conflicts(config, host, &mode)?;
    pid_mode(host)?;
    ipc_mode(host)?;
    uts_mode(host)?;
    cgroup_mode(host)?;
    security_options(&host.security_opt)?;
    Logging::parse(&host.log_config)?;
    if let Some(name) = config.stop_signal.as_deref().filter(|name| !name.is_empty()) {
        signal::parse(name)?;
    }
    for entry in &config.env {
        if entry.is_empty() || entry.starts_with('=') {
            return Err(EngineError::invalid(format!(
                "invalid environment variable: {entry}"
            )));
        }
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(EngineError::invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    if config.hostname.len() > 63 {
        return Err(EngineError::invalid(format!(
            "invalid hostname: {}: it has more than 63 characters",
            config.hostname
        )));
    }
    restart_policy(host)?;
    resources(host)
}

fn restart_policy(host: &HostConfig) -> Result<()> {
    let policy = &host.restart_policy;
    if host.auto_remove && policy.name != RestartPolicyName::No {
        return Err(EngineError::invalid(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    if policy.maximum_retry_count < 0 {
        return Err(EngineError::invalid(
            "invalid restart policy: maximum retry count cannot be negative",
        ));
    }
    if policy.maximum_retry_count > 0 && policy.name != RestartPolicyName::OnFailure {
        return Err(EngineError::invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ));
    }
    Ok(())
}

fn conflicts(config: &Config, host: &HostConfig, mode: &NetworkMode) -> Result<()> {
    let conflict = |text: &str| Err(EngineError::invalid(format!("conflicting options: {text}")));
    let NetworkMode::Container(_) = mode else {
        if host.uts_mode == "host" && (!config.hostname.is_empty() || !config.domainname.is_empty()) {
            return conflict("hostname and the UTS mode");
        }
        return Ok(());
    };
    if !config.hostname.is_empty() {
        return conflict("hostname and the network mode");
    }
    if !host.dns.is_empty() || !host.dns_options.is_empty() || !host.dns_search.is_empty() {
        return conflict("dns and the network mode");
    }
    if !host.extra_hosts.is_empty() {
        return conflict("custom host-to-IP mapping and the network mode");
    }
    if config.mac_address.as_ref().is_some_and(|mac| !mac.is_empty()) {
        return conflict("mac-address and the network mode");
    }
    if !host.port_bindings.is_empty() || host.publish_all_ports {
        return conflict("port publishing and the container type network mode");
    }
    Ok(())
}

/// Refuses what has no effect here.
fn unsupported(config: &Config, host: &HostConfig) -> Result<()> {
    let resources = &host.resources;
    let refused = [
        (config.network_disabled, "NetworkDisabled", "use --network none"),
        (
            !host.volume_driver.is_empty() && host.volume_driver != "local",
            "VolumeDriver",
            "only the local driver exists",
        ),
        (
            !matches!(host.userns_mode.as_str(), "" | "host"),
            "UsernsMode",
            "use host for the host's user namespace, or leave it out for that of the engine's containers",
        ),
        (
            !matches!(host.isolation.as_str(), "" | "default"),
            "Isolation",
            "it belongs to Windows",
        ),
        (!host.cgroup.is_empty(), "Cgroup", "use --cgroupns"),
        (
            resources.kernel_memory_tcp != 0,
            "KernelMemoryTCP",
            "kernels no longer support it",
        ),
        (resources.cpu_count != 0, "CpuCount", "it belongs to Windows"),
        (resources.cpu_percent != 0, "CpuPercent", "it belongs to Windows"),
        (
            resources.io_maximum_iops != 0,
            "IOMaximumIOps",
            "it belongs to Windows",
        ),
        (
            resources.io_maximum_bandwidth != 0,
            "IOMaximumBandwidth",
            "it belongs to Windows",
        ),
    ];
    for (given, field, way_out) in refused {
        if given {
            return Err(EngineError::invalid(format!(
                "{field} is not supported: {way_out}"
            )));
        }
    }
    if resources.device_requests {
        return Err(EngineError::invalid(
            "could not select device driver \"\" with capabilities: [[gpu]]: this engine has no drivers for devices; give a \
             device by its path with --device",
        ));
    }
    cgroup_parent(&resources.cgroup_parent)?;
    storage_size(host)?;
    if let Some(port) = host
        .port_bindings
        .keys()
        .find(|port| port.protocol == PortProtocol::Sctp)
    {
        return Err(EngineError::invalid(format!(
            "port {port} cannot be published: only tcp and udp can"
        )));
    }
    Ok(())
}

fn resources(host: &HostConfig) -> Result<()> {
    const MINIMUM_MEMORY: i64 = 6 << 20;
    let r = &host.resources;
    let invalid = |text: String| Err(EngineError::invalid(text));
    if r.memory < 0 || (r.memory > 0 && r.memory < MINIMUM_MEMORY) {
        return invalid("Minimum memory limit allowed is 6MB".to_owned());
    }
    if r.memory_swap > 0 && r.memory == 0 {
        return invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage".to_owned(),
        );
    }
    if r.memory_swap > 0 && r.memory_swap < r.memory {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage".to_owned());
    }
    if r.memory_swap < -1 {
        return invalid(format!("invalid memory swap limit: {}", r.memory_swap));
    }
    if r.memory_reservation < 0 || (r.memory_reservation > 0 && r.memory_reservation < MINIMUM_MEMORY) {
        return invalid("Minimum memory reservation allowed is 6MB".to_owned());
    }
    if r.memory > 0 && r.memory_reservation > r.memory {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage".to_owned(),
        );
    }
    if let Some(swappiness) = r.memory_swappiness.filter(|value| !(-1..=100).contains(value)) {
        return invalid(format!(
            "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        ));
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    if r.nano_cpus < 0 || r.nano_cpus > cpus as i64 * 1_000_000_000 {
        return invalid(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        ));
    }
    for (given, name) in [(r.cpu_period, "Period"), (r.cpu_quota, "Quota")] {
        if r.nano_cpus > 0 && given != 0 {
            return invalid(format!(
                "conflicting options: Nano CPUs and CPU {name} cannot both be set"
            ));
        }
    }
    if r.cpu_period != 0 && !(1000..=1_000_000).contains(&r.cpu_period) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)".to_owned(),
        );
    }
    if r.cpu_quota > 0 && r.cpu_quota < 1000 {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned());
    }
    if r.cpu_realtime_period < 0 || r.cpu_realtime_runtime < 0 {
        return invalid("CPU real-time period and runtime cannot be negative".to_owned());
    }
    if r.cpu_realtime_period != 0 && r.cpu_realtime_runtime > r.cpu_realtime_period {
        return invalid("cpu real-time runtime cannot be higher than cpu real-time period".to_owned());
    }
    if r.cpu_shares < 0 {
        return invalid(format!("shares: invalid value: {}", r.cpu_shares));
    }
    for (name, what, set, list) in [
        ("cpus", "CPUs", &r.cpuset_cpus, "/sys/devices/system/cpu/online"),
        (
            "mems",
            "memory nodes",
            &r.cpuset_mems,
            "/sys/devices/system/node/online",
        ),
    ] {
        let Some(wanted) = number_set(set) else {
            return invalid(format!("Invalid value {set} for cpuset {name}"));
        };
        // A machine without memory nodes has no such file; its kernel judges then.
        let Ok(online) = fs_err::read_to_string(list) else {
            continue;
        };
        let online = online.trim();
        let available = number_set(online).unwrap_or_default();
        if wanted
            .iter()
            .any(|(first, last)| !available.iter().any(|(from, to)| from <= first && last <= to))
        {
            return invalid(format!(
                "Requested {what} are not available - requested {set}, available: {online}"
            ));
        }
    }
    if r.blkio_weight != 0 && !(10..=1000).contains(&r.blkio_weight) {
        return invalid("Range of blkio weight is from 10 to 1000".to_owned());
    }
    if let Some(device) = r
        .blkio_weight_device
        .iter()
        .find(|device| !(10..=1000).contains(&device.weight))
    {
        return invalid(format!(
            "Range of blkio weight is from 10 to 1000: {} of {}",
            device.weight, device.path
        ));
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        ));
    }
    if host.shm_size < 0 {
        return invalid("SHM size can not be less than 0".to_owned());
    }
    for ulimit in &r.ulimits {
        if !Rlimit::NAMES.contains(&ulimit.name.as_str()) {
            return invalid(format!("invalid ulimit type: {}", ulimit.name));
        }
        let (soft, hard) = (ulimit.soft, ulimit.hard);
        if hard != -1 && (soft == -1 || soft > hard) {
            let soft = if soft == -1 {
                "unlimited".to_owned()
            } else {
                soft.to_string()
            };
            return invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            ));
        }
    }
    Ok(())
}

/// First and last of the numbers and ranges in a list such as `0-2,7`; empty is no restriction.
fn number_set(text: &str) -> Option<Vec<(u32, u32)>> {
    let parts = text.split(',').filter(|_| !text.is_empty());
    parts
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some((first, last))
        })
        .collect()
}

#[cfg(test)]
mod tests;
