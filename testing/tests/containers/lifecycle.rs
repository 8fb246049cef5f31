//! From created to removed: start, stop, kill, wait, rename, restart.

use std::time::{Duration, Instant};

use havre_testing::{TestEngine, eventually};

#[test]
fn created_started_stopped_started_removed() {
    let engine = TestEngine::with_busybox();
    let id = engine.ok([
        "create",
        "--name",
        "life",
        "busybox",
        "sh",
        "-c",
        "echo again; exec sleep 100",
    ]);
    assert_eq!(engine.inspect("life")["State"]["Status"], "created");
    assert_eq!(engine.ok("start life"), "life");
    assert_eq!(
        engine.ok("start life"),
        "life",
        "starting what runs changes nothing"
    );
    eventually("it speaks", || engine.ok("logs life") == "again");
    let refused = engine.fails(1, "rm life");
    assert!(
        refused.contains("container is running") || refused.contains("remove a running container"),
        "{refused}"
    );
    assert_eq!(engine.ok("stop -t 0 life"), "life");
    assert_eq!(
        engine.ok("stop life"),
        "life",
        "stopping what stands changes nothing"
    );
    let state = engine.inspect("life")["State"].clone();
    assert_eq!(
        (state["Status"].as_str(), state["ExitCode"].as_i64()),
        (Some("exited"), Some(137))
    );
    assert!(
        engine
            .ok(["ps", "-a", "--format", "{{.Status}}"])
            .starts_with("Exited (137) ")
    );
    engine.ok("start life");
    eventually("it runs a second time", || {
        engine.ok("logs life") == "again\nagain"
    });
    assert_eq!(engine.ok("rm -f life"), "life");
    let unknown = engine.fails(1, ["inspect", &id]);
    assert!(unknown.to_lowercase().contains("no such object"), "{unknown}");
    let unknown = engine.fails(1, "start life");
    assert!(unknown.contains("No such container: life"), "{unknown}");
}

#[test]
fn a_stop_asks_before_it_kills() {
    let engine = TestEngine::with_busybox();
    let polite = "trap 'echo bye; exit 5' TERM; echo ready; while true; do sleep 0.05; done";
    engine.ok(["run", "-d", "--name", "polite", "busybox", "sh", "-c", polite]);
    eventually("it listens", || engine.ok("logs polite") == "ready");
    let clock = Instant::now();
    engine.ok("stop polite");
    assert!(clock.elapsed() < Duration::from_secs(5), "it went by itself");
    assert_eq!(
        (
            engine.ok("wait polite").as_str(),
            engine.ok("logs polite").as_str()
        ),
        ("5", "ready\nbye")
    );

    let other = "trap 'exit 6' USR1; trap '' TERM; echo ready; while true; do sleep 0.05; done";
    engine.ok([
        "run",
        "-d",
        "--name",
        "other",
        "--stop-signal",
        "SIGUSR1",
        "busybox",
        "sh",
        "-c",
        other,
    ]);
    eventually("it listens", || engine.ok("logs other") == "ready");
    engine.ok("stop other");
    assert_eq!(engine.ok("wait other"), "6");

    engine.ok("run -d --name deaf --stop-timeout 1 busybox sleep 1000");
    let clock = Instant::now();
    engine.ok("stop deaf");
    let took = clock.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(6),
        "{took:?}"
    );
}

#[test]
fn signals_are_sent_by_name_and_number() {
    let engine = TestEngine::with_busybox();
    let script = "trap 'echo usr1' USR1; trap 'exit 9' HUP; echo ready; while true; do sleep 0.05; done";
    engine.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    eventually("it listens", || engine.ok("logs box") == "ready");
    assert_eq!(engine.ok("kill -s USR1 box"), "box");
    eventually("it heard", || engine.ok("logs box") == "ready\nusr1");
    engine.ok("kill -s 1 box");
    assert_eq!(engine.ok("wait box"), "9");
    let refused = engine.fails(1, "kill box");
    assert!(refused.contains("is not running"), "{refused}");
    engine.ok("start box");
    let bad = engine.fails(1, "kill -s NOSUCH box");
    assert!(bad.contains("nvalid signal: NOSUCH"), "{bad}");
    engine.ok("kill box");
    assert_eq!(engine.ok("wait box"), "137");
}

#[test]
fn names_are_unique_and_change() {
    let engine = TestEngine::with_busybox();
    let id = engine.ok("create --name one busybox");
    let conflict = engine.fails(125, "run --name one busybox true");
    let expected = format!(
        "Conflict. The container name \"/one\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    );
    assert!(conflict.contains(&expected), "{conflict}");
    engine.ok("rename one two");
    assert_eq!(engine.ok(["ps", "-a", "--format", "{{.Names}}"]), "two");
    engine.ok("create --name one busybox");
    let taken = engine.fails(1, "rename two one");
    assert!(taken.contains("already in use"), "{taken}");
    let invalid = engine.fails(125, "run --name a/b busybox true");
    assert!(
        invalid.contains("Invalid container name (a/b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        "{invalid}"
    );
    let named = engine.ok("create busybox");
    let given = engine.inspect(&named)["Name"]
        .as_str()
        .expect("a name")
        .to_owned();
    assert!(given.len() > 4 && given.contains('_'), "{given}");
}

#[test]
fn wait_tells_the_code() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "-d",
        "--name",
        "later",
        "busybox",
        "sh",
        "-c",
        "sleep 0.5; exit 4",
    ]);
    engine.ok(["run", "-d", "--name", "now", "busybox", "sh", "-c", "exit 3"]);
    assert_eq!(engine.ok("wait later now"), "4\n3");
    assert_eq!(engine.ok("wait later"), "4", "also afterwards");
}

#[test]
fn restart_policies() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "-d",
        "--name",
        "thrice",
        "--restart",
        "on-failure:2",
        "busybox",
        "sh",
        "-c",
        "echo try; exit 1",
    ]);
    eventually("it gives up", || {
        let state = engine.inspect("thrice");
        state["RestartCount"] == 2 && state["State"]["Status"] == "exited"
    });
    assert_eq!(engine.ok("logs thrice"), "try\ntry\ntry");
    engine.ok([
        "run",
        "-d",
        "--name",
        "always",
        "--restart",
        "always",
        "busybox",
        "sh",
        "-c",
        "echo try; sleep 0.1",
    ]);
    eventually("it comes back", || engine.ok("logs always").lines().count() > 2);
    engine.ok("stop -t 1 always");
    assert_eq!(
        engine.inspect("always")["State"]["Running"],
        false,
        "stopped by hand stays stopped"
    );
    let both = engine.fails(125, "run --rm --restart always busybox true");
    assert!(
        both.contains("onflicting options") || both.contains("AutoRemove"),
        "{both}"
    );
}

#[test]
fn restart_by_hand() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box busybox sleep 100");
    let before = engine.inspect("box")["State"]["Pid"].clone();
    assert_eq!(engine.ok("restart -t 0 box"), "box");
    let after = engine.inspect("box")["State"].clone();
    assert_eq!(after["Running"], true);
    assert_ne!(after["Pid"], before);
}

#[test]
fn many_at_once() {
    let engine = TestEngine::with_busybox();
    let outputs: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|at| {
                let engine = &engine;
                scope.spawn(move || engine.ok(format!("run --rm busybox echo {at}")))
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("run")).collect()
    });
    assert_eq!(outputs, ["0", "1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(engine.ok("ps -aq"), "");
}
