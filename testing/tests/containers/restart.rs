//! Restart policies: how often, how fast, until when.

use std::time::Duration;

use havre_testing::{TestEngine, eventually};

/// Runs a container with a policy; `name` is its name, too.
fn run(engine: &TestEngine, name: &str, policy: &str, script: &str) {
    engine.ok([
        "run",
        "-d",
        "--name",
        name,
        "--restart",
        policy,
        "busybox",
        "sh",
        "-c",
        script,
    ]);
}

fn restarts(engine: &TestEngine, name: &str) -> u64 {
    engine.inspect(name)["RestartCount"].as_u64().expect("a number")
}

/// The seconds between one line of its log and the next.
fn pauses(engine: &TestEngine, name: &str) -> Vec<f64> {
    let log = engine.ok(["logs", "-t", name]);
    let times: Vec<jiff::Timestamp> = log
        .lines()
        .map(|line| {
            let time = line.split(' ').next().expect("a time");
            time.parse().expect("RFC 3339")
        })
        .collect();
    let pairs = times.windows(2);
    pairs
        .map(|pair| pair[1].duration_since(pair[0]).as_secs_f64())
        .collect()
}

#[test]
fn each_restart_waits_twice_as_long_as_the_one_before() {
    let engine = TestEngine::with_busybox();
    run(&engine, "box", "always", "echo again; exit 7");
    eventually("five starts", || engine.ok("logs box").lines().count() >= 5);
    let pauses = pauses(&engine, "box");
    for (pause, least) in pauses.iter().zip([0.1, 0.2, 0.4, 0.8]) {
        assert!(
            *pause >= least && *pause < least + 0.8,
            "{pause} after {least}: {pauses:?}"
        );
    }
    // It waits 1.6 s now.
    let found = engine.inspect("box");
    let state = &found["State"];
    assert_eq!(
        (&state["Status"], &state["Restarting"]),
        (&"restarting".into(), &true.into())
    );
    assert_eq!((&state["Running"], &state["ExitCode"]), (&true.into(), &7.into()));
    assert!(
        found["RestartCount"].as_u64() >= Some(4),
        "{}",
        found["RestartCount"]
    );
    let shown = engine.ok(["ps", "--format", "{{.Status}}"]);
    assert!(shown.starts_with("Restarting (7) "), "{shown}");
    let refused = engine.fails(1, "exec box true");
    assert!(
        refused.contains("is restarting, wait until the container is running"),
        "{refused}"
    );
    engine.ok("stop box");
    assert_eq!(engine.inspect("box")["State"]["Status"], "exited");
    let count = engine.ok("logs box").lines().count();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(engine.ok("logs box").lines().count(), count, "called off");
    engine.ok("start box");
    eventually("it fails again", || restarts(&engine, "box") == 1);
    engine.ok("rm -f box");
}

#[test]
fn a_long_run_is_forgiven() {
    let engine = TestEngine::with_busybox();
    // Three quick ends, a run of more than ten seconds, and two quick ends again.
    let script = "echo x >> /tmp/runs; echo again; [ $(wc -l < /tmp/runs) = 4 ] && sleep 10.2; exit 1";
    run(&engine, "box", "on-failure", script);
    eventually("six starts", || engine.ok("logs box").lines().count() >= 6);
    let pauses = pauses(&engine, "box");
    assert!(pauses[2] >= 0.4, "{pauses:?}");
    assert!(
        pauses[3] >= 10.2 && pauses[3] < 10.2 + 0.9,
        "100 ms after the long run: {pauses:?}"
    );
    assert!(pauses[4] >= 0.2 && pauses[4] < 1.0, "{pauses:?}");
    assert!(restarts(&engine, "box") >= 5, "they are counted all the same");
    engine.ok("rm -f box");
}

#[test]
fn only_failures_are_tried_again_where_that_is_asked() {
    let engine = TestEngine::with_busybox();
    run(&engine, "fine", "on-failure", "exit 0");
    run(&engine, "once", "on-failure:1", "exit 3");
    run(&engine, "never", "no", "exit 3");
    eventually("it gave up", || {
        let once = engine.inspect("once");
        once["State"]["Status"] == "exited" && once["RestartCount"] == 1
    });
    assert_eq!(engine.inspect("once")["State"]["ExitCode"], 3);
    for name in ["fine", "never"] {
        let found = engine.inspect(name);
        assert_eq!(
            (&found["State"]["Status"], &found["RestartCount"]),
            (&"exited".into(), &0.into()),
            "{name}"
        );
    }
    // Killed by its user is not failed.
    run(&engine, "killed", "unless-stopped", "sleep 1000");
    engine.ok("kill killed");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(engine.inspect("killed")["State"]["Status"], "exited");
    for (policy, message) in [
        ("sometimes", "restart policy"),
        ("on-failure:x", "maximum retry count must be an integer"),
        ("always:3", "maximum retry count"),
    ] {
        let refused = engine.fails(125, format!("run --restart {policy} busybox true"));
        assert!(refused.contains(message), "{policy}: {refused}");
    }
}

#[test]
fn an_unless_stopped_container_remembers_across_daemons() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    run(&engine, "runs", "unless-stopped", "sleep 1000");
    run(&engine, "stopped", "unless-stopped", "sleep 1000");
    run(&engine, "always", "always", "sleep 1000");
    run(&engine, "waits", "always", "exit 1");
    engine.ok("stop -t 0 stopped always");
    eventually("a long back-off", || restarts(&engine, "waits") >= 4);
    let pid = engine.inspect("runs")["State"]["Pid"].clone();
    let count = restarts(&engine, "waits");
    engine.kill_daemon();
    engine.start_daemon();
    assert_eq!(engine.inspect("runs")["State"]["Pid"], pid, "it never stopped");
    assert_eq!(engine.inspect("stopped")["State"]["Running"], false);
    eventually("always means after a restart of the daemon, too", || {
        engine.inspect("always")["State"]["Status"] == "running"
    });
    eventually("what waited goes on", || restarts(&engine, "waits") > count);
    engine.ok("rm -f waits");
}

/// Ends the daemon and every shim with its container at the same moment, and loses what lay in memory.
fn power_cut(engine: &TestEngine, names: &[&str]) {
    let pids: Vec<u32> = names
        .iter()
        .filter_map(|name| u32::try_from(engine.inspect(name)["State"]["Pid"].as_u64()?).ok())
        .filter(|pid| *pid != 0)
        .collect();
    let shims: Vec<u32> = pids
        .iter()
        .filter_map(|pid| {
            let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
        })
        .collect();
    engine.kill_daemon();
    for pid in shims.into_iter().chain(pids) {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    // Mounts go before what they lie on.
    let table = fs_err::read_to_string("/proc/self/mountinfo").expect("mounts");
    let mounts = table.lines().filter_map(|line| line.split(' ').nth(4));
    let own: Vec<_> = mounts
        .filter(|place| std::path::Path::new(place).starts_with(engine.dir()))
        .collect();
    for place in own.into_iter().rev() {
        rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH).expect("root");
    }
    fs_err::remove_dir_all(engine.dir().join("run")).expect("nothing is in use");
}

#[test]
fn after_a_power_cut_policies_decide() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    let names = ["no", "failed", "always", "unless", "stopped", "spent"];
    run(&engine, "no", "no", "sleep 1000");
    run(&engine, "failed", "on-failure", "sleep 1000");
    run(&engine, "always", "always", "sleep 1000");
    run(&engine, "unless", "unless-stopped", "sleep 1000");
    run(&engine, "stopped", "unless-stopped", "sleep 1000");
    run(&engine, "spent", "on-failure:1", "exit 1");
    engine.ok("stop -t 0 stopped");
    eventually("it gave up", || {
        engine.inspect("spent")["State"]["Status"] == "exited"
    });
    eventually("it gave up", || restarts(&engine, "spent") == 1);
    power_cut(&engine, &names);
    engine.start_daemon();
    for name in ["failed", "always", "unless"] {
        eventually(&format!("{name} runs again"), || {
            engine.inspect(name)["State"]["Status"] == "running"
        });
    }
    for name in ["no", "stopped", "spent"] {
        assert_eq!(engine.inspect(name)["State"]["Status"], "exited", "{name}");
    }
    assert_eq!(
        engine.inspect("no")["State"]["ExitCode"],
        255,
        "nobody saw its end"
    );
}
