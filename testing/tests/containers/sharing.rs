//! Namespaces that containers share with each other and with the host, cgroups they choose, and what they are given besides.

use havre_testing::TestEngine;

/// The namespace of a kind that a container is in.
fn namespace(engine: &TestEngine, container: &str, kind: &str) -> String {
    let pid = engine.inspect(container)["State"]["Pid"].as_u64().expect("a pid");
    of_process(pid, kind)
}

fn of_process(pid: impl std::fmt::Display, kind: &str) -> String {
    let link = fs_err::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a process");
    link.to_string_lossy().into_owned()
}

#[test]
fn ipc_is_shared_with_those_who_offer_it() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name donor --ipc shareable --shm-size 8m busybox sleep 1000");
    engine.ok(["exec", "donor", "sh", "-c", "echo shared > /dev/shm/file"]);
    engine.ok("run -d --name guest --ipc container:donor busybox sleep 1000");
    assert_eq!(
        namespace(&engine, "guest", "ipc"),
        namespace(&engine, "donor", "ipc")
    );
    assert_eq!(engine.ok("exec guest cat /dev/shm/file"), "shared");
    let mounts = engine.ok("exec guest cat /proc/mounts");
    let line = mounts
        .lines()
        .find(|line| line.contains(" /dev/shm "))
        .expect("/dev/shm");
    assert!(
        line.contains("size=8192k") && line.contains("nosuid") && line.contains("noexec"),
        "{line}"
    );
    // It outlives the donor with its guest, and comes anew with the donor.
    engine.ok("stop -t 0 donor");
    assert_eq!(engine.ok("exec guest cat /dev/shm/file"), "shared");
    engine.ok("start donor");
    assert_eq!(engine.ok("exec donor ls /dev/shm"), "");
    engine.ok("rm -f donor guest");

    engine.ok("run -d --name private busybox sleep 1000");
    let error = engine.fails(125, "run --rm --ipc container:private busybox true");
    assert!(
        error.contains("non-shareable IPC (hint: use IpcMode:shareable for the donor container"),
        "{error}"
    );
    assert_eq!(engine.inspect("private")["HostConfig"]["IpcMode"], "private");
    assert_ne!(namespace(&engine, "private", "ipc"), of_process("self", "ipc"));
    engine.ok("run -d --name host --ipc host busybox sleep 1000");
    assert_eq!(namespace(&engine, "host", "ipc"), of_process("self", "ipc"));
    engine.ok("rm -f private host");
    let left = fs_err::read_to_string("/proc/self/mountinfo").expect("mounts");
    let root = engine.root().to_string_lossy().into_owned();
    assert!(
        !left
            .lines()
            .any(|line| line.contains(&root) && line.contains("/shm ")),
        "{left}"
    );
}

#[test]
fn processes_and_names_are_shared_when_asked_for() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name one busybox sleep 1234");
    engine.ok("run -d --name two --pid container:one busybox sleep 1000");
    assert_eq!(namespace(&engine, "two", "pid"), namespace(&engine, "one", "pid"));
    assert!(engine.ok("exec two ps").contains("sleep 1234"));
    engine.ok("run -d --name three --pid host --uts host --cgroupns host busybox sleep 1000");
    for kind in ["pid", "uts", "cgroup"] {
        assert_eq!(
            namespace(&engine, "three", kind),
            of_process("self", kind),
            "{kind}"
        );
    }
    engine.ok("run -d --name four --cgroupns private busybox sleep 1000");
    for kind in ["pid", "uts", "cgroup", "ipc", "mnt", "net"] {
        assert_ne!(
            namespace(&engine, "four", kind),
            of_process("self", kind),
            "{kind}"
        );
    }
    let own = engine.ok("exec four cat /proc/self/cgroup");
    assert!(
        own.lines()
            .filter(|line| line.contains("pids") || line.contains("memory"))
            .all(|line| line.ends_with(":/")),
        "{own}"
    );
    for (flags, said) in [
        ("--pid container:nosuch", "No such container"),
        ("--pid nonsense", "invalid PID mode"),
        ("--ipc nonsense", "invalid IPC mode"),
        ("--uts container:one", "invalid UTS mode"),
        ("--cgroupns nonsense", "invalid cgroup"),
    ] {
        let error = engine.fails(125, format!("run --rm {flags} busybox true"));
        assert!(
            error.to_lowercase().contains(&said.to_lowercase()),
            "{flags}: {error}"
        );
    }
    engine.ok("rm -f one two three four");
}

#[test]
fn a_cgroup_parent_holds_the_container() {
    let engine = TestEngine::with_busybox();
    let parent = format!("havre-parent-{}", std::process::id());
    engine.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--memory",
        "64m",
        "--cgroup-parent",
        &format!("/{parent}/below"),
        "busybox",
        "sleep",
        "1000",
    ]);
    let found = engine.inspect("box");
    let (id, pid) = (
        found["Id"].as_str().expect("an id").to_owned(),
        found["State"]["Pid"].as_u64().expect("a pid"),
    );
    let cgroups = fs_err::read_to_string(format!("/proc/{pid}/cgroup")).expect("a process");
    let inside = cgroups
        .lines()
        .any(|line| line.ends_with(&format!("/{parent}/below/{id}")));
    assert!(inside, "{cgroups}");
    // It is found there by the next daemon, too.
    engine.kill_daemon();
    engine.start_daemon();
    let stats = engine.ok("stats --no-stream --format {{.MemUsage}} box");
    assert!(stats.ends_with("64MiB"), "{stats}");
    engine.ok("pause box");
    engine.ok("unpause box");
    engine.ok("update --memory 32m --memory-swap 32m box");
    engine.ok("rm -f box");
    let left = |directory: &std::path::Path| directory.join(&id).exists();
    for controller in ["", "memory", "pids", "cpu", "freezer"] {
        let directory = std::path::Path::new("/sys/fs/cgroup")
            .join(controller)
            .join(format!("{parent}/below"));
        assert!(!left(&directory), "{}", directory.display());
        // The parents are the user's; these are this test's.
        let _ = fs_err::remove_dir(&directory);
        let _ = fs_err::remove_dir(directory.parent().expect("a parent"));
    }
    for controller in fs_err::read_dir("/sys/fs/cgroup").expect("cgroups").flatten() {
        let _ = fs_err::remove_dir(controller.path().join(format!("{parent}/below")));
        let _ = fs_err::remove_dir(controller.path().join(&parent));
    }
    let error = engine.fails(125, "run --rm --cgroup-parent ../up busybox true");
    assert!(error.contains("invalid cgroup parent"), "{error}");
}

#[test]
fn what_a_process_is_given() {
    let engine = TestEngine::with_busybox();
    let groups = engine.ok("run --rm --user 1000:1000 --group-add 4321 --group-add 4322 busybox id -G");
    let mut groups: Vec<&str> = groups.split_whitespace().collect();
    groups.sort_unstable();
    assert!(groups.contains(&"4321") && groups.len() == 3, "{groups:?}");
    let error = engine.fails(125, "run --rm --group-add nosuchgroup busybox true");
    assert!(
        error.contains("unable to find group nosuchgroup: no matching entries in group file"),
        "{error}"
    );
    assert_eq!(
        engine.ok("run --rm --oom-score-adj 321 busybox cat /proc/self/oom_score_adj"),
        "321"
    );
    let error = engine.fails(125, "run --rm --oom-score-adj 1001 busybox true");
    assert!(
        error.contains("range for oom score adj is [-1000, 1000]"),
        "{error}"
    );
    let limits = engine.ok([
        "run",
        "--rm",
        "--ulimit",
        "nofile=64:128",
        "--ulimit",
        "core=0",
        "busybox",
        "sh",
        "-c",
        "ulimit -n; ulimit -Hn; ulimit -c",
    ]);
    assert_eq!(limits, "64\n128\n0");
    assert_eq!(
        engine.ok("run --rm --sysctl net.ipv4.ip_forward=0 --sysctl kernel.msgmax=9000 busybox cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"),
        "0\n9000"
    );
    for flags in [
        "--sysctl kernel.panic=1",
        "--network host --sysctl net.ipv4.ip_forward=0",
        "--ipc host --sysctl kernel.msgmax=9000",
    ] {
        let error = engine.fails(125, format!("run --rm {flags} busybox true"));
        assert!(
            error.contains("is not in a separate kernel namespace"),
            "{flags}: {error}"
        );
    }
    let shm = engine.ok("run --rm --shm-size 3m busybox df -k /dev/shm");
    assert!(shm.contains(" 3072 "), "{shm}");
}

#[test]
fn security_options_act_or_are_refused() {
    let engine = TestEngine::with_busybox();
    let masked = |flags: &str| {
        engine.ok(format!(
            "run --rm {flags} busybox grep -c -E (/proc/kcore|/proc/timer_list|/sys/firmware|/proc/sysrq-trigger) /proc/mounts"
        ))
    };
    assert_ne!(masked(""), "0");
    let unmasked = engine.run(
        "run --rm --security-opt systempaths=unconfined busybox grep -c -E (/proc/kcore|/proc/timer_list|/sys/firmware|/proc/sysrq-trigger) /proc/mounts",
    );
    assert_eq!(unmasked.out(), "0", "{unmasked}");
    for accepted in ["apparmor=unconfined", "label=disable", "label:disable"] {
        engine.ok(format!("run --rm --security-opt {accepted} busybox true"));
    }
    for (refused, said) in [
        ("apparmor=docker-default", "AppArmor and SELinux are not used"),
        ("label=type:svirt_apache_t", "AppArmor and SELinux are not used"),
        ("nonsense=1", "invalid --security-opt"),
    ] {
        let output = engine.run(format!("run --rm --security-opt {refused} busybox true"));
        assert_eq!(output.code, 125, "{refused}");
        assert!(output.err().contains(said), "{refused}: {}", output.err());
    }
    let error = engine.fails(125, "run --rm --storage-opt size=1g busybox true");
    assert!(
        error.contains("storage option size is not supported") && error.contains("pquota"),
        "{error}"
    );
}
