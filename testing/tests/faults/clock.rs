//! Clocks that jump, forwards and back: the daemon sees another time from one moment to the next (libfaketime before the C
//! library; what counts durations keeps its own clock, as in the kernel). Its shims, which share nothing of its environment,
//! keep the machine's time, so that the two disagree as well.

use std::path::Path;
use std::time::{Duration, Instant};

use fs_err as fs;
use havre_testing::{Image, Surroundings, TestEngine, eventually};
use serde_json::json;

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// The engine's clock, as an offset to the machine's.
struct Clock {
    file: tempfile::NamedTempFile,
}

impl Clock {
    fn set(&self, offset: &str) {
        fs::write(self.file.path(), format!("{offset}\n")).expect("the clock");
    }
}

fn engine() -> (TestEngine, Clock) {
    assert!(
        Path::new(LIBRARY).exists(),
        "libfaketime must be installed: apt-get install libfaketime"
    );
    let clock = Clock {
        file: tempfile::NamedTempFile::new().expect("a file"),
    };
    clock.set("+0");
    let file = clock.file.path().to_string_lossy().into_owned();
    let environment = [
        ("LD_PRELOAD", LIBRARY),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DONT_RESET", "1"),
        // Times of files are the kernel's.
        ("NO_FAKE_STAT", "1"),
    ];
    let engine = TestEngine::amid(Surroundings {
        environment: environment
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec(),
        ..Surroundings::default()
    });
    engine.load(&Image::busybox(), "busybox");
    (engine, clock)
}

fn hours_ahead(engine: &TestEngine) -> i64 {
    let info = engine.api("GET", "/info").expect("information").json();
    let time: jiff::Timestamp = info["SystemTime"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    (time.as_second() - jiff::Timestamp::now().as_second() + 1800).div_euclid(3600)
}

#[test]
fn what_waits_goes_on_when_the_clock_jumps() {
    if TestEngine::is_dockerd() {
        return;
    }
    let (engine, clock) = engine();
    engine.ok([
        "run",
        "-d",
        "--name",
        "watched",
        "--health-cmd",
        "true",
        "--health-interval",
        "150ms",
        "busybox",
        "sh",
        "-c",
        "while true; do echo tick; sleep 0.05; done",
    ]);
    let mut follower = engine.cmd("logs -f --timestamps watched").spawn();
    follower.wait_for("tick");
    let mut watcher = engine.cmd("events").spawn();
    let checks = || {
        let health = engine.inspect("watched")["State"]["Health"].clone();
        assert_ne!(health["Status"], "unhealthy", "{health}");
        health["Log"]
            .as_array()
            .and_then(|log| log.last().cloned())
            .unwrap_or_default()["Start"]
            .clone()
    };
    for (offset, hours) in [("+7200", 2), ("-3600", -1), ("+864000", 240), ("+0", 0)] {
        // Its second pause is a fifth of a second.
        engine.ok("run -d --name failing --restart always busybox false");
        let restarts = || {
            engine.inspect("failing")["RestartCount"]
                .as_u64()
                .unwrap_or_default()
        };
        eventually("a restart", || restarts() > 0);
        let (check, before) = (checks(), restarts());
        clock.set(offset);
        eventually("the engine's clock is another", || hours_ahead(&engine) == hours);
        eventually("another health check", || checks() != check);
        eventually("two more restarts", || restarts() > before + 1);
        engine.ok("rm -f failing");
        let seen = follower.stdout().len();
        eventually("more lines", || follower.stdout().len() > seen);
        // What was written just now is found by the clock it was written with.
        let since = jiff::Timestamp::now().as_second() - 1;
        assert!(
            engine
                .ok(format!("logs --since {since} watched"))
                .contains("tick")
        );
        assert_eq!(engine.ok("exec watched echo alive"), "alive");
        assert_eq!(engine.ok("run --rm busybox echo alive"), "alive");
        engine.ok("run -d --name short busybox sleep 1000");
        let stop = Instant::now();
        engine.ok("stop -t 1 short");
        assert!(stop.elapsed() < Duration::from_secs(8), "{:?}", stop.elapsed());
        engine.ok("rm short");
        assert!(engine.ok("ps -a").contains("watched"));
    }
    // Every line of all those times, in the order they were written.
    let all = engine.ok("logs --timestamps watched");
    assert!(all.lines().count() > 20 && all.lines().all(|line| line.ends_with(" tick")));
    // A daemon that starts at another time takes over what runs.
    let pid = engine.inspect("watched")["State"]["Pid"].clone();
    for offset in ["+864000", "-864000"] {
        engine.kill_daemon();
        clock.set(offset);
        engine.start_daemon();
        let state = engine.inspect("watched")["State"].clone();
        assert_eq!(
            (&state["Running"], &state["Pid"]),
            (&json!(true), &pid),
            "{state}"
        );
        let check = checks();
        eventually("another health check", || checks() != check);
    }
    watcher.wait_for("container");
    drop(watcher);
    engine.ok("rm -f watched");
    assert!(!engine.log().contains("panicked"));
}
