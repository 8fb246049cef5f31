//! Two hundred at once.

use havre_testing::TestEngine;
use serde_json::json;

use crate::traces::{self, Traces};

const MANY: usize = 200;

/// One request for each, all at the same time.
fn all_at_once(engine: &TestEngine, ids: &[String], method: &str, action: &str) -> Vec<u16> {
    std::thread::scope(|scope| {
        let started: Vec<_> = ids
            .iter()
            .map(|id| {
                let target = format!("/containers/{id}{action}");
                scope.spawn(move || engine.api(method, &target).map_or(0, |answer| answer.status))
            })
            .collect();
        started
            .into_iter()
            .map(|one| one.join().expect("no panic"))
            .collect()
    })
}

#[test]
fn two_hundred_start_and_stop_at_once_and_leave_nothing() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = traces::engine();
    let before = Traces::of(&engine, &[]);
    let script = "echo here; trap 'exit 7' TERM; while true; do sleep 1000 & wait $!; done";
    let body = json!({
        "Image": "busybox",
        "Cmd": ["sh", "-c", script],
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1"}]}, "Init": true},
    });
    let ids: Vec<String> = (0..MANY)
        .map(|at| {
            let created = engine.post(&format!("/containers/create?name=c{at}"), &body);
            assert_eq!(created.status, 201, "{}", created.text());
            created.json()["Id"].as_str().expect("an id").to_owned()
        })
        .collect();
    assert_eq!(all_at_once(&engine, &ids, "POST", "/start"), [204; MANY]);
    assert_eq!(engine.ok("ps -q").lines().count(), MANY);
    let list = engine.api("GET", "/containers/json").expect("a list").json();
    let mut ports: Vec<u64> = list
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["Ports"][0]["PublicPort"].as_u64())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), MANY, "a port for each");
    havre_testing::eventually("each has said its line", || {
        ids.iter().all(|id| {
            let logs = engine.api("GET", &format!("/containers/{id}/logs?stdout=1"));
            logs.is_some_and(|logs| logs.text().ends_with("here\n"))
        })
    });
    assert_eq!(all_at_once(&engine, &ids, "POST", "/stop?t=20"), [204; MANY]);
    let list = engine
        .api("GET", "/containers/json?all=1")
        .expect("a list")
        .json();
    let states: Vec<_> = list
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["State"].as_str())
        .collect();
    assert_eq!(states, [Some("exited"); MANY]);
    for id in &ids {
        let state = engine
            .api("GET", &format!("/containers/{id}/json"))
            .expect("an answer")
            .json();
        assert_eq!(state["State"]["ExitCode"], 7, "{state}");
    }
    assert_eq!(all_at_once(&engine, &ids, "DELETE", "?v=1"), [204; MANY]);
    assert_eq!(engine.ok("ps -aq"), "");
    before.assert_same(&engine, &ids);
}
