//! Log drivers, their options, and reading logs back.

use std::path::PathBuf;

use fs_err as fs;
use havre_testing::{Image, TestEngine, eventually};

/// Runs a container named `box` that prints numbered lines.
fn print(engine: &TestEngine, flags: &str, lines: u32) {
    let mut words: Vec<String> = ["run", "--name", "box"].map(str::to_owned).to_vec();
    words.extend(flags.split_whitespace().map(str::to_owned));
    let script = format!("for n in $(seq 1 {lines}); do echo line $n; done; echo problem >&2");
    words.extend(["busybox", "sh", "-c", &script].map(str::to_owned));
    engine.ok(words);
}

fn directory(engine: &TestEngine) -> PathBuf {
    let id = engine.inspect("box")["Id"].as_str().expect("an id").to_owned();
    engine.root().join("containers").join(id)
}

#[test]
fn logs_are_rotated_and_packed() {
    let engine = TestEngine::with_busybox();
    for (flags, name) in [
        (
            "--log-opt max-size=8k --log-opt max-file=3 --log-opt compress=true",
            None,
        ),
        (
            "--log-driver local --log-opt max-size=8k --log-opt max-file=3",
            Some("local-logs/container.log"),
        ),
    ] {
        print(&engine, flags, 5000);
        let directory = directory(&engine);
        let id = engine.inspect("box")["Id"].as_str().expect("an id").to_owned();
        let log = name.map_or_else(
            || directory.join(format!("{id}-json.log")),
            |name| directory.join(name),
        );
        let beside = |ending: &str| PathBuf::from(format!("{}{ending}", log.display()));
        eventually("packed", || beside(".1.gz").exists() && !beside(".1").exists());
        assert!(beside(".2.gz").exists() && !beside(".3.gz").exists() && !beside(".3").exists());
        let all = engine.ok("logs box");
        let lines: Vec<&str> = all.lines().collect();
        assert_eq!(*lines.last().expect("lines"), "line 5000");
        let first: u32 = lines[0]["line ".len()..].parse().expect("a number");
        assert!(first > 1 && lines.len() > 150, "{first}, {}", lines.len());
        for (line, number) in lines.iter().zip(first..) {
            assert_eq!(*line, format!("line {number}"));
        }
        assert_eq!(
            engine.ok("logs --tail 2 box"),
            engine.ok("logs -n 2 box"),
            "its short form"
        );
        let tail = engine.ok("logs --tail 150 box");
        assert!(
            tail.lines().count() >= 149,
            "over the files: {}",
            tail.lines().count()
        );
        engine.ok("rm box");
    }
}

#[test]
fn since_until_and_details() {
    let engine = TestEngine::with_busybox();
    for driver in ["json-file", "local"] {
        engine.ok([
            "run",
            "--name",
            "box",
            "--log-driver",
            driver,
            "--log-opt",
            "tag={{.Name}}/{{.ImageName}}",
            "--log-opt",
            "labels=a,b",
            "--log-opt",
            "env-regex=^CO",
            "--label",
            "a=1 2",
            "--label",
            "c=3",
            "-e",
            "COLOUR=red&blue",
            "-e",
            "SIZE=4",
            "busybox",
            "sh",
            "-c",
            "echo one; sleep 1; echo two; sleep 1; echo three",
        ]);
        assert_eq!(
            engine.ok("logs --details --tail 1 box"),
            "COLOUR=red%26blue,a=1+2,tag=box%2Fbusybox three"
        );
        let log = engine.ok("logs -t box");
        let times: Vec<&str> = log
            .lines()
            .map(|line| line.split(' ').next().expect("a time"))
            .collect();
        assert_eq!(times.len(), 3, "{log}");
        assert_eq!(
            engine.ok(["logs", "--since", times[1], "box"]),
            "two\nthree",
            "{driver}"
        );
        assert_eq!(engine.ok(["logs", "--until", times[1], "box"]), "one\ntwo");
        assert_eq!(
            engine.ok(["logs", "--since", times[1], "--until", times[1], "box"]),
            "two"
        );
        assert_eq!(
            engine.ok("logs --details -t --tail 1 box"),
            format!("{} COLOUR=red%26blue,a=1+2,tag=box%2Fbusybox three", times[2])
        );
        let path = engine.inspect("box")["LogPath"]
            .as_str()
            .expect("text")
            .to_owned();
        assert_eq!(path.is_empty(), driver == "local");
        if driver == "json-file" {
            let first = fs::read_to_string(path).expect("the log");
            let first: serde_json::Value =
                serde_json::from_str(first.lines().next().expect("a line")).expect("JSON");
            assert_eq!(first["attrs"]["tag"], "box/busybox");
            assert_eq!(first["attrs"]["a"], "1 2");
        }
        engine.ok("rm box");
    }
}

#[test]
fn what_goes_to_standard_error_stays_there() {
    let engine = TestEngine::with_busybox();
    print(&engine, "--log-driver local", 2);
    let output = engine.run("logs box");
    assert_eq!(output.out(), "line 1\nline 2");
    assert_eq!(output.err(), "problem");
}

#[test]
fn a_follower_reads_the_local_form_as_it_comes() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "-d",
        "--name",
        "box",
        "--log-driver",
        "local",
        "--log-opt",
        "max-size=20k",
        "--log-opt",
        "max-file=100",
        "busybox",
        "sh",
        "-c",
        "for n in $(seq 1 3000); do echo line $n; done; sleep 1; for n in $(seq 3001 6000); do echo line $n; done",
    ]);
    let followed = engine.ok("logs -f box");
    assert_eq!(followed.lines().count(), 6000);
    for (line, number) in followed.lines().zip(1..) {
        assert_eq!(line, format!("line {number}"));
    }
}

#[test]
fn bad_options_are_refused_in_dockers_words() {
    let engine = TestEngine::with_busybox();
    for (flags, said) in [
        (
            "--log-opt max-size=abc",
            "failed to initialize logging driver: invalid size: 'abc'",
        ),
        ("--log-opt max-file=0", "max-file cannot be less than 1"),
        (
            "--log-opt compress=true",
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        (
            "--log-opt nope=1",
            "unknown log opt 'nope' for json-file log driver",
        ),
        (
            "--log-driver local --log-opt nope=1",
            "unknown log opt 'nope' for log driver local",
        ),
        ("--log-opt mode=x", "logger: logging mode not supported: x"),
        ("--log-driver syslog", "log driver syslog is not supported"),
        ("--log-driver nosuch", "error looking up logging plugin nosuch"),
        (
            "--log-driver none --log-opt max-size=1",
            "invalid logging opts for driver none",
        ),
    ] {
        let output = engine.run(format!("create {flags} busybox"));
        assert_ne!(output.code, 0, "{flags}");
        assert!(output.err().contains(said), "{flags}: {}", output.err());
    }
    engine.ok("run --name box --log-driver none busybox echo unheard");
    let error = engine.fails(1, "logs box");
    assert!(
        error.contains("configured logging driver does not support reading"),
        "{error}"
    );
}

#[test]
fn the_configuration_has_a_default_for_all() {
    let engine =
        TestEngine::with_config("log-driver = \"local\"\nlog-opts = { max-size = \"1m\", tag = \"all\" }");
    engine.load(&Image::busybox(), "busybox:latest");
    engine.ok("run --name box --log-opt max-file=2 busybox echo hello");
    let log = engine.inspect("box")["HostConfig"]["LogConfig"].clone();
    assert_eq!(log["Type"], "local");
    assert_eq!(
        log["Config"],
        serde_json::json!({"max-size": "1m", "tag": "all", "max-file": "2"})
    );
    assert_eq!(engine.ok("logs --details box"), "tag=all hello");
    engine.ok("run --name other --log-driver json-file busybox echo hello");
    assert_eq!(
        engine.inspect("other")["HostConfig"]["LogConfig"]["Config"],
        serde_json::json!({})
    );
    assert!(engine.ok("info --format {{.LoggingDriver}}").contains("local"));
}
