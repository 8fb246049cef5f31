//! Isolation, privileges and limits as asked for. Needs root and cgroups.

#![allow(clippy::unwrap_used)]

mod support;

use havre_runtime::spec::{
    Device, Mount, MountKind, NamespaceMode, NetworkNamespace, Propagation, Rlimit, Seccomp,
};
use support::*;

fn status_field(text: &str, name: &str) -> String {
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_else(|| panic!("no {name} in {text}"));
    line.split_ascii_whitespace().nth(1).unwrap().to_owned()
}

const STATUS: &[&str] = &["cat", "/proc/self/status"];

#[test]
fn default_privileges_are_dockers() {
    let bench = Bench::new();
    let status = bench.output(&bench.spec(STATUS));
    assert_eq!(status_field(&status, "CapEff"), "00000000a80425fb");
    assert_eq!(status_field(&status, "CapPrm"), "00000000a80425fb");
    assert_eq!(status_field(&status, "CapBnd"), "00000000a80425fb");
    assert_eq!(status_field(&status, "CapInh"), "0000000000000000");
    assert_eq!(status_field(&status, "CapAmb"), "0000000000000000");
    assert_eq!(status_field(&status, "Seccomp"), "2");
    assert_eq!(status_field(&status, "NoNewPrivs"), "0");
    let mut spec = bench.spec(STATUS);
    spec.user = "app".into();
    let status = bench.output(&spec);
    assert_eq!(status_field(&status, "CapEff"), "0000000000000000");
    assert_eq!(status_field(&status, "CapBnd"), "00000000a80425fb");
}

#[test]
fn privileges_as_configured() {
    let bench = Bench::new();
    let mut spec = bench.spec(STATUS);
    spec.cap_drop = vec!["ALL".into()];
    spec.cap_add = vec!["net_bind_service".into()];
    spec.no_new_privileges = true;
    let status = bench.output(&spec);
    assert_eq!(status_field(&status, "CapEff"), "0000000000000400");
    assert_eq!(status_field(&status, "Seccomp"), "2");
    assert_eq!(status_field(&status, "NoNewPrivs"), "1");

    let mut spec = bench.spec(STATUS);
    spec.seccomp = Seccomp::Unconfined;
    assert_eq!(status_field(&bench.output(&spec), "Seccomp"), "0");

    let mut spec = bench.sh("mkdir /x");
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;
    spec.seccomp = Seccomp::Profile(profile.into());
    let (exit, _, stderr) = bench.run(&spec);
    assert!(
        exit.code != 0 && stderr.contains("Operation not permitted"),
        "{stderr}"
    );
}

#[test]
fn privileged_containers_have_everything() {
    let bench = Bench::new();
    let mut spec = bench.sh("cat /proc/self/status; mount -t tmpfs x /tmp && echo mounted; ls /dev");
    spec.privileged = true;
    let text = bench.output(&spec);
    assert_eq!(status_field(&text, "CapEff"), all_capabilities());
    assert_eq!(status_field(&text, "Seccomp"), "0");
    assert!(text.contains("mounted") && text.contains("kmsg"), "{text}");
}

#[test]
fn paths_are_masked_and_read_only() {
    let bench = Bench::new();
    let text = bench.output(&bench.sh(
        "cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l; \
         echo 1 > /proc/sys/kernel/panic || echo refused; touch /sys/x || echo refused; touch /writable && echo ok",
    ));
    assert_eq!(text, "0\n0\nrefused\nrefused\nok\n");
    let mut spec = bench.sh("touch /x || echo refused; touch /run/x && echo ok");
    spec.readonly_rootfs = true;
    spec.mounts = vec![Mount {
        destination: "/run".into(),
        kind: MountKind::Tmpfs {
            options: vec!["size=1m".into()],
        },
        readonly: false,
    }];
    assert_eq!(bench.output(&spec), "refused\nok\n");
}

#[test]
fn mounts() {
    let bench = Bench::new();
    let data = bench.directory.path().join("data");
    fs_err::create_dir(&data).unwrap();
    fs_err::write(data.join("file"), "from the host").unwrap();
    // A link in the image must not lead the mount out of it.
    std::os::unix::fs::symlink("/../../../tmp", bench.rootfs().join("link")).unwrap();
    let bind = |source: std::path::PathBuf, destination: &str, readonly| Mount {
        destination: destination.into(),
        kind: MountKind::Bind {
            source,
            propagation: Propagation::RPrivate,
            recursive: true,
            shifted: false,
        },
        readonly,
    };
    let mut spec = bench.sh(
        "cat /data/file; touch /data/new; touch /ro/new || echo refused; cat /etc/one; cat /tmp/inside/file; \
         mount | grep -c ' /small '; dd if=/dev/zero of=/small/x bs=1k count=2000 2>/dev/null || echo full",
    );
    spec.mounts = vec![
        bind(data.clone(), "/data", false),
        bind(data.clone(), "/ro", true),
        bind(data.join("file"), "/etc/one", false),
        bind(data.clone(), "/link/inside", false),
        Mount {
            destination: "/small".into(),
            kind: MountKind::Tmpfs {
                options: vec!["size=1m".into()],
            },
            readonly: false,
        },
    ];
    let text = bench.output(&spec);
    assert_eq!(text, "from the hostrefused\nfrom the hostfrom the host1\nfull\n");
    assert!(data.join("new").exists());
    assert!(!std::path::Path::new("/tmp/inside").exists());
    spec.mounts = vec![bind("/does/not/exist".into(), "/x", false)];
    let error = bench.create_error(&spec).to_string();
    assert!(
        error.contains("bind source path does not exist: /does/not/exist"),
        "{error}"
    );
}

#[test]
fn memory_limit_kills() {
    let bench = Bench::new();
    let mut spec = bench.sh("head -c 100m /dev/zero | tail");
    spec.resources.memory = Some(16 << 20);
    let (exit, ..) = bench.run(&spec);
    assert!(exit.oom_killed, "{exit:?}");
    spec.args = ["tail", "/dev/zero"].map(str::to_owned).to_vec();
    let (exit, ..) = bench.run(&spec);
    assert_eq!((exit.code, exit.oom_killed), (137, true));
}

#[test]
fn pids_limit_refuses() {
    let bench = Bench::new();
    let mut spec = bench.sh("for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait");
    spec.resources.pids = Some(5);
    let (_, _, stderr) = bench.run(&spec);
    assert!(stderr.contains("can't fork"), "{stderr}");
}

#[test]
fn resources_are_set() {
    let bench = Bench::new();
    let mut spec = bench.sh("ulimit -n; ulimit -H -n; cat /proc/self/oom_score_adj; sleep 20");
    spec.rlimits = vec![Rlimit {
        name: "nofile".into(),
        soft: 100,
        hard: 200,
    }];
    spec.oom_score_adj = Some(500);
    spec.resources.memory = Some(64 << 20);
    spec.resources.nano_cpus = Some(500_000_000);
    spec.resources.cpu_shares = Some(512);
    spec.resources.cpuset_cpus = Some("0".into());
    spec.resources.pids = Some(50);
    let shim = bench.runtime.create(&spec).unwrap();
    let stream = shim.attach(OUTPUT).unwrap();
    shim.start().unwrap();
    read_until(&stream, "500\n");
    let stats = shim.stats().unwrap();
    assert_eq!((stats.memory_limit, stats.pids_limit), (64 << 20, 50));
    assert!(
        stats.memory_usage > 0 && stats.cpu_total > 0 && stats.pids_current >= 1,
        "{stats:?}"
    );
    assert!(!shim.pids().unwrap().is_empty());
    if !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let file = |controller: &str, name: &str| {
            let path = format!(
                "/sys/fs/cgroup/{controller}/{}/c1/{name}",
                bench.config.cgroup_parent
            );
            fs_err::read_to_string(path).unwrap().trim().to_owned()
        };
        assert_eq!(file("cpu", "cpu.cfs_quota_us"), "50000");
        assert_eq!(file("cpu", "cpu.shares"), "512");
        assert_eq!(file("cpuset", "cpuset.cpus"), "0");
        assert!(!file("devices", "devices.list").contains("a *:* rwm"));
    }
    shim.kill_all(9).unwrap();
    assert_eq!(shim.wait().unwrap().code, 137);
    let score = fs_err::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_ne!(score.trim(), "500");
}

#[test]
fn limits_cannot_be_lifted_from_inside() {
    let bench = Bench::new();
    let mut spec = bench.sh(
        "cd /sys/fs/cgroup; for file in memory/memory.limit_in_bytes memory.max pids/pids.max pids.max; do \
         test -f $file || continue; cat $file; echo 999999999 > $file && echo lifted; done",
    );
    spec.resources.memory = Some(64 << 20);
    spec.resources.pids = Some(77);
    let (_, stdout, stderr) = bench.run(&spec);
    assert_eq!(stdout, format!("{}\n77\n", 64 << 20), "{stderr}");
    assert!(stderr.contains("Read-only file system"), "{stderr}");
}

#[test]
fn devices_are_confined() {
    let bench = Bench::new();
    let text = bench.output(&bench.sh(
        "echo x > /dev/null && echo null; head -c 1 /dev/urandom | wc -c; ls -l /dev/pts >/dev/null && echo pts; \
         ls /dev/kmsg || echo missing; ls -d /dev/stdin /dev/fd /dev/shm /dev/mqueue | wc -l",
    ));
    assert_eq!(text, "null\n1\npts\nmissing\n4\n");
    let mut spec = bench.sh("head -c 1 /dev/message && echo read");
    spec.devices = vec![Device {
        host_path: "/dev/urandom".into(),
        container_path: "/dev/message".into(),
        permissions: "r".into(),
    }];
    assert!(bench.output(&spec).ends_with("read\n"));
    // Not among those allowed: the node can be made, and not opened.
    let node = bench.rootfs().join("kmsg");
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    let device = rustix::fs::makedev(1, 11);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &node,
        rustix::fs::FileType::CharacterDevice,
        mode,
        device,
    )
    .unwrap();
    let (exit, _, stderr) = bench.run(&bench.sh("head -c 1 /kmsg"));
    assert!(exit.code != 0 && stderr.contains("not permitted"), "{stderr}");
}

#[test]
fn namespaces() {
    let bench = Bench::new();
    let ids = "ls -l /proc/self/ns | grep -o '[a-z]*:\\[.*'; cat /proc/net/dev | wc -l; ps | wc -l";
    let namespace = |name: &str| {
        let link = fs_err::read_link(format!("/proc/self/ns/{name}")).unwrap();
        link.to_string_lossy().into_owned()
    };
    let text = bench.output(&bench.sh(ids));
    for name in ["net", "pid", "ipc", "uts", "mnt"] {
        assert!(!text.contains(&namespace(name)), "{name} is shared: {text}");
    }
    let mut spec = bench.sh(ids);
    spec.network = NetworkNamespace::Host;
    spec.pid_mode = NamespaceMode::Host;
    spec.ipc_mode = NamespaceMode::Host;
    spec.uts_mode = NamespaceMode::Host;
    let text = bench.output(&spec);
    for name in ["net", "pid", "ipc", "uts"] {
        assert!(text.contains(&namespace(name)), "{name} is private: {text}");
    }
    // Another container's.
    let shim = bench.start(&bench.sh("sleep 30"));
    let pid = shim.state().unwrap().pid;
    let mut spec = bench.sh("ps | grep -c 'sleep 3[0]'; hostname");
    spec.id = "c2".into();
    spec.log.path = None;
    spec.pid_mode = NamespaceMode::Of(pid);
    spec.uts_mode = NamespaceMode::Of(pid);
    spec.network = NetworkNamespace::Path(format!("/proc/{pid}/ns/net").into());
    let text = bench.output(&spec);
    assert_eq!(text, "1\nc1\n");
}

#[test]
fn left_behind_processes_of_a_shared_pid_namespace_are_killed() {
    let bench = Bench::new();
    let mut spec = bench.sh("sleep 1000 & echo $!");
    spec.pid_mode = NamespaceMode::Host;
    let text = bench.output(&spec);
    let pid: i32 = text.trim().parse().unwrap();
    eventually("it is gone", || fs_err::metadata(format!("/proc/{pid}")).is_err());
}

#[test]
fn sysctls() {
    let bench = Bench::new();
    let mut spec = bench.sh("cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start");
    spec.sysctls.insert("kernel.msgmax".into(), "12345".into());
    assert_eq!(bench.output(&spec), "12345\n0\n");
}

#[test]
fn the_program_of_the_shim_cannot_be_overwritten() {
    let bench = Bench::new();
    // The init of --init is a process of ours that a container can see.
    let mut spec =
        bench.sh("cp /bin/busybox /proc/1/exe; echo x > /proc/1/exe || echo refused; ls /proc/1/fd | wc -l");
    spec.init = true;
    spec.privileged = true;
    let before = fs_err::metadata(shim_program()).unwrap();
    let (_, stdout, _) = bench.run(&spec);
    let after = fs_err::metadata(shim_program()).unwrap();
    assert_eq!(stdout, "refused\n3\n");
    assert_eq!(
        (before.len(), before.modified().unwrap()),
        (after.len(), after.modified().unwrap())
    );
}
