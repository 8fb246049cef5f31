//! Health checks: how they are made, what they say, who shows it.

use std::time::{Duration, Instant};

use havre_testing::{Image, TestEngine, eventually};
use serde_json::{Value, json};

/// Runs a container whose check is this line, made every 100 ms.
fn checked(engine: &TestEngine, name: &str, line: &str, flags: &[&str]) {
    let mut words = vec![
        "run",
        "-d",
        "--name",
        name,
        "--health-interval",
        "100ms",
        "--health-cmd",
        line,
    ];
    words.extend_from_slice(flags);
    words.extend_from_slice(&["busybox", "sleep", "1000"]);
    engine.ok(&words[..]);
}

fn health(engine: &TestEngine, name: &str) -> Value {
    engine.inspect(name)["State"]["Health"].clone()
}

fn becomes(engine: &TestEngine, name: &str, status: &str) {
    eventually(&format!("{name} is {status}"), || {
        health(engine, name)["Status"] == status
    });
}

fn shown(engine: &TestEngine) -> String {
    engine.ok(["ps", "-a", "--format", "{{.Status}}"])
}

/// What the last probe exited with and said.
fn last(health: &Value) -> (i64, String) {
    let log = health["Log"].as_array().expect("a log");
    let probe = log.last().expect("a probe");
    (
        probe["ExitCode"].as_i64().expect("a code"),
        probe["Output"].as_str().expect("text").to_owned(),
    )
}

/// Creates and starts a container through the API with a check of these fields.
fn run_with(engine: &TestEngine, name: &str, version: &str, check: &Value) {
    let body = json!({"Image": "busybox", "Cmd": ["sleep", "1000"], "Healthcheck": check});
    let created = engine.post(&format!("{version}/containers/create?name={name}"), &body);
    assert_eq!(created.status, 201, "{}", created.text());
    engine.ok(["start", name]);
}

#[test]
fn a_check_is_made_and_told() {
    let engine = TestEngine::with_busybox();
    let line = "echo seen; test -f /tmp/ok";
    let container = engine.ok([
        "create",
        "--name",
        "box",
        "--health-cmd",
        line,
        "--health-interval",
        "100ms",
        "--health-retries",
        "2",
        "busybox",
        "sleep",
        "1000",
    ]);
    let created = engine.inspect("box");
    assert_eq!(created["State"].get("Health"), None, "never started");
    assert_eq!(
        created["Config"]["Healthcheck"],
        json!({"Test": ["CMD-SHELL", line], "Interval": 100_000_000, "Retries": 2})
    );
    engine.ok("start box");
    becomes(&engine, "box", "unhealthy");
    assert!(health(&engine, "box")["FailingStreak"].as_u64() >= Some(2));
    assert!(shown(&engine).ends_with(" (unhealthy)"), "{}", shown(&engine));

    engine.ok("exec box touch /tmp/ok");
    becomes(&engine, "box", "healthy");
    eventually("five good probes", || {
        let health = health(&engine, "box");
        let log = health["Log"].as_array().expect("a log");
        log.len() == 5 && log.iter().all(|probe| probe["ExitCode"] == 0)
    });
    let now = health(&engine, "box");
    assert_eq!(now["FailingStreak"], 0);
    let probes = now["Log"].as_array().expect("a log");
    let times: Vec<_> = probes
        .iter()
        .flat_map(|probe| [&probe["Start"], &probe["End"]])
        .map(|time| {
            time.as_str()
                .expect("a time")
                .parse::<jiff::Timestamp>()
                .expect("RFC 3339")
        })
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    for (end, start) in times[1..].iter().step_by(2).zip(times[2..].iter().step_by(2)) {
        let pause = Duration::try_from(start.duration_since(*end)).expect("later");
        assert!(pause >= Duration::from_millis(95), "{pause:?} after its end");
    }
    assert_eq!(last(&now), (0, "seen\n".to_owned()));
    assert!(shown(&engine).ends_with(" (healthy)"), "{}", shown(&engine));
    engine.ok("exec box rm /tmp/ok");
    becomes(&engine, "box", "unhealthy");

    let mut events: Vec<Value> = Vec::new();
    eventually("the last event", || {
        let lines = engine.ok([
            "events",
            "--since",
            "1",
            "--until",
            "0s",
            "--filter",
            &format!("container={container}"),
            "--format",
            "{{json .}}",
        ]);
        events = lines
            .lines()
            .map(|event| serde_json::from_str(event).expect("JSON"))
            .collect();
        let turns: Vec<_> = events
            .iter()
            .filter_map(|event| event["Action"].as_str()?.strip_prefix("health_status: "))
            .collect();
        turns == ["unhealthy", "healthy", "unhealthy"]
    });
    let first: Vec<_> = events
        .iter()
        .filter(|event| {
            event["Action"]
                .as_str()
                .is_some_and(|action| action.starts_with("exec_"))
        })
        .take(3)
        .collect();
    let told = |at: usize| first[at]["Action"].as_str().expect("an action");
    assert_eq!(told(0), format!("exec_create: /bin/sh -c {line}"));
    assert_eq!(told(1), format!("exec_start: /bin/sh -c {line}"));
    assert_eq!(told(2), "exec_die");
    let attributes: Vec<_> = first.iter().map(|event| &event["Actor"]["Attributes"]).collect();
    let id = attributes[0]["execID"].as_str().expect("an id");
    assert_eq!(id.len(), 64);
    assert!(
        attributes
            .iter()
            .all(|attributes| attributes["execID"] == id && attributes["name"] == "box")
    );
    assert_eq!(attributes[2]["exitCode"], "1");
}

#[test]
fn lists_filter_by_health() {
    let engine = TestEngine::with_busybox();
    checked(&engine, "good", "true", &[]);
    checked(&engine, "bad", "false", &["--health-retries", "1"]);
    checked(&engine, "slow", "true", &["--health-interval", "1h"]);
    engine.ok("run -d --name plain busybox sleep 1000");
    engine.ok("run -d --name without --no-healthcheck busybox sleep 1000");
    becomes(&engine, "good", "healthy");
    becomes(&engine, "bad", "unhealthy");
    let named = |filters: &[&str]| {
        let mut words = vec!["ps", "--format", "{{.Names}}"];
        words.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
        let names = engine.ok(&words[..]);
        let mut names: Vec<_> = names.lines().map(str::to_owned).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(named(&["health=healthy"]), "good");
    assert_eq!(named(&["health=unhealthy"]), "bad");
    assert_eq!(named(&["health=starting"]), "slow");
    assert_eq!(named(&["health=none"]), "plain without");
    assert_eq!(named(&["health=starting", "health=healthy"]), "good slow");
    let status = engine.ok(["ps", "--filter", "name=slow", "--format", "{{.Status}}"]);
    assert!(status.ends_with(" (health: starting)"), "{status}");
    let unknown = engine.fails(1, "ps --filter health=fine").to_lowercase();
    assert!(unknown.contains("filter value for health: fine"), "{unknown}");
}

#[test]
fn failures_of_the_start_period_do_not_count() {
    let engine = TestEngine::with_busybox();
    checked(
        &engine,
        "box",
        "test -f /tmp/ok",
        &["--health-retries", "1", "--health-start-period", "2s"],
    );
    let clock = Instant::now();
    if TestEngine::is_dockerd() {
        becomes(&engine, "box", "unhealthy");
    } else {
        // The start interval is 5 s unless it is given: the first probe comes when the period has ended.
        engine.ok("rm -f box");
        let flags = [
            "--health-retries",
            "1",
            "--health-start-period",
            "2s",
            "--health-start-interval",
            "50ms",
        ];
        checked(&engine, "box", "test -f /tmp/ok", &flags);
        eventually("a full log", || {
            health(&engine, "box")["Log"]
                .as_array()
                .is_some_and(|log| log.len() == 5)
        });
        let early = health(&engine, "box");
        assert_eq!(
            (&early["Status"], &early["FailingStreak"]),
            (&json!("starting"), &json!(0))
        );
        becomes(&engine, "box", "unhealthy");
    }
    assert!(
        clock.elapsed() >= Duration::from_millis(1900),
        "{:?}",
        clock.elapsed()
    );
}

#[test]
fn the_start_interval_is_for_the_start_and_for_clients_that_know_it() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    let check = json!({
        "Test": ["CMD", "true"], "Interval": 3_600_000_000_000_i64, "StartPeriod": 60_000_000_000_i64,
        "StartInterval": 50_000_000,
    });
    run_with(&engine, "new", "/v1.44", &check);
    run_with(&engine, "old", "/v1.43", &check);
    becomes(&engine, "new", "healthy");
    std::thread::sleep(Duration::from_millis(300));
    let probes = health(&engine, "new")["Log"].as_array().map(Vec::len);
    assert_eq!(probes, Some(1), "healthy: the interval of an hour");
    assert_eq!(health(&engine, "old")["Status"], "starting", "5 s is the default");
    let asked = engine.inspect("old")["Config"]["Healthcheck"].clone();
    assert_eq!(asked.get("StartInterval"), None);
}

#[test]
fn a_probe_that_takes_too_long_is_killed() {
    let engine = TestEngine::with_busybox();
    checked(
        &engine,
        "box",
        "echo waiting; sleep 555; echo never",
        &["--health-timeout", "300ms", "--health-retries", "2"],
    );
    becomes(&engine, "box", "unhealthy");
    let (code, said) = last(&health(&engine, "box"));
    assert_eq!(code, -1);
    let expected = "Health check exceeded timeout (300ms)";
    if TestEngine::is_dockerd() {
        assert!(said.starts_with(expected), "{said}");
        return;
    }
    assert_eq!(said, format!("{expected}: waiting\n"));
    // At most the one of now runs, with its shell; the others left nothing behind.
    let processes = engine.ok("top box -o pid,args");
    assert!(processes.matches("sleep 555").count() <= 2, "{processes}");
}

#[test]
fn output_is_kept_in_part() {
    let engine = TestEngine::with_busybox();
    checked(
        &engine,
        "box",
        "yes | head -c 100000; exit 3",
        &["--health-retries", "1"],
    );
    checked(&engine, "odd", r"printf 'a\377b'; printf c >&2", &[]);
    becomes(&engine, "box", "unhealthy");
    becomes(&engine, "odd", "healthy");
    let (code, said) = last(&health(&engine, "box"));
    assert_eq!((code, said.len()), (3, 4096 + 3));
    assert!(said.starts_with("y\ny\n") && said.ends_with("y\n..."), "{said}");
    let (_, said) = last(&health(&engine, "odd"));
    assert!(said.contains("a\u{fffd}b") && said.contains('c'), "{said:?}");
}

#[test]
fn probes_run_as_the_program_does() {
    let engine = TestEngine::with_busybox();
    let line = r#"echo "$(id -u) $A $PWD"; test "$(id -u) $A $PWD" = "65534 b /tmp""#;
    checked(
        &engine,
        "box",
        line,
        &[
            "--user",
            "65534",
            "-e",
            "A=b",
            "-w",
            "/tmp",
            "--health-retries",
            "1",
        ],
    );
    eventually("a verdict", || health(&engine, "box")["Status"] != "starting");
    let found = health(&engine, "box");
    assert_eq!(found["Status"], "healthy", "{found}");

    let every = 100_000_000;
    run_with(
        &engine,
        "words",
        "",
        &json!({"Test": ["CMD", "test", "a b", "=", "a b"], "Interval": every}),
    );
    run_with(
        &engine,
        "nosuch",
        "",
        &json!({"Test": ["CMD", "nosuch"], "Interval": every, "Retries": 1}),
    );
    run_with(
        &engine,
        "unknown",
        "",
        &json!({"Test": ["CURL", "x"], "Interval": every}),
    );
    becomes(&engine, "words", "healthy");
    becomes(&engine, "nosuch", "unhealthy");
    let (code, said) = last(&health(&engine, "nosuch"));
    assert_eq!(code, -1);
    assert!(
        said.contains("exec: \"nosuch\": executable file not found in $PATH"),
        "{said}"
    );
    assert_eq!(engine.inspect("unknown")["State"].get("Health"), None);
}

#[test]
fn nobody_probes_what_is_paused_or_has_ended() {
    let engine = TestEngine::with_busybox();
    checked(&engine, "box", "date +%s.%N >> /tmp/probes; echo probed", &[]);
    becomes(&engine, "box", "healthy");
    engine.ok("pause box");
    let paused = health(&engine, "box");
    assert_eq!(paused["Status"], "unhealthy", "nobody knows");
    assert!(shown(&engine).ends_with(" (Paused)"), "{}", shown(&engine));
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(health(&engine, "box"), paused);
    engine.ok("unpause box");
    becomes(&engine, "box", "healthy");

    engine.ok("stop -t 0 box");
    let ended = health(&engine, "box");
    assert_eq!(ended["Status"], "unhealthy");
    assert!(shown(&engine).starts_with("Exited (137)"), "{}", shown(&engine));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(health(&engine, "box"), ended);
    engine.ok("start box");
    let again = health(&engine, "box");
    assert_eq!(
        (
            &again["FailingStreak"],
            again["Log"].as_array().map(Vec::is_empty)
        ),
        (&json!(0), Some(false))
    );
    becomes(&engine, "box", "healthy");
    assert_eq!(engine.ok("rm -f box"), "box");
}

#[test]
fn a_restart_policy_starts_the_check_anew() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--restart",
        "always",
        "--health-cmd",
        "true",
        "--health-interval",
        "100ms",
        "busybox",
        "sh",
        "-c",
        "sleep 0.5",
    ]);
    eventually("it came back and is healthy", || {
        let found = engine.inspect("box");
        found["RestartCount"].as_u64() >= Some(2) && found["State"]["Health"]["Status"] == "healthy"
    });
    engine.ok("rm -f box");
}

#[test]
fn the_images_check_is_made_unless_the_user_says_otherwise() {
    let engine = TestEngine::with_busybox();
    let check = json!({"Test": ["CMD-SHELL", "test -f /tmp/ok"], "Interval": 100_000_000, "Retries": 1});
    engine.load(
        &Image::busybox().with_config("Healthcheck", check.clone()),
        "checked",
    );
    engine.ok("run -d --name image checked sleep 1000");
    engine.ok("run -d --name none --no-healthcheck checked sleep 1000");
    engine.ok([
        "run",
        "-d",
        "--name",
        "own",
        "--health-cmd",
        "true",
        "checked",
        "sleep",
        "1000",
    ]);
    becomes(&engine, "image", "unhealthy");
    becomes(&engine, "own", "healthy");
    assert_eq!(engine.inspect("image")["Config"]["Healthcheck"], check);
    assert_eq!(
        engine.inspect("own")["Config"]["Healthcheck"],
        json!({"Test": ["CMD-SHELL", "true"], "Interval": 100_000_000, "Retries": 1}),
        "the rest is the image's"
    );
    let none = engine.inspect("none");
    assert_eq!(none["Config"]["Healthcheck"]["Test"], json!(["NONE"]));
    assert_eq!(none["State"].get("Health"), None);

    // An image may say what a user may not.
    let hostile = json!({"Test": ["CMD", "true"], "Interval": -1, "Timeout": i64::MIN, "Retries": -7, "StartPeriod": -1});
    if !TestEngine::is_dockerd() {
        engine.load(&Image::busybox().with_config("Healthcheck", hostile), "hostile");
        engine.ok("run -d --name hostile hostile sleep 1000");
        std::thread::sleep(Duration::from_millis(300));
        let found = health(&engine, "hostile");
        assert_eq!(
            found,
            json!({"Status": "starting", "FailingStreak": 0, "Log": []}),
            "every 30 s"
        );
    }
}

#[test]
fn checks_go_on_after_a_restart_of_the_daemon() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    checked(&engine, "box", "test -f /tmp/ok", &["--health-retries", "2"]);
    checked(&engine, "calm", "true", &["--health-interval", "1s"]);
    engine.ok("run -d --name paused --health-cmd true --health-interval 100ms busybox sleep 1000");
    becomes(&engine, "paused", "healthy");
    engine.ok("pause paused");
    becomes(&engine, "box", "unhealthy");
    becomes(&engine, "calm", "healthy");
    engine.kill_daemon();
    engine.start_daemon();
    assert_eq!(
        health(&engine, "calm")["Status"],
        "healthy",
        "it was, and nobody has seen otherwise"
    );
    assert_eq!(health(&engine, "box")["Status"], "unhealthy");
    engine.ok("exec box touch /tmp/ok");
    becomes(&engine, "box", "healthy");
    let probes = health(&engine, "calm")["Log"].clone();
    eventually("another probe", || health(&engine, "calm")["Log"] != probes);
    assert_eq!(health(&engine, "paused")["Status"], "unhealthy");
    engine.ok("unpause paused");
    becomes(&engine, "paused", "healthy");
    assert_eq!(engine.stop_daemon(), Some(0));
    engine.start_daemon();
    engine.ok("exec box rm /tmp/ok");
    becomes(&engine, "box", "unhealthy");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let engine = TestEngine::with_busybox();
    for (check, message) in [
        (
            json!({"Interval": 999_999}),
            "Interval in Healthcheck cannot be less than 1ms",
        ),
        (
            json!({"Timeout": -1}),
            "Timeout in Healthcheck cannot be less than 1ms",
        ),
        (
            json!({"StartPeriod": 1}),
            "StartPeriod in Healthcheck cannot be less than 1ms",
        ),
        (
            json!({"Retries": -1}),
            "Retries in Healthcheck cannot be negative",
        ),
        (json!({"Interval": "1s"}), "string"),
        (json!({"Test": "true"}), "string"),
    ] {
        let answer = engine.post(
            "/containers/create",
            &json!({"Image": "busybox", "Cmd": ["true"], "Healthcheck": check}),
        );
        let wrong_type = message == "string";
        let status = if wrong_type && TestEngine::is_dockerd() {
            500
        } else {
            400
        };
        assert_eq!(answer.status, status, "{check}: {}", answer.text());
        assert!(answer.text().contains(message), "{check}: {}", answer.text());
    }
    for (flags, message) in [
        (
            "--health-interval 5",
            "invalid argument \"5\" for \"--health-interval\" flag: time: missing unit in duration \"5\"",
        ),
        ("--health-timeout -1s", "--health-timeout cannot be negative"),
        ("--health-retries -1", "--health-retries cannot be negative"),
        (
            "--no-healthcheck --health-cmd true",
            "--no-healthcheck conflicts with --health-* options",
        ),
        (
            "--health-timeout 1us",
            "Timeout in Healthcheck cannot be less than 1ms",
        ),
    ] {
        let refused = engine.fails(125, format!("run {flags} busybox true"));
        assert!(refused.contains(message), "{flags}: {refused}");
    }
    assert_eq!(engine.ok("ps -aq"), "");
}

#[test]
fn many_checks_take_few_threads() {
    if TestEngine::is_dockerd() {
        return;
    }
    const MANY: usize = 40;
    let engine = TestEngine::with_busybox();
    for at in 0..MANY {
        checked(
            &engine,
            &format!("box{at}"),
            "sleep 2",
            &["--health-timeout", "10s", "--network", "none"],
        );
    }
    let tasks = || {
        let tasks = fs_err::read_dir(format!("/proc/{}/task", engine.daemon_pid())).expect("a daemon");
        let names = tasks
            .flatten()
            .filter_map(|task| fs_err::read_to_string(task.path().join("comm")).ok());
        // One waits for the end of each container, checked or not.
        names.filter(|name| name.trim() != "exit").count()
    };
    // All of them are being probed, most of the time.
    let mut most = 0;
    eventually("everybody is healthy", || {
        most = most.max(tasks());
        engine.ok("ps --filter health=healthy -q").lines().count() == MANY
    });
    assert!(most < MANY, "{most} threads");
}
