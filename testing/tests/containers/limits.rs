//! Limits have their effect: memory, processes, processors, ulimits; and the first process reaps.

use std::process::Command;
use std::time::{Duration, Instant};

use fs_err as fs;
use havre_testing::TestEngine;

#[test]
fn memory_has_a_limit() {
    let engine = TestEngine::with_busybox();
    let eater = "x=a; while true; do x=$x$x; done";
    let output = engine.run([
        "run", "--name", "eater", "-m", "32m", "busybox", "sh", "-c", eater,
    ]);
    assert_eq!(output.code, 137, "{output}");
    let state = engine.inspect("eater");
    assert_eq!(state["State"]["OOMKilled"], true, "{}", state["State"]);
    assert_eq!(state["HostConfig"]["Memory"], 32 << 20);
    let little = engine.fails(125, "run --rm -m 1m busybox true");
    assert!(little.contains("Minimum memory limit allowed is 6MB"), "{little}");
}

#[test]
fn processes_have_a_limit() {
    let engine = TestEngine::with_busybox();
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait";
    let output = engine.run(["run", "--rm", "--pids-limit", "4", "busybox", "sh", "-c", script]);
    assert!(output.err().contains("can't fork"), "{output}");
}

#[test]
fn processors_have_a_limit() {
    let engine = TestEngine::with_busybox();
    // The limit is read where the kernel keeps it, through either cgroup version.
    engine.ok("run -d --name box --cpus 0.5 --cpu-shares 512 busybox sleep 100");
    let pid = engine.inspect("box")["State"]["Pid"].as_u64().expect("a pid");
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    let found = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        match controllers {
            "" => fs::read_to_string(format!("/sys/fs/cgroup{path}/cpu.max")).ok(),
            _ if controllers.split(',').any(|one| one == "cpu") => {
                let read = |file: &str| fs::read_to_string(format!("/sys/fs/cgroup/cpu{path}/{file}")).ok();
                Some(format!(
                    "{} {}",
                    read("cpu.cfs_quota_us")?.trim(),
                    read("cpu.cfs_period_us")?
                ))
            }
            _ => None,
        }
    });
    assert_eq!(found.as_deref().map(str::trim), Some("50000 100000"), "{groups}");
    let many = engine.fails(125, "run --rm --cpus 1000 busybox true");
    assert!(many.to_lowercase().contains("range of cpus is from"), "{many}");
}

#[test]
fn resource_limits() {
    let engine = TestEngine::with_busybox();
    let files = engine.ok([
        "run",
        "--rm",
        "--ulimit",
        "nofile=123:456",
        "busybox",
        "sh",
        "-c",
        "ulimit -n; ulimit -H -n",
    ]);
    assert_eq!(files, "123\n456");
    let bad = engine.fails(125, "run --rm --ulimit nosuch=1 busybox true");
    assert!(bad.contains("invalid ulimit type: nosuch"), "{bad}");
    let bad = engine.fails(1, "create --ulimit nosuch=1 busybox");
    assert!(bad.contains("invalid ulimit type: nosuch"), "{bad}");
    let bad = engine.fails(1, "create --ulimit nofile=2:1 busybox");
    assert!(
        bad.contains("ulimit soft limit must be less than or equal to hard limit: 2 > 1"),
        "{bad}"
    );
    assert_eq!(engine.ok("ps -aq"), "");
}

#[test]
fn an_init_reaps() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "-d",
        "--init",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "(sleep 0.1 &) ; exec sleep 100",
    ]);
    let first = engine.ok("exec box cat /proc/1/cmdline");
    assert!(
        !first.starts_with("sleep") && !first.starts_with("sh"),
        "the program is not the first process: {first}"
    );
    std::thread::sleep(Duration::from_millis(400));
    let zombies = engine.ok([
        "exec",
        "box",
        "sh",
        "-c",
        "grep -l '^State:.Z' /proc/[0-9]*/status || true",
    ]);
    assert_eq!(zombies, "");
    let clock = Instant::now();
    engine.ok("stop box");
    assert!(clock.elapsed() < Duration::from_secs(5), "signals pass through");
}

/// Whether the kernel gives cgroups time for the real-time classes: version 1, and configured so.
fn has_realtime() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists()
}

#[test]
fn real_time_programs_run_in_the_time_they_are_given() {
    let engine = TestEngine::with_busybox();
    if !has_realtime() {
        let said = engine.fails(125, "run --rm --cpu-rt-runtime 1000 busybox true");
        assert!(
            said.contains("Your kernel does not support CPU real-time scheduler"),
            "{said}"
        );
        return;
    }
    let files = "cat /sys/fs/cgroup/cpu/cpu.rt_runtime_us /sys/fs/cgroup/cpu/cpu.rt_period_us";
    let run = "run --rm --cpu-rt-runtime 20000 --cpu-rt-period 500000 busybox";
    assert_eq!(engine.ok(format!("{run} {files}")), "20000\n500000");
    engine.ok("run -d --name box busybox sleep 1000");
    let enters = || {
        let pid = engine.inspect("box")["State"]["Pid"].to_string();
        let changed = Command::new("chrt").args(["-f", "-p", "1", &pid]).output();
        changed.expect("chrt of util-linux").status.success()
    };
    assert!(!enters(), "no time of its own, no real-time class");
    engine.ok("update --cpu-rt-runtime 30000 box");
    assert_eq!(engine.ok(format!("exec box {files}")), "30000\n1000000");
    assert!(enters());
    engine.ok("update --cpu-rt-runtime 10000 --cpu-rt-period 20000 box");
    assert_eq!(engine.ok(format!("exec box {files}")), "10000\n20000");
    assert_eq!(engine.inspect("box")["HostConfig"]["CpuRealtimeRuntime"], 10000);
}
