//! Clients that leave in the middle, and clients that dawdle.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use fs_err as fs;
use havre_testing::{Action, Compression, Image, Layer, Registry, TestEngine, eventually, havre_binary};
use serde_json::json;

use crate::traces::{Traces, remove_all};

/// Sends a request and reads the first bytes of its answer.
fn begin(engine: &TestEngine, request: &str, body: &[u8], wait: bool) -> UnixStream {
    let mut stream = UnixStream::connect(engine.socket()).expect("the socket");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let upgrade = if request.contains("attach") || request.contains("/exec/") {
        "Connection: Upgrade\r\nUpgrade: tcp\r\n"
    } else {
        ""
    };
    let length = if body.is_empty() {
        0
    } else {
        body.len() + 1_000_000 * usize::from(request.contains("load"))
    };
    let head = format!(
        "{request} HTTP/1.1\r\nHost: x\r\n{upgrade}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
    if wait {
        let mut first = [0; 64];
        let read = stream.read(&mut first).expect("an answer");
        let text = String::from_utf8_lossy(&first[..read]).into_owned();
        assert!(
            text.starts_with("HTTP/1.1 200") || text.starts_with("HTTP/1.1 101"),
            "{request}: {text}"
        );
    }
    stream
}

#[test]
fn clients_that_leave_in_the_middle_leave_nothing_behind() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = crate::traces::engine();
    let registry = Registry::start();
    let big = Image::busybox().with_layer(&Layer::new().file("big", vec![7; 8 << 20]));
    registry.publish("big", "latest", &big, Compression::None);
    registry.fail("GET", "/blobs/", None, Action::Stall);
    let script = "while true; do echo tick; sleep 0.01; done";
    let id = engine.ok(["run", "-d", "--name", "ticking", "busybox", "sh", "-c", script]);
    let silent = engine.ok("run -d -i --name silent busybox sleep 2000");
    // Connections of the harness are gone when this is counted.
    std::thread::sleep(Duration::from_millis(300));
    let before = Traces::of(&engine, &[]);
    let dockerfile = Layer::new()
        .file("Dockerfile", "FROM busybox\nRUN echo begun; sleep 1000\n")
        .tar();
    let archive = Image::busybox().docker_archive(&["half:latest"]);
    for _ in 0..3 {
        let exec = engine.post(
            "/containers/ticking/exec",
            &json!({"Cmd": ["sh", "-c", script], "AttachStdout": true}),
        );
        let exec = exec.json()["Id"].as_str().expect("an id").to_owned();
        let pull = format!(
            "POST /images/create?fromImage={}&tag=latest",
            registry.name("big")
        );
        let streams = [
            begin(
                &engine,
                "GET /containers/ticking/logs?follow=1&stdout=1",
                b"",
                true,
            ),
            begin(
                &engine,
                "POST /containers/ticking/attach?stream=1&stdout=1",
                b"",
                true,
            ),
            begin(&engine, &format!("POST /exec/{exec}/start"), b"{}", true),
            // Of these nothing is heard that could fail to be passed on.
            begin(
                &engine,
                "POST /containers/silent/attach?stream=1&stdout=1",
                b"",
                true,
            ),
            begin(
                &engine,
                "POST /containers/silent/attach?stream=1&stdout=1&stdin=1",
                b"",
                true,
            ),
            begin(
                &engine,
                "GET /containers/silent/logs?follow=1&stdout=1",
                b"",
                true,
            ),
            begin(&engine, "GET /containers/ticking/stats", b"", true),
            begin(&engine, "GET /events", b"", false),
            begin(&engine, "POST /containers/ticking/wait", b"", true),
            begin(&engine, "GET /containers/ticking/export", b"", true),
            begin(&engine, "GET /images/busybox/get", b"", true),
            begin(&engine, &pull, b"", false),
            begin(&engine, "POST /images/load", &archive[..archive.len() / 2], false),
            begin(&engine, "POST /build?t=never", &dockerfile, true),
        ];
        std::thread::sleep(Duration::from_millis(200));
        drop(streams);
    }
    let step = || {
        let all = engine
            .api("GET", "/containers/json?all=1")
            .expect("a list")
            .json();
        all.as_array().map_or(0, Vec::len)
    };
    eventually("the build's step ended with its client", || {
        step() == 2 && !processes_contain("sleep 1000", &engine)
    });
    eventually("every connection was let go", || {
        let now = Traces::of(&engine, &[]);
        now.descriptors() <= before.descriptors() + 4
    });
    assert_eq!(
        engine.ok("ps -q").lines().count(),
        2,
        "what they looked at goes on"
    );
    assert_eq!(
        engine.ok("images -q").lines().count(),
        1,
        "half of a thing is nothing"
    );
    let lines = engine.ok("logs --tail 5 ticking");
    assert_eq!(lines, "tick\ntick\ntick\ntick\ntick");
    assert!(!engine.log().contains("panicked"));
    remove_all(&engine, &before, &[id, silent]);
}

/// Whether a process of a build step is left: its root is beneath the engine's directory.
fn processes_contain(command: &str, engine: &TestEngine) -> bool {
    let dir = engine.dir().to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").expect("processes");
    processes.flatten().any(|entry| {
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let cmdline = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        cmdline.contains(command) && String::from_utf8_lossy(&read("mountinfo")).contains(&dir)
    })
}

/// Peak memory of a process, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .expect("a peak");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// A gigabyte in lines of 8 KiB, to one client that takes a long break and one that follows the log.
#[test]
fn a_gigabyte_to_a_slow_reader() {
    if TestEngine::is_dockerd() {
        return;
    }
    const LINES: usize = 131_072;
    let engine = TestEngine::with_busybox();
    let script =
        format!("BEGIN {{ pad = sprintf(\"%8180s\", \"x\"); for (i = 0; i < {LINES}; i++) print i, pad }}");
    let id = engine.ok(["create", "--name", "talker", "busybox", "awk", &script]);
    let client = |words: &[&str]| {
        let mut child = Command::new(havre_binary())
            .args(words)
            .env("DOCKER_HOST", engine.host())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client");
        let output = BufReader::with_capacity(1 << 20, child.stdout.take().expect("a pipe"));
        (child, output)
    };
    let (mut attached, mut slow) = client(&["start", "-a", "talker"]);
    let mut line = Vec::new();
    slow.read_until(b'\n', &mut line).expect("a line");
    let shim = fs::read_dir("/proc")
        .expect("processes")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| {
            let read = |file: &str| {
                String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default())
                    .into_owned()
            };
            read("cmdline").contains(&id) && !read("cgroup").contains(&id)
        })
        .expect("a shim");
    let (daemon_before, shim_before) = (peak(engine.daemon_pid()), peak(shim));
    let count = |output: &mut dyn BufRead, already: usize| {
        let mut expected = already;
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).expect("output") > 0 {
            let number = line.split(|byte| *byte == b' ').next().unwrap_or_default();
            assert_eq!(
                String::from_utf8_lossy(number),
                expected.to_string(),
                "line {expected}"
            );
            assert_eq!(line.len(), number.len() + 1 + 8180 + 1);
            expected += 1;
            line.clear();
        }
        expected
    };
    let (mut following, mut log) = client(&["logs", "-f", "talker"]);
    let followed = std::thread::scope(|scope| {
        let follower = scope.spawn(|| count(&mut log, 0));
        // Nothing is read for a while: the program waits, and nobody collects what it says.
        std::thread::sleep(Duration::from_secs(2));
        let (daemon, shim) = (
            peak(engine.daemon_pid()) - daemon_before,
            peak(shim) - shim_before,
        );
        assert!(
            daemon < 32 << 10 && shim < 4 << 10,
            "the daemon grew by {daemon} KiB, the shim by {shim} KiB"
        );
        assert_eq!(count(&mut slow, 1), LINES);
        follower.join().expect("no panic")
    });
    assert_eq!(followed, LINES, "the log has every line");
    let grown = peak(engine.daemon_pid()) - daemon_before;
    assert!(grown < 32 << 10, "the daemon grew by {grown} KiB");
    assert!(attached.wait().expect("an end").success() && following.wait().expect("an end").success());
    engine.ok("rm talker");
}
