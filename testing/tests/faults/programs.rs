//! Programs in containers that behave badly.

use std::time::{Duration, Instant};

use havre_testing::{TestEngine, eventually};
use serde_json::json;

use crate::traces::{self, Traces, remove_all};

#[test]
fn a_fork_bomb_stays_within_its_limits() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = traces::engine();
    let before = Traces::of(&engine, &[]);
    let neighbour = engine.ok("run -d --name neighbour busybox sleep 1000");
    let bomb = engine.ok([
        "run",
        "-d",
        "--name",
        "bomb",
        "--pids-limit",
        "100",
        "--memory",
        "64m",
        "--cpus",
        "0.5",
        "busybox",
        "sh",
        "-c",
        "bomb() { bomb | bomb & }; bomb; while true; do sleep 1 || true; done",
    ]);
    let pids = || {
        let stats = engine
            .api("GET", "/containers/bomb/stats?stream=0&one-shot=1")
            .expect("statistics")
            .json();
        (
            stats["pids_stats"]["current"].as_u64().unwrap_or_default(),
            stats["pids_stats"]["limit"].as_u64(),
        )
    };
    eventually("it has grown", || pids().0 > 30);
    for _ in 0..5 {
        let (current, limit) = pids();
        assert!(current <= 100 && limit == Some(100), "{current} of {limit:?}");
        assert_eq!(engine.ok("exec neighbour echo fine"), "fine");
    }
    engine.ok("stop -t 1 bomb");
    remove_all(&engine, &before, &[neighbour, bomb]);
}

#[test]
fn one_that_ignores_the_signal_is_killed_in_time() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    let script = "trap '' TERM INT HUP; echo deaf; while true; do sleep 0.1; done";
    for words in [vec![], vec!["--init"], vec!["-t"]] {
        let mut run = vec!["run", "-d", "--name", "deaf"];
        run.extend(words);
        run.extend(["busybox", "sh", "-c", script]);
        engine.ok(run.as_slice());
        eventually("it is deaf", || engine.ok("logs deaf").contains("deaf"));
        let began = Instant::now();
        engine.ok("stop -t 1 deaf");
        let took = began.elapsed();
        assert!(
            took >= Duration::from_millis(900) && took < Duration::from_secs(9),
            "{took:?}"
        );
        let state = engine.inspect("deaf")["State"].clone();
        assert_eq!(
            (&state["ExitCode"], &state["OOMKilled"]),
            (&json!(137), &json!(false))
        );
        engine.ok("rm deaf");
    }
    // Frozen, it cannot even be deaf.
    engine.ok(["run", "-d", "--name", "deaf", "busybox", "sh", "-c", script]);
    engine.ok("pause deaf");
    engine.ok("stop -t 1 deaf");
    assert_eq!(engine.inspect("deaf")["State"]["Status"], "exited");
}
