//! Limits changed while a container runs: they are in the kernel's files, and bite.

use std::time::Duration;

use fs_err as fs;
use havre_testing::{TestEngine, eventually};

fn is_v2() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// A file of the container's cgroup, by its name on version 1 (with the controller in front) or 2.
pub(crate) fn limit(engine: &TestEngine, container: &str, v1: &str, v2: &str) -> String {
    let id = engine.inspect(container)["Id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let pid = engine.inspect(container)["State"]["Pid"].as_u64().expect("a pid");
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    let path = groups
        .lines()
        .find_map(|line| line.splitn(3, ':').nth(2).filter(|path| path.contains(&id)))
        .unwrap_or_else(|| panic!("no cgroup of its own: {groups}"));
    let file = match is_v2() {
        true => format!("/sys/fs/cgroup{path}/{v2}"),
        false => {
            let (controller, file) = v1.split_once('/').expect("controller/file");
            format!("/sys/fs/cgroup/{controller}{path}/{file}")
        }
    };
    fs::read_to_string(&file).expect(&file).trim().to_owned()
}

#[test]
fn limits_of_a_running_container() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box -m 64m busybox sleep 100");
    let memory = |v1: &str, v2: &str| limit(&engine, "box", &format!("memory/{v1}"), v2);
    // Up: swap first; down: memory first. Neither order suits both.
    for (size, megabytes) in [("300m", 300), ("32m", 32), ("128m", 128)] {
        engine.ok(format!("update -m {size} --memory-swap {size} box"));
        assert_eq!(
            memory("memory.limit_in_bytes", "memory.max"),
            (megabytes << 20).to_string()
        );
        let swap = memory("memory.memsw.limit_in_bytes", "memory.swap.max");
        assert_eq!(
            swap,
            if is_v2() {
                "0".to_owned()
            } else {
                (megabytes << 20).to_string()
            }
        );
    }
    engine.ok("update --memory-swap -1 --memory-reservation 16m box");
    let swap = memory("memory.memsw.limit_in_bytes", "memory.swap.max");
    assert!(swap == "max" || swap.len() > 15, "{swap}");
    assert_eq!(
        memory("memory.soft_limit_in_bytes", "memory.low"),
        (16 << 20).to_string()
    );
    assert_eq!(engine.inspect("box")["HostConfig"]["MemorySwap"], -1);

    engine.ok("update --pids-limit 7 --cpuset-cpus 0 --cpu-shares 512 box");
    assert_eq!(limit(&engine, "box", "pids/pids.max", "pids.max"), "7");
    assert_eq!(limit(&engine, "box", "cpuset/cpuset.cpus", "cpuset.cpus"), "0");
    let shares = limit(&engine, "box", "cpu/cpu.shares", "cpu.weight");
    assert_eq!(shares, if is_v2() { "59" } else { "512" });
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait";
    let forks = engine.run(["exec", "box", "sh", "-c", script]);
    assert!(forks.err().contains("can't fork"), "{forks}");
    engine.ok("update --pids-limit -1 box");
    assert_eq!(limit(&engine, "box", "pids/pids.max", "pids.max"), "max");

    engine.ok("update --cpu-period 50000 --cpu-quota 20000 box");
    let quota = limit(&engine, "box", "cpu/cpu.cfs_quota_us", "cpu.max");
    assert_eq!(quota, if is_v2() { "20000 50000" } else { "20000" });
    engine.ok("update --cpu-quota 30000 box");
    let quota = limit(&engine, "box", "cpu/cpu.cfs_quota_us", "cpu.max");
    assert_eq!(quota, if is_v2() { "30000 50000" } else { "30000" });
    let conflict = engine.fails(1, "update --cpus 1 box");
    assert!(
        conflict.contains("Cannot update container")
            && conflict.contains("Nano CPUs cannot be updated as CPU Period has already been set"),
        "{conflict}"
    );
    let resources = engine.inspect("box")["HostConfig"].clone();
    assert_eq!(resources["CpuQuota"], 30000);
    assert_eq!(resources["NanoCpus"], 0);
    engine.ok("rm -f box");
}

#[test]
fn changed_limits_bite_and_stay() {
    let engine = TestEngine::with_busybox();
    let script = "while [ ! -e /go ]; do sleep 0.1; done; x=a; while true; do x=$x$x; done";
    engine.ok(["run", "-d", "--name", "eater", "busybox", "sh", "-c", script]);
    engine.ok("update -m 24m --memory-swap 24m eater");
    engine.ok("exec eater touch /go");
    eventually("it is killed", || {
        engine.inspect("eater")["State"]["OOMKilled"] == true
    });

    engine.ok([
        "run",
        "-d",
        "--name",
        "worker",
        "busybox",
        "sh",
        "-c",
        "while :; do :; done",
    ]);
    engine.ok("update --cpus 0.2 worker");
    std::thread::sleep(Duration::from_millis(300));
    let share = engine.ok("stats --no-stream --format {{.CPUPerc}} worker");
    let share: f64 = share.trim_end_matches('%').parse().expect(&share);
    assert!(share < 30.0, "{share} %");
    engine.ok("restart -t 0 worker");
    let quota = limit(&engine, "worker", "cpu/cpu.cfs_quota_us", "cpu.max");
    assert!(quota.starts_with("20000"), "after another start: {quota}");
    engine.ok("rm -f worker eater");
}

#[test]
fn what_cannot_be_updated_is_said() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box -m 64m busybox sleep 100");
    let nothing = engine.fails(1, "update box");
    assert!(
        nothing.contains("you must provide one or more flags"),
        "{nothing}"
    );
    let little = engine.fails(1, "update -m 1m box");
    assert!(little.contains("Minimum memory limit allowed is 6MB"), "{little}");
    let swap = engine.fails(1, "update -m 1g box");
    assert!(
        swap.contains("Memory limit should be smaller than already set memoryswap limit"),
        "{swap}"
    );
    let cpus = engine.fails(1, "update --cpuset-cpus 900 box");
    assert!(cpus.contains("Requested CPUs are not available"), "{cpus}");
    let realtime = engine.fails(1, "update --cpu-rt-runtime 2000 --cpu-rt-period 1000 box");
    let expected = match std::path::Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        true => "cannot be higher than cpu real-time period",
        false => "Your kernel does not support CPU real-time scheduler",
    };
    assert!(realtime.contains(expected), "{realtime}");
    assert_eq!(
        limit(&engine, "box", "memory/memory.limit_in_bytes", "memory.max"),
        (64 << 20).to_string()
    );
    let both = engine.fails(1, "update --pids-limit 9 nobody box");
    assert!(both.contains("No such container: nobody"), "{both}");
    assert_eq!(
        limit(&engine, "box", "pids/pids.max", "pids.max"),
        "9",
        "the others are updated"
    );
    engine.ok("run -d --rm --name passing busybox sleep 100");
    let removed = engine.fails(1, "update --restart always passing");
    assert!(removed.contains("AutoRemove is enabled"), "{removed}");
    engine.ok("rm -f box passing");
}

#[test]
fn the_policy_of_a_running_container() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "sleep 0.5; exit 1",
    ]);
    assert_eq!(engine.ok("update --restart on-failure:2 box"), "box");
    eventually("it is tried again", || {
        let state = engine.inspect("box");
        state["RestartCount"] == 2 && state["State"]["Status"] == "exited"
    });
    let events = engine.ok([
        "events",
        "--since",
        "1",
        "--until",
        "0s",
        "--filter",
        "event=update",
        "--format",
        "{{.Actor.Attributes.name}}",
    ]);
    assert_eq!(events, "box");
}
