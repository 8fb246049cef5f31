//! `pause` and `unpause`: the processes stand, and everybody is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use havre_testing::{TestEngine, eventually};

#[test]
fn what_is_paused_stands() {
    let engine = TestEngine::with_busybox();
    let script = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done";
    engine.ok(["run", "-d", "--name", "clock", "busybox", "sh", "-c", script]);
    eventually("it ticks", || engine.ok("logs clock").lines().count() > 2);
    assert_eq!(engine.ok("pause clock"), "clock");
    assert!(engine.ok(["ps", "--format", "{{.Status}}"]).ends_with("(Paused)"));
    assert_eq!(
        engine
            .ok(["ps", "-q", "--filter", "status=paused"])
            .lines()
            .count(),
        1
    );
    let state = engine.inspect("clock")["State"].clone();
    assert_eq!(
        (state["Status"].as_str(), state["Paused"].as_bool()),
        (Some("paused"), Some(true))
    );
    assert_eq!(state["Running"], true);
    let before = engine.ok("logs clock");
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(engine.ok("logs clock"), before, "no tick while it is paused");

    let refused = engine.fails(1, "exec clock true");
    assert!(
        refused.contains("is paused, unpause the container before exec"),
        "{refused}"
    );
    let twice = engine.fails(1, "pause clock");
    assert!(twice.contains("is already paused"), "{twice}");
    let start = engine.fails(1, "start clock");
    assert!(
        start.contains("cannot start a paused container, try unpause instead"),
        "{start}"
    );
    let attach = engine.fails(1, "attach clock");
    assert!(
        attach.contains("cannot attach to a paused container, unpause it first"),
        "{attach}"
    );

    assert_eq!(engine.ok("unpause clock"), "clock");
    eventually("it ticks on", || engine.ok("logs clock").len() > before.len());
    let not = engine.fails(1, "unpause clock");
    assert!(not.contains("is not paused"), "{not}");
    let events = engine.ok([
        "events",
        "--since",
        "1",
        "--until",
        "0s",
        "--filter",
        "container=clock",
        "--format",
        "{{.Action}}",
    ]);
    let seen: Vec<_> = events.lines().filter(|action| action.contains("pause")).collect();
    assert_eq!(seen, ["pause", "unpause"]);
}

/// A shim waits for what it starts: were that to stand still in the middle, nobody would be answered.
#[test]
fn whoever_is_paused_while_a_program_starts_in_it_is_not_deaf() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box busybox sleep 1000");
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    // Refused while it is paused.
                    engine.run("exec -d box true");
                }
            });
        }
        for _ in 0..10 {
            engine.ok("pause box");
            // The shim is asked, and answers.
            engine.ok("kill -s CONT box");
            engine.ok("unpause box");
        }
        ended.store(true, Ordering::Relaxed);
    });
    engine.ok("rm -f box");
}

#[test]
fn a_paused_container_is_stopped_and_removed() {
    let engine = TestEngine::with_busybox();
    let trap = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    engine.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", trap]);
    eventually("it is ready", || engine.ok("logs box") == "ready");
    engine.ok("pause box");
    let clock = Instant::now();
    assert_eq!(engine.ok("stop -t 5 box"), "box");
    assert!(clock.elapsed() < Duration::from_secs(10));
    let state = engine.inspect("box")["State"].clone();
    assert_eq!(
        (state["Status"].as_str(), state["Paused"].as_bool()),
        (Some("exited"), Some(false))
    );

    engine.ok("start box");
    engine.ok("pause box");
    let refused = engine.fails(1, "rm box");
    assert!(refused.contains("paused"), "{refused}");
    engine.ok("rm -f box");
    let stands = engine.fails(1, "pause box");
    assert!(stands.contains("No such container: box"), "{stands}");
    engine.ok("create --name made busybox true");
    let stands = engine.fails(1, "pause made");
    assert!(stands.contains("is not running"), "{stands}");
}

#[test]
fn several_at_once_and_a_daemon_between() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name one busybox sleep 100");
    engine.ok("run -d --name two busybox sleep 100");
    let output = engine.run("pause one nobody two");
    assert_eq!(output.code, 1, "{output}");
    assert_eq!(output.out(), "one\ntwo");
    assert!(output.err().contains("No such container: nobody"), "{output}");
    if TestEngine::is_dockerd() {
        return;
    }
    engine.kill_daemon();
    engine.start_daemon();
    assert_eq!(
        engine.inspect("one")["State"]["Status"],
        "paused",
        "what stood stands"
    );
    assert_eq!(engine.ok("unpause one two"), "one\ntwo");
    assert_eq!(engine.ok("exec one echo on"), "on");
}
