//! Daemons and shims that are killed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fs_err as fs;
use havre_testing::{TestEngine, eventually, http};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::traces::{self, Traces, is_alive, remove_all};

/// What a container says of itself is true.
fn assert_truthful(engine: &TestEngine, id: &str) {
    let answer = engine
        .api("GET", &format!("/containers/{id}/json"))
        .expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let container = answer.json();
    let state = &container["State"];
    let pid = state["Pid"].as_u64().expect("a pid");
    let status = state["Status"].as_str().expect("a status");
    match status {
        "running" => {
            assert!(
                pid > 0 && is_alive(pid),
                "{id} runs as {pid}, which is not there: {state}"
            );
            // It can be used, not only seen.
            engine.ok(["exec", id, "true"]);
        }
        "created" | "exited" => assert_eq!(pid, 0, "{state}"),
        other => panic!("{id} is {other}: {state}"),
    }
}

/// Containers are created, started, stopped and removed while the daemon is killed a little later each time, so that every
/// step is hit at several places. The next daemon finds everything or nothing of each container, and can do all to it.
#[test]
fn the_daemon_is_killed_at_every_step() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = traces::engine();
    let before = Traces::of(&engine, &[]);
    let seen: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let body = json!({
        "Image": "busybox",
        "Cmd": ["sleep", "1000"],
        "Volumes": {"/anonymous": {}},
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}, "Binds": ["named:/named"], "Init": true},
    });
    const ROUNDS: u64 = 30;
    for round in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let cycle = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let request = body.to_string();
                    let (socket, kind) = (engine.socket(), "application/json");
                    let created =
                        http::over_unix(socket, "POST", "/containers/create", kind, request.as_bytes());
                    let Ok(created) = created else { return };
                    let parsed: Value = serde_json::from_slice(&created.body).unwrap_or_default();
                    let Some(id) = parsed["Id"].as_str() else { return };
                    seen.lock().expect("no panic").push(id.to_owned());
                    for (method, action) in [("POST", "/start"), ("POST", "/stop?t=0"), ("DELETE", "?v=1")] {
                        if engine.api(method, &format!("/containers/{id}{action}")).is_none() {
                            return;
                        }
                    }
                }
            });
            std::thread::sleep(Duration::from_millis(20 + round * 11));
            stop.store(true, Ordering::Relaxed);
            engine.kill_daemon();
            let _ = cycle.join();
        });
        engine.start_daemon();
        for id in engine.ok("ps -aq --no-trunc").lines() {
            seen.lock().expect("no panic").push(id.to_owned());
            // One that was stopping or restarting settles.
            eventually("a settled state", || {
                let status = engine.inspect(id)["State"]["Status"].clone();
                ["running", "created", "exited"].contains(&status.as_str().unwrap_or_default())
            });
            assert_truthful(&engine, id);
            if round % 2 == 0 {
                engine.ok(["restart", "-t", "0", id]);
                assert_truthful(&engine, id);
            }
            engine.ok(["rm", "-f", "-v", id]);
        }
    }
    engine.ok("volume rm named");
    assert_eq!(
        engine.ok("volume ls -q"),
        "",
        "anonymous volumes went with their containers"
    );
    let seen = seen.into_inner().expect("no panic");
    assert!(seen.len() as u64 > ROUNDS, "{}", seen.len());
    remove_all(&engine, &before, &seen);
}

/// The shim of a container: what runs its first process.
fn shim_of(id: &str) -> Option<i32> {
    let processes = fs::read_dir("/proc").ok()?;
    let pids = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.into_iter().find(|pid| {
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let cmdline = String::from_utf8_lossy(&cmdline).replace('\0', " ");
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        // An init is the same program within the container.
        cmdline.contains("shim") && cmdline.contains(id) && !cgroup.contains(id)
    })
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("killed");
}

#[test]
fn a_shim_that_is_killed_takes_its_container_along() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = traces::engine();
    let before = Traces::of(&engine, &[]);
    let id = engine.ok([
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo said; sleep 1000",
    ]);
    let pid = engine.inspect("box")["State"]["Pid"].as_u64().expect("a pid");
    let mut follower = engine.cmd("logs -f box").spawn();
    follower.wait_for("said");
    let waiter = engine.cmd("wait box").spawn();
    std::thread::sleep(Duration::from_millis(200));
    kill(shim_of(&id).expect("a shim"));
    eventually("the engine noticed", || {
        engine.inspect("box")["State"]["Running"] == json!(false)
    });
    assert!(!is_alive(pid), "nothing runs without anybody to tell of it");
    assert_ne!(engine.inspect("box")["State"]["ExitCode"], 0);
    assert_ne!(waiter.finish().out(), "0");
    assert_eq!(follower.finish().code, 0, "a follower is let go");
    assert_eq!(engine.ok("logs box"), "said");
    engine.ok("start box");
    assert_eq!(engine.ok("exec box echo again"), "again");

    // Nobody is there to see it.
    engine.kill_daemon();
    let pid = shim_of(&id).expect("a shim");
    kill(pid);
    engine.start_daemon();
    eventually("the next engine noticed", || {
        engine.inspect("box")["State"]["Running"] == json!(false)
    });

    // A policy holds for this end too.
    let restarted = engine.ok("run -d --name again --restart always busybox sleep 1000");
    kill(shim_of(&restarted).expect("a shim"));
    eventually("another one runs", || {
        let container = engine.inspect("again");
        container["RestartCount"].as_u64() >= Some(1) && container["State"]["Running"] == json!(true)
    });
    remove_all(&engine, &before, &[id, restarted]);
}
