//! What the kernel was told, and what it counted, read from the cgroups themselves: the same on both versions.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::BufRead;
use std::path::PathBuf;
use std::time::Duration;

use havre_runtime::Shim;
use support::{Bench, OUTPUT, eventually, exec_spec, read_frames};

fn is_v2() -> bool {
    PathBuf::from("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// The directory of the container `c1`: one for all controllers on version 2.
fn directory(bench: &Bench, controller: &str) -> PathBuf {
    let root = PathBuf::from("/sys/fs/cgroup");
    let root = if is_v2() { root } else { root.join(controller) };
    root.join(&bench.config.cgroup_parent).join("c1")
}

fn file(bench: &Bench, controller: &str, name: &str) -> Option<String> {
    let text = fs_err::read_to_string(directory(bench, controller).join(name)).ok()?;
    Some(text.trim().to_owned())
}

/// The container and everything of it is gone.
fn nothing_is_left(bench: &Bench) {
    for controller in ["memory", "pids", "cpu", "devices"] {
        let directory = directory(bench, controller);
        assert!(!directory.exists(), "{} is left", directory.display());
    }
}

#[test]
fn the_kernel_has_the_limits() {
    let bench = Bench::new();
    let mut spec = bench.sh("sleep 100");
    let resources = &mut spec.resources;
    resources.memory = Some(64 << 20);
    resources.memory_swap = Some(96 << 20);
    resources.memory_reservation = Some(32 << 20);
    resources.nano_cpus = Some(1_250_000_000);
    resources.cpu_shares = Some(512);
    resources.cpuset_cpus = Some("0".into());
    resources.cpuset_mems = Some("0".into());
    resources.pids = Some(50);
    bench.start(&spec);
    let expected: &[(&str, &str, &str)] = if is_v2() {
        &[
            ("", "memory.max", "67108864"),
            ("", "memory.low", "33554432"),
            ("", "cpu.max", "125000 100000"),
            ("", "cpuset.cpus", "0"),
            ("", "cpuset.mems", "0"),
            ("", "pids.max", "50"),
        ]
    } else {
        &[
            ("memory", "memory.limit_in_bytes", "67108864"),
            ("memory", "memory.soft_limit_in_bytes", "33554432"),
            ("cpu", "cpu.cfs_quota_us", "125000"),
            ("cpu", "cpu.cfs_period_us", "100000"),
            ("cpu", "cpu.shares", "512"),
            ("cpuset", "cpuset.cpus", "0"),
            ("cpuset", "cpuset.mems", "0"),
            ("pids", "pids.max", "50"),
        ]
    };
    for (controller, name, value) in expected {
        assert_eq!(file(&bench, controller, name).as_deref(), Some(*value), "{name}");
    }
    if is_v2() {
        // Half the usual weight of 100; how shares are translated has changed between versions of the runtimes.
        let weight: u32 = file(&bench, "", "cpu.weight").unwrap().parse().unwrap();
        assert!((15..100).contains(&weight), "{weight}");
    }
    // Memory and swap together in the request and on version 1; swap alone on version 2.
    match file(&bench, "memory", "memory.swap.max") {
        Some(swap) => assert_eq!(swap, "33554432"),
        None => {
            let swap = file(&bench, "memory", "memory.memsw.limit_in_bytes");
            assert!(swap.is_none_or(|swap| swap == "100663296"));
        }
    }
    bench.runtime.delete("c1").unwrap();
    nothing_is_left(&bench);
}

#[test]
fn no_swap_is_no_swap() {
    let bench = Bench::new();
    for (asked, v2, v1) in [
        (Some(64 << 20), "0", "67108864"),
        (None, "67108864", "134217728"),
        (Some(-1), "max", ""),
    ] {
        let mut spec = bench.sh("sleep 100");
        spec.resources.memory = Some(64 << 20);
        spec.resources.memory_swap = asked;
        bench.start(&spec);
        if let Some(swap) = file(&bench, "memory", "memory.swap.max") {
            assert_eq!(swap, v2, "{asked:?}");
        } else if let Some(swap) = file(&bench, "memory", "memory.memsw.limit_in_bytes") {
            assert!(v1.is_empty() || swap == v1, "{asked:?}: {swap}");
        }
        bench.runtime.delete("c1").unwrap();
    }
}

#[test]
fn block_io_has_a_weight() {
    if !is_v2() && !PathBuf::from("/sys/fs/cgroup/blkio/blkio.bfq.weight").exists() {
        return;
    }
    let bench = Bench::new();
    // Most weights do not fit 16 bits while they are translated.
    for (weight, translated) in [(10, "default 1"), (500, "default 4950"), (1000, "default 10000")] {
        let mut spec = bench.sh("sleep 100");
        spec.resources.blkio_weight = Some(weight);
        bench.start(&spec);
        let own = format!("default {weight}");
        match file(&bench, "blkio", "io.bfq.weight") {
            Some(text) => assert_eq!(text, own),
            None if is_v2() => assert_eq!(file(&bench, "", "io.weight").as_deref(), Some(translated)),
            None => {
                let text = file(&bench, "blkio", "blkio.bfq.weight").unwrap();
                assert!(text.ends_with(&weight.to_string()), "{text}");
            }
        }
        bench.runtime.delete("c1").unwrap();
    }
}

#[test]
fn the_numbers_are_true() {
    let bench = Bench::new();
    // 32 MiB held in memory and 8 MiB written to the disk; then work at a tenth of a processor.
    let mut spec = bench.sh("dd if=/dev/zero of=/file bs=1M count=8 conv=fsync 2>/dev/null; \
         dd if=/dev/zero of=/dev/shm/held bs=1M count=32 2>/dev/null; echo ready; while :; do :; done");
    spec.resources.nano_cpus = Some(200_000_000);
    spec.resources.memory = Some(256 << 20);
    spec.resources.pids = Some(33);
    let shim = bench.runtime.create(&spec).unwrap();
    let stream = shim.attach(OUTPUT).unwrap();
    shim.start().unwrap();
    let mut ready = Vec::new();
    std::io::BufReader::new(&stream)
        .read_until(b'\n', &mut ready)
        .unwrap();
    let first = shim.stats().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let second = shim.stats().unwrap();
    let wall = (second.read_at - first.read_at)
        .total(jiff::Unit::Second)
        .unwrap();
    let used = (second.cpu_total - first.cpu_total) as f64 / 1e9 / wall;
    // A fifth of a processor; what is less is left to a busy machine.
    assert!(used > 0.005 && used < 0.3, "{used} of a processor in {wall} s");
    assert!(
        second.throttled_periods > 0 && second.throttled_time > 0,
        "{second:?}"
    );
    assert!(second.cpu_user + second.cpu_system > 0, "{second:?}");
    assert!((32 << 20..256 << 20).contains(&second.memory_usage), "{second:?}");
    assert_eq!(second.memory_max_usage.is_some(), !is_v2(), "{second:?}");
    assert!(second.memory.len() > 10, "{second:?}");
    assert_eq!((second.memory_limit, second.pids_limit), (256 << 20, 33));
    assert!((1..5).contains(&second.pids_current), "{second:?}");
    assert_eq!(second.cpu_per_core.is_empty(), is_v2());
    if is_v2() {
        // Version 1 does not know whose the pages are that are written back.
        let written: u64 = second
            .block_bytes
            .iter()
            .filter(|count| count.operation == "write")
            .map(|count| count.count)
            .sum();
        assert!((8 << 20..64 << 20).contains(&written), "{second:?}");
    }
    bench.runtime.delete("c1").unwrap();
}

fn cgroup_of(pid: i32) -> String {
    let text = fs_err::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = |line: &&str| !is_v2() && line.contains(":memory:") || line.starts_with("0::") && is_v2();
    text.lines().find(own).unwrap().to_owned()
}

#[test]
fn further_processes_share_the_limits() {
    let bench = Bench::new();
    let mut spec = bench.sh("sleep 100");
    spec.resources.memory = Some(16 << 20);
    spec.resources.pids = Some(4);
    let shim = bench.start(&spec);
    let init = shim.state().unwrap().pid;
    let exec = shim.exec(&exec_spec("a", &["sleep", "100"])).unwrap();
    assert_eq!(cgroup_of(exec.pid), cgroup_of(init));
    assert!(shim.pids().unwrap().contains(&exec.pid));
    // The memory of both is one.
    shim.exec(&exec_spec("eater", &["tail", "/dev/zero"])).unwrap();
    assert_eq!(shim.exec_wait("eater").unwrap().code, 137);
    // No device that the container cannot have.
    let node = bench.rootfs().join("kmsg");
    let (mode, device) = (rustix::fs::Mode::from_raw_mode(0o666), rustix::fs::makedev(1, 11));
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, &node, kind, mode, device).unwrap();
    let exec = shim
        .exec(&exec_spec("kmsg", &["head", "-c", "1", "/kmsg"]))
        .unwrap();
    let (_, stderr) = read_frames(exec.stream.unwrap());
    assert!(stderr.contains("not permitted"), "{stderr}");
    bench.runtime.delete("c1").unwrap();
    nothing_is_left(&bench);
}

/// Makes cgroups in the container as a service manager does.
fn nested(bench: &Bench) -> Shim {
    let mut spec = bench.sh(if is_v2() {
        "cd /sys/fs/cgroup; mkdir init sub; echo $$ > init/cgroup.procs; echo '+pids +memory' > cgroup.subtree_control; \
         sleep 1000 & echo $! > sub/cgroup.procs; echo ready; while :; do sleep 1; done"
    } else {
        "cd /sys/fs/cgroup/memory; mkdir init sub; echo $$ > init/cgroup.procs; \
         sleep 1000 & echo $! > sub/cgroup.procs; echo ready; while :; do sleep 1; done"
    });
    spec.privileged = true;
    let shim = bench.runtime.create(&spec).unwrap();
    let stream = shim.attach(OUTPUT).unwrap();
    shim.start().unwrap();
    let mut ready = Vec::new();
    std::io::BufReader::new(&stream)
        .read_until(b'\n', &mut ready)
        .unwrap();
    assert!(ready.ends_with(b"ready\n"), "{}", String::from_utf8_lossy(&ready));
    shim
}

#[test]
fn a_container_may_have_cgroups_of_its_own() {
    let bench = Bench::new();
    let shim = nested(&bench);
    // The processes of those beneath belong to it, and more can join.
    let exec = shim.exec(&exec_spec("a", &["echo", "inside"])).unwrap();
    assert_eq!(read_frames(exec.stream.unwrap()).0, "inside\n");
    assert!(shim.pids().unwrap().len() >= 3);
    shim.pause().unwrap();
    shim.resume().unwrap();
    bench.runtime.delete("c1").unwrap();
    nothing_is_left(&bench);
}

#[test]
fn all_of_it_is_killed_at_once() {
    let bench = Bench::new();
    // Each process makes the next before it ends: whoever kills one by one runs behind. They are far from their limit, for a
    // shell that can't make another process ends.
    let mut spec = bench.sh("f() { sleep 0.05; f & }; for n in 1 2 3 4 5 6 7 8 9 10; do f & done; sleep 100");
    spec.resources.pids = Some(1000);
    let shim = bench.start(&spec);
    eventually("all of them run", || shim.stats().unwrap().pids_current >= 12);
    bench.runtime.delete("c1").unwrap();
    nothing_is_left(&bench);
}

#[test]
fn the_cgroup_namespace_is_private_where_that_is_usual() {
    let bench = Bench::new();
    let text = bench.output(&bench.sh("cat /proc/self/cgroup"));
    let parent = &bench.config.cgroup_parent;
    if is_v2() {
        assert_eq!(text, "0::/\n");
        let text = bench.output(&bench.sh("cat /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/cgroup.type"));
        assert!(text.contains("1\n") && text.ends_with("domain\n"), "{text}");
    } else {
        assert!(text.contains(&format!("/{parent}/c1\n")), "{text}");
    }
}
