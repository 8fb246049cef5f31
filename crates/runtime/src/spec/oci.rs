//! The OCI runtime specification (`config.json`, version 1.2) of a container, with Docker's defaults.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use havre_sys::userns::{IdMap, as_root_of};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde_json::{Value, json};

use super::mount::clean;
use super::{
    ContainerSpec, MountKind, NamespaceMode, NetworkNamespace, Resources, Rlimit, Seccomp, Source, SpecError,
    Stage, User, capability, device, mount, resolve_user, seccomp,
};
use crate::cgroup::Cgroup;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Hidden unless the container is privileged or says otherwise; Docker's list.
pub const MASKED_PATHS: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
const MASKED_WHEN_PRESENT: [&str; 1] = ["/sys/devices/virtual/powercap"];
/// Read-only unless the container is privileged or says otherwise; Docker's list.
pub const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// What the shim needs of a specification.
pub(crate) struct Bundle {
    /// `config.json`.
    pub(crate) config: Value,
    pub(crate) user: User,
    pub(crate) device_rules: Vec<Value>,
    /// Bounding, permitted and effective set. Not in `config`: the shim gives up the others itself, after it has
    /// loaded the seccomp filter, which takes capabilities.
    pub(crate) capabilities: Vec<String>,
    /// For the same reason not in `config`; see [`super::filter`].
    pub(crate) seccomp: Option<seccomp::OciSeccomp>,
    /// For a container in a user namespace.
    pub(crate) stage: Option<Stage>,
}

/// Resolves and checks everything and makes the specification; `cgroup_path` begins with a slash, `directory` is the
/// container's own. Makes the working directory if it is missing.
pub(crate) fn bundle(spec: &ContainerSpec, cgroup_path: &str, directory: &Path) -> Result<Bundle, SpecError> {
    check_id(&spec.id)?;
    if spec.args.is_empty() || spec.args[0].is_empty() {
        return Err(SpecError::NoCommand);
    }
    if spec.args.iter().any(|arg| arg.contains('\0')) {
        return Err(SpecError::Nul { what: "an argument" });
    }
    if spec.env.iter().any(|variable| variable.contains('\0')) {
        return Err(SpecError::Nul {
            what: "an environment variable",
        });
    }
    let rootfs = open_directory(&spec.rootfs).map_err(|source| SpecError::Rootfs {
        path: spec.rootfs.clone(),
        source,
    })?;
    let user = resolve_user(&rootfs, &spec.user, &spec.additional_groups)?;
    // The primary group is listed as well, so that dropping it cannot gain what the group is denied (CVE-2022-36109).
    let mut groups = vec![user.gid];
    groups.extend(user.additional_gids.iter().filter(|gid| **gid != user.gid));
    let capabilities = capability::select(&spec.cap_add, &spec.cap_drop, spec.privileged)?;
    let mut stage = Stage::of(spec, directory, &user)?;
    let (mut mounts, root_propagation) = mount::mounts(spec, &rootfs, cgroup_path, stage.as_mut())?;
    let (devices, device_rules) = device::devices(spec)?;
    let devices = match &mut stage {
        None => devices.iter().map(device::Node::to_oci).collect(),
        // No device can be made in a user namespace: the host's are shown.
        Some(stage) => {
            mounts.extend(devices.into_iter().map(|node| {
                let source = stage.add(Source {
                    path: node.host,
                    recursive: false,
                    shifted: false,
                });
                json!({
                    "destination": node.path, "type": "bind", "source": source, "options": ["bind", "nosuid", "noexec"],
                })
            }));
            Vec::new()
        }
    };
    let cwd = working_directory(spec, &rootfs)?;

    let mut process = json!({
        "terminal": spec.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": groups},
        "args": spec.args,
        "env": environment(spec, &user),
        "cwd": cwd,
        "rlimits": rlimits(spec)?,
    });
    // Absent is off: the runtime takes `false` for a reason to load the filter after dropping privileges.
    if spec.no_new_privileges {
        process["noNewPrivileges"] = true.into();
    }
    if let Some(score) = spec.oom_score_adj {
        if !(-1000..=1000).contains(&score) {
            return Err(SpecError::Resource {
                detail: "oom-score-adj must be between -1000 and 1000",
            });
        }
        process["oomScoreAdj"] = score.into();
    }

    let mut resources = resources(&spec.resources, &Cgroup::new(cgroup_path))?;
    resources["devices"] = Value::Array(device_rules.clone());
    let mut linux = json!({
        "namespaces": namespaces(spec)?,
        "cgroupsPath": cgroup_path,
        "resources": resources,
        "rootfsPropagation": root_propagation,
        "maskedPaths": masked_paths(spec),
        "readonlyPaths": readonly_paths(spec),
    });
    if !devices.is_empty() {
        linux["devices"] = Value::Array(devices);
    }
    let sysctls = sysctls(spec)?;
    if !sysctls.is_empty() {
        linux["sysctl"] = json!(sysctls);
    }
    let mut seccomp = match &spec.seccomp {
        Seccomp::Unconfined => None,
        Seccomp::Default if spec.privileged => None,
        Seccomp::Default => Some(seccomp::default_profile(&capabilities)?),
        Seccomp::Profile(text) => Some(seccomp::custom_profile(text, &capabilities)?),
    };
    let mut config = json!({
        "ociVersion": "1.2.0",
        "process": process,
        "root": {"path": spec.rootfs, "readonly": spec.readonly_rootfs},
        "mounts": mounts,
        "linux": linux,
    });
    if matches!(spec.uts_mode, NamespaceMode::Private) {
        config["hostname"] = spec.hostname.as_str().into();
        if !spec.domainname.is_empty() {
            config["domainname"] = spec.domainname.as_str().into();
        }
    }
    if !spec.annotations.is_empty() {
        config["annotations"] = json!(spec.annotations);
    }
    if let Some(stage) = &stage {
        stage.apply(&mut config);
    }
    if spec.runtime.is_some() {
        for_others(spec, &capabilities, seccomp.take(), &mut config)?;
    }
    Ok(Bundle {
        config,
        user,
        device_rules,
        capabilities,
        seccomp,
        stage,
    })
}

/// What a runtime of the host does itself, and the shim for the containers it makes.
fn for_others(
    spec: &ContainerSpec,
    capabilities: &[String],
    seccomp: Option<seccomp::OciSeccomp>,
    config: &mut Value,
) -> Result<(), SpecError> {
    // Some refuse versions that are newer than they are; nothing here needs one.
    config["ociVersion"] = "1.0.2".into();
    let process = &mut config["process"];
    process["capabilities"] = capability::sets(capabilities);
    // Else it would be that of the shim.
    process["oomScoreAdj"] = spec.oom_score_adj.unwrap_or(0).into();
    if spec.init {
        let program = find_init().ok_or(SpecError::NoInit)?;
        if let Some(mounts) = config["mounts"].as_array_mut() {
            mounts.push(json!({
                "destination": INIT, "type": "bind", "source": program, "options": ["bind", "ro"],
            }));
        }
        let args = [INIT, "--"]
            .into_iter()
            .chain(spec.args.iter().map(String::as_str));
        config["process"]["args"] = args.collect();
    }
    if let Some(seccomp) = seccomp {
        config["linux"]["seccomp"] = json!(seccomp);
    }
    Ok(())
}

/// Where the init of a container made by a runtime of the host is: where nothing of it stays behind.
const INIT: &str = "/dev/init";

/// A small init that runs in any container.
fn find_init() -> Option<std::path::PathBuf> {
    let directories = [
        "/usr/local/bin",
        "/usr/bin",
        "/usr/sbin",
        "/usr/libexec/docker",
        "/usr/libexec/podman",
    ];
    let programs = ["docker-init", "tini-static", "catatonit"];
    let candidates = programs.iter().flat_map(|program| {
        directories
            .iter()
            .map(move |directory| Path::new(directory).join(program))
    });
    let is_program = |path: &std::path::PathBuf| {
        path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
    };
    candidates.into_iter().find(is_program)
}

pub(crate) fn check_id(id: &str) -> Result<(), SpecError> {
    let valid = !id.is_empty()
        && id.len() <= 64
        && id.as_bytes()[0].is_ascii_alphanumeric()
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if valid {
        Ok(())
    } else {
        Err(SpecError::Id { id: id.to_owned() })
    }
}

/// runc's wording for a working directory that cannot be entered.
pub(crate) fn working_directory_error(path: &str, reason: &str) -> String {
    format!("chdir to cwd ({path:?}) set in config.json failed: {reason}")
}

fn environment(spec: &ContainerSpec, user: &User) -> Vec<String> {
    let mut env = vec![DEFAULT_PATH.to_owned(), format!("HOSTNAME={}", spec.hostname)];
    if spec.tty {
        env.push("TERM=xterm".to_owned());
    }
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    for variable in &spec.env {
        let position = env.iter().position(|known| name(known) == name(variable));
        match (variable.contains('='), position) {
            (true, Some(position)) => env[position] = variable.clone(),
            (true, None) => env.push(variable.clone()),
            // `NAME` alone takes the variable away.
            (false, Some(position)) => {
                env.remove(position);
            }
            (false, None) => {}
        }
    }
    if !env.iter().any(|variable| variable.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
    env
}

fn rlimits(spec: &ContainerSpec) -> Result<Vec<Value>, SpecError> {
    let mut limits = BTreeMap::new();
    for limit in &spec.rlimits {
        if !Rlimit::NAMES.contains(&limit.name.as_str()) {
            return Err(SpecError::Rlimit {
                name: limit.name.clone(),
            });
        }
        if limit.soft > limit.hard {
            return Err(SpecError::RlimitOrder {
                soft: limit.soft,
                hard: limit.hard,
            });
        }
        let name = format!("RLIMIT_{}", limit.name.to_ascii_uppercase());
        limits.insert(
            name.clone(),
            json!({"type": name, "soft": limit.soft, "hard": limit.hard}),
        );
    }
    Ok(limits.into_values().collect())
}

fn namespaces(spec: &ContainerSpec) -> Result<Vec<Value>, SpecError> {
    let mut namespaces = vec![json!({"type": "mount"})];
    match &spec.network {
        NetworkNamespace::Private => namespaces.push(json!({"type": "network"})),
        NetworkNamespace::Host => {}
        NetworkNamespace::Path(path) => namespaces.push(json!({"type": "network", "path": path})),
    }
    for (mode, name, file) in [
        (&spec.uts_mode, "uts", "uts"),
        (&spec.pid_mode, "pid", "pid"),
        (&spec.ipc_mode, "ipc", "ipc"),
        (&spec.cgroup_mode, "cgroup", "cgroup"),
    ] {
        match mode {
            NamespaceMode::Private => namespaces.push(json!({"type": name})),
            NamespaceMode::Host => {}
            NamespaceMode::Of(pid) => {
                let path = format!("/proc/{pid}/ns/{file}");
                if fs_err::metadata(&path).is_err() {
                    return Err(SpecError::NamespaceGone {
                        pid: *pid,
                        namespace: name,
                    });
                }
                namespaces.push(json!({"type": name, "path": path}));
            }
        }
    }
    Ok(namespaces)
}

fn resources(resources: &Resources, cgroup: &Cgroup) -> Result<Value, SpecError> {
    let mut value = json!({});
    // Files of version 2 as they are, where libcontainer's translation is wrong.
    let mut unified = serde_json::Map::new();
    let positive = |limit: Option<i64>, detail| match limit {
        Some(limit) if limit < -1 => Err(SpecError::Resource { detail }),
        Some(0) | None => Ok(None),
        limit => Ok(limit),
    };
    let memory = positive(resources.memory, "memory must not be negative")?;
    let reservation = positive(
        resources.memory_reservation,
        "memory reservation must not be negative",
    )?;
    let mut swap = positive(resources.memory_swap, "memory swap must be -1 or not negative")?;
    if let Some(limit) = memory.filter(|limit| *limit > 0) {
        swap = swap.or(Some(limit.saturating_mul(2)));
        if swap.is_some_and(|swap| swap > 0 && swap < limit) {
            return Err(SpecError::Resource {
                detail: "Minimum memoryswap limit should be larger than memory limit, see usage",
            });
        }
    } else if swap.is_some_and(|swap| swap > 0) {
        return Err(SpecError::Resource {
            detail: "You should always set the Memory limit when using Memoryswap limit, see usage",
        });
    }
    if !cgroup.has_swap_accounting() {
        swap = None;
    }
    if crate::cgroup::is_v2() && swap.is_some() && swap == memory {
        // No swap at all: a limit of nothing is taken for no limit.
        unified.insert("memory.swap.max".into(), "0".into());
    }
    let mut object = serde_json::Map::new();
    for (key, limit) in [("limit", memory), ("swap", swap), ("reservation", reservation)] {
        if let Some(limit) = limit {
            object.insert(key.to_owned(), limit.into());
        }
    }
    if let Some(swappiness) = resources.memory_swappiness {
        if swappiness > 100 {
            return Err(SpecError::Resource {
                detail: "memory swappiness must be between 0 and 100",
            });
        }
        if crate::cgroup::is_v2() {
            return Err(SpecError::Unsupported {
                what: "memory swappiness on cgroup v2",
            });
        }
        object.insert("swappiness".into(), swappiness.into());
    }
    if resources.oom_kill_disable {
        if crate::cgroup::is_v2() {
            return Err(SpecError::Unsupported {
                what: "disabling the OOM killer on cgroup v2",
            });
        }
        object.insert("disableOOMKiller".into(), true.into());
    }
    if !object.is_empty() {
        value["memory"] = Value::Object(object);
    }

    let mut cpu = serde_json::Map::new();
    let (mut quota, mut period) = (resources.cpu_quota, resources.cpu_period);
    if let Some(nano) = resources.nano_cpus.filter(|nano| *nano != 0) {
        if nano < 0 {
            return Err(SpecError::Resource {
                detail: "cpus must not be negative",
            });
        }
        if quota.is_some() || period.is_some() {
            return Err(SpecError::Resource {
                detail: "nano CPUs and CPU quota or period cannot both be set",
            });
        }
        period = Some(100_000);
        quota = Some(nano / 10_000);
    }
    if period.is_some_and(|period| period != 0 && !(1_000..=1_000_000).contains(&period)) {
        return Err(SpecError::Resource {
            detail: "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        });
    }
    if quota.is_some_and(|quota| quota > 0 && quota < 1_000) {
        return Err(SpecError::Resource {
            detail: "CPU cfs quota can not be less than 1ms (i.e. 1000)",
        });
    }
    for (key, limit) in [
        (
            "shares",
            resources
                .cpu_shares
                .filter(|shares| *shares != 0)
                .map(Value::from),
        ),
        ("quota", quota.filter(|quota| *quota != 0).map(Value::from)),
        ("period", period.filter(|period| *period != 0).map(Value::from)),
        (
            "cpus",
            resources
                .cpuset_cpus
                .clone()
                .filter(|cpus| !cpus.is_empty())
                .map(Value::from),
        ),
        (
            "mems",
            resources
                .cpuset_mems
                .clone()
                .filter(|mems| !mems.is_empty())
                .map(Value::from),
        ),
    ] {
        if let Some(limit) = limit {
            cpu.insert(key.to_owned(), limit);
        }
    }
    if !cpu.is_empty() {
        value["cpu"] = Value::Object(cpu);
    }
    if let Some(pids) = resources.pids.filter(|pids| *pids > 0) {
        value["pids"] = json!({"limit": pids});
    }
    if let Some(weight) = resources.blkio_weight.filter(|weight| *weight != 0) {
        if !(10..=1000).contains(&weight) {
            return Err(SpecError::Resource {
                detail: "Range of blkio weight is from 10 to 1000",
            });
        }
        if crate::cgroup::is_v2() {
            // The translation does not fit the 16 bits it is done in.
            let (file, weight) = cgroup.io_weight(weight);
            unified.insert(file.into(), weight.into());
        } else {
            value["blockIO"] = json!({"weight": weight});
        }
    }
    if !unified.is_empty() {
        value["unified"] = Value::Object(unified);
    }
    Ok(value)
}

fn masked_paths(spec: &ContainerSpec) -> Vec<String> {
    match &spec.masked_paths {
        Some(paths) => paths.clone(),
        None if spec.privileged => Vec::new(),
        None => {
            let present = MASKED_WHEN_PRESENT.iter().filter(|path| Path::new(path).exists());
            MASKED_PATHS
                .iter()
                .chain(present)
                .map(|path| (*path).to_owned())
                .collect()
        }
    }
}

fn readonly_paths(spec: &ContainerSpec) -> Vec<String> {
    match &spec.readonly_paths {
        Some(paths) => paths.clone(),
        None if spec.privileged => Vec::new(),
        None => READONLY_PATHS.iter().map(|path| (*path).to_owned()).collect(),
    }
}

/// Only what belongs to a namespace of the container may be set. Ping without privileges and low ports are allowed in
/// a network namespace of its own, as Docker does.
fn sysctls(spec: &ContainerSpec) -> Result<BTreeMap<String, String>, SpecError> {
    const IPC: [&str; 9] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.shm_next_id",
    ];
    let own_network = !matches!(spec.network, NetworkNamespace::Host);
    let own_ipc = matches!(spec.ipc_mode, NamespaceMode::Private);
    let own_uts = matches!(spec.uts_mode, NamespaceMode::Private);
    let mut sysctls = BTreeMap::new();
    // The network of a user namespace has both; from inside not every group can be named.
    if own_network && !spec.privileged && spec.user_namespace.is_none() {
        for (name, value) in [
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
        ] {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            if Path::new(&path).exists() {
                sysctls.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    for (name, value) in &spec.sysctls {
        let plain = !name.contains('/')
            && name.split('.').all(|part| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
            });
        let allowed = plain
            && ((own_network && name.starts_with("net."))
                || (own_ipc && (IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.")))
                || (own_uts && name == "kernel.domainname"));
        if !allowed {
            return Err(SpecError::Sysctl { name: name.clone() });
        }
        sysctls.insert(name.clone(), value.clone());
    }
    Ok(sysctls)
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Into::into)
}

/// The cleaned working directory, made where it is missing: in the root file system, or in the source of the bind
/// mount it lies in. (In a tmpfs it cannot exist before the container does; entering it then fails as it should.)
fn working_directory(spec: &ContainerSpec, rootfs: &OwnedFd) -> Result<String, SpecError> {
    if spec.cwd.is_empty() || spec.cwd == "/" {
        return Ok("/".to_owned());
    }
    if !spec.cwd.starts_with('/') || spec.cwd.contains('\0') {
        return Err(SpecError::WorkingDirectory {
            path: spec.cwd.clone(),
        });
    }
    let Ok(cwd) = clean(&spec.cwd) else {
        return Ok("/".to_owned());
    };
    let inside = |destination: &str| {
        cwd.strip_prefix(destination)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let covering = spec
        .mounts
        .iter()
        .filter_map(|mount| {
            let destination = clean(&mount.destination).ok()?;
            let rest = inside(&destination)?;
            Some((destination.len(), mount, rest.trim_start_matches('/').to_owned()))
        })
        .max_by_key(|(length, _, _)| *length);
    let fail = |source: io::Error| SpecError::CreateWorkingDirectory {
        path: cwd.clone(),
        source,
    };
    let make = |directory: &OwnedFd, path: &str, map: Option<&IdMap>| {
        as_root_of(map, || make_directories(directory, path))
            .and_then(|made| made)
            .map_err(fail)
    };
    let map = spec.user_namespace.as_ref();
    match covering {
        Some((_, mount, rest)) => {
            if let (MountKind::Bind { source, shifted, .. }, false) = (&mount.kind, rest.is_empty())
                && let Ok(directory) = open_directory(source)
            {
                // Where owners will be shifted, they are as on the disk.
                make(&directory, &rest, map.filter(|_| !shifted))?;
            }
        }
        None if ["/proc", "/sys", "/dev"].iter().any(|own| inside(own).is_some()) => {}
        None => make(rootfs, cwd.trim_start_matches('/'), map)?,
    }
    Ok(cwd)
}

/// `mkdir -p` beneath a root directory; links resolve inside it.
fn make_directories(root: impl AsFd, path: &str) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &str| {
        rustix::fs::openat2(
            root.as_fd(),
            path,
            flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    };
    if open(path).is_ok() {
        return Ok(());
    }
    let mut at = String::new();
    let mut parent = open(".")?;
    for part in path.split('/') {
        if !at.is_empty() {
            at.push('/');
        }
        at.push_str(part);
        parent = match open(&at) {
            Ok(directory) => directory,
            Err(rustix::io::Errno::NOENT) => {
                match rustix::fs::mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                open(&at)?
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Mount, Propagation};

    fn spec(root: &Path) -> ContainerSpec {
        ContainerSpec::new("0123456789abcdef", root, vec!["true".into()])
    }

    #[test]
    fn the_document_is_an_oci_specification() {
        let root = tempfile::tempdir().unwrap();
        let mut spec = spec(root.path());
        spec.resources.memory = Some(64 << 20);
        spec.resources.nano_cpus = Some(1_500_000_000);
        spec.resources.pids = Some(10);
        spec.rlimits.push(Rlimit {
            name: "nofile".into(),
            soft: 10,
            hard: 20,
        });
        let bundle = bundle(&spec, "/havre/x", Path::new("/run/x")).unwrap();
        assert_eq!(bundle.capabilities.len(), 14);
        assert!(bundle.seccomp.is_some());
        let parsed: oci_spec::runtime::Spec = serde_json::from_value(bundle.config).unwrap();
        let linux = parsed.linux().as_ref().unwrap();
        let cpu = linux.resources().as_ref().unwrap().cpu().clone().unwrap();
        assert_eq!((cpu.quota(), cpu.period()), (Some(150_000), Some(100_000)));
        assert_eq!(parsed.hostname().as_deref(), Some("0123456789ab"));
        let process = parsed.process().as_ref().unwrap();
        assert_eq!(process.no_new_privileges(), None);
        assert!(process.capabilities().is_none() && linux.seccomp().is_none());
        assert_eq!(
            *process.env().as_ref().unwrap(),
            [DEFAULT_PATH, "HOSTNAME=0123456789ab", "HOME=/"].map(str::to_owned)
        );
    }

    #[test]
    fn in_a_user_namespace_everything_is_on_the_stage() {
        let root = tempfile::tempdir().unwrap();
        let mut spec = spec(root.path());
        let ranges = vec![havre_sys::userns::IdRange {
            inside: 0,
            outside: 300_000,
            count: 10,
        }];
        spec.user_namespace = Some(IdMap {
            uids: ranges.clone(),
            gids: ranges,
        });
        assert!(
            bundle(&spec, "/h/x", Path::new("/run/x")).is_err(),
            "a network of nobody's"
        );
        spec.network = NetworkNamespace::Path("/run/net".into());
        spec.mounts.push(Mount {
            destination: "/data".into(),
            kind: MountKind::Bind {
                source: root.path().to_owned(),
                propagation: Propagation::RPrivate,
                recursive: true,
                shifted: true,
            },
            readonly: false,
        });
        spec.devices.push(crate::spec::Device {
            host_path: "/dev/null".into(),
            container_path: "/dev/other".into(),
            permissions: "rw".into(),
        });
        let made = bundle(&spec, "/h/x", Path::new("/run/x")).unwrap();
        let config = &made.config;
        assert_eq!(config["root"]["path"], "/run/x/stage/rootfs");
        let source = |destination: &str| {
            let mounts = config["mounts"].as_array().unwrap();
            let mount = mounts.iter().find(|mount| mount["destination"] == destination);
            mount.unwrap()["source"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            (source("/data"), source("/dev/other")),
            ("/run/x/stage/0".into(), "/run/x/stage/1".into())
        );
        assert!(config["linux"]["devices"].is_null());
        let stage = made.stage.unwrap();
        assert_eq!(stage.sources[0].path, root.path());
        assert_eq!(
            (stage.sources[0].shifted, stage.sources[1].shifted),
            (true, false)
        );
        for kind in ["user", "network"] {
            let path = format!("/run/x/stage/{kind}");
            let found = config["linux"]["namespaces"].as_array().unwrap();
            let found: Vec<_> = found
                .iter()
                .filter(|namespace| namespace["type"] == kind)
                .collect();
            assert!(
                matches!(found[..], [one] if one["path"] == path.as_str()),
                "{found:?}"
            );
        }
        let mapping = json!([{"containerID": 0, "hostID": 300_000, "size": 10}]);
        assert_eq!(config["linux"]["uidMappings"], mapping);
        for user in ["10", "0:10"] {
            spec.user = user.into();
            let refused = bundle(&spec, "/h/x", Path::new("/run/x"));
            assert!(
                matches!(refused, Err(SpecError::NotMapped { id: 10, .. })),
                "{user}"
            );
        }
    }

    #[test]
    fn environment_replaces_and_removes() {
        let root = tempfile::tempdir().unwrap();
        let mut spec = spec(root.path());
        spec.tty = true;
        spec.env = ["PATH=/x", "A=1", "TERM", "A=2", "HOME=/h"]
            .map(str::to_owned)
            .to_vec();
        let user = User {
            uid: 0,
            gid: 0,
            additional_gids: vec![],
            home: "/root".into(),
        };
        assert_eq!(
            environment(&spec, &user),
            ["PATH=/x", "HOSTNAME=0123456789ab", "A=1", "HOME=/h"].map(|v| if v == "A=1" {
                "A=2".to_owned()
            } else {
                v.to_owned()
            })
        );
    }

    #[test]
    fn working_directory_is_made_inside_the_root() {
        let root = tempfile::tempdir().unwrap();
        let data = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/../../..", root.path().join("up")).unwrap();
        let mut spec = spec(root.path());
        spec.cwd = "/up/app/./src/../lib".into();
        assert_eq!(
            bundle(&spec, "/h/x", Path::new("/run/x")).unwrap().config["process"]["cwd"],
            "/up/app/lib"
        );
        assert!(root.path().join("app/lib").is_dir());
        spec.cwd = "/data/a/b".into();
        spec.mounts.push(Mount {
            destination: "/data".into(),
            kind: MountKind::Bind {
                source: data.path().into(),
                propagation: Propagation::RPrivate,
                recursive: true,
                shifted: false,
            },
            readonly: false,
        });
        bundle(&spec, "/h/x", Path::new("/run/x")).unwrap();
        assert!(data.path().join("a/b").is_dir());
        assert!(!root.path().join("data").exists());
        spec.cwd = "relative".into();
        assert!(bundle(&spec, "/h/x", Path::new("/run/x")).is_err());
    }

    #[test]
    fn impossible_requests_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let refused = |change: &dyn Fn(&mut ContainerSpec)| {
            let mut spec = spec(root.path());
            change(&mut spec);
            assert!(bundle(&spec, "/h/x", Path::new("/run/x")).is_err());
        };
        refused(&|spec| spec.id = "../x".into());
        refused(&|spec| spec.args.clear());
        refused(&|spec| spec.args = vec!["a\0b".into()]);
        refused(&|spec| spec.user = "nobody-here".into());
        refused(&|spec| {
            spec.rlimits = vec![Rlimit {
                name: "speed".into(),
                soft: 1,
                hard: 1,
            }]
        });
        refused(&|spec| {
            spec.rlimits = vec![Rlimit {
                name: "nofile".into(),
                soft: 2,
                hard: 1,
            }]
        });
        refused(&|spec| drop(spec.sysctls.insert("kernel.panic".into(), "1".into())));
        refused(&|spec| drop(spec.sysctls.insert("net.../../kernel/panic".into(), "1".into())));
        refused(&|spec| spec.pid_mode = NamespaceMode::Of(i32::MAX));
        refused(&|spec| spec.resources.memory_swap = Some(5 << 20));
        refused(&|spec| spec.resources.cpu_quota = Some(5));
        refused(&|spec| spec.rootfs = "/nope".into());
    }
}
