//! exec, attach and logs beside a running container.

use std::time::{Duration, Instant};

use havre_testing::{TestEngine, eventually};

#[test]
fn exec_runs_beside() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box -e A=1 -w /tmp busybox sleep 100");
    assert_eq!(engine.ok(["exec", "box", "sh", "-c", "echo $A $(pwd)"]), "1 /tmp");
    assert_eq!(
        engine.ok([
            "exec",
            "-e",
            "A=2",
            "-w",
            "/etc",
            "-u",
            "user",
            "box",
            "sh",
            "-c",
            "echo $A $(pwd) $(id -u)"
        ]),
        "2 /etc 1000"
    );
    let output = engine.run(["exec", "box", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(
        (output.code, output.out().as_str(), output.err().as_str()),
        (3, "out", "err"),
        "{output}"
    );
    assert_eq!(engine.cmd("exec -i box wc -c").stdin("12345").ok(), "5");
    let terminal = engine.run("exec -t box tty");
    assert_eq!(terminal.out().trim_end(), "/dev/pts/0");
    let missing = engine.run("exec box no-such-program");
    // dockerd before 25 made it 126.
    assert!(missing.code == 127 || TestEngine::is_dockerd(), "{missing}");
    assert!(
        format!("{missing}").contains("executable file not found in $PATH"),
        "{missing}"
    );
    engine.ok(["exec", "-d", "box", "sh", "-c", "echo written > /tmp/file"]);
    eventually("the detached exec wrote", || {
        engine.run("exec box cat /tmp/file").out() == "written"
    });
    engine.ok("stop -t 0 box");
    let stopped = engine.fails(1, "exec box true");
    assert!(stopped.contains("is not running"), "{stopped}");
}

#[test]
fn attach_joins_a_running_container() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "-d",
        "-i",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "while read line; do [ $line = quit ] && exit 6; echo got $line; done",
    ]);
    let mut attached = engine.cmd("attach box").spawn();
    // An attach has no sign of readiness: speak until it is heard.
    let patience = Instant::now() + Duration::from_secs(20);
    while !attached.stdout().contains("got hello") {
        assert!(Instant::now() < patience, "never heard");
        attached.write("hello\n");
        std::thread::sleep(Duration::from_millis(100));
    }
    attached.write("quit\n");
    let output = attached.finish();
    assert_eq!(output.code, 6, "{output}");
}

#[test]
fn logs_are_kept_and_followed() {
    let engine = TestEngine::with_busybox();
    let script = "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done; sleep 1; echo late";
    engine.ok(["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    let mut follower = engine.cmd("logs -f box").spawn();
    follower.wait_for("late");
    let followed = follower.finish();
    assert_eq!(
        followed.out(),
        "out 1\nout 2\nout 3\nout 4\nout 5\nlate",
        "{followed}"
    );
    assert_eq!(followed.err(), "err 1\nerr 2\nerr 3\nerr 4\nerr 5");
    assert_eq!(engine.run("logs --tail 1 box").out(), "late");
    assert_eq!(engine.run("logs -n 0 box").out(), "");
    let stamped = engine.ok("logs -t --tail 1 box");
    let (stamp, line) = stamped.split_once(' ').expect("a time");
    assert_eq!(line, "late");
    assert!(
        stamp.ends_with('Z') && stamp.contains('T') && stamp.len() == "2026-01-01T00:00:00.000000000Z".len(),
        "{stamp}"
    );
    assert_eq!(engine.run(["logs", "--since", stamp, "box"]).out(), "late");
    assert!(!engine.run(["logs", "--until", stamp, "box"]).out().is_empty());
    assert_eq!(engine.run("logs --since 1h --until 30m box").out(), "");
    let unknown = engine.fails(1, "logs nosuch");
    assert!(unknown.contains("No such container: nosuch"), "{unknown}");
}

#[test]
fn a_line_without_end_is_logged_too() {
    let engine = TestEngine::with_busybox();
    engine.ok(["run", "--name", "box", "busybox", "sh", "-c", "printf 'no end'"]);
    assert_eq!(engine.run("logs box").stdout, b"no end");
    engine.ok([
        "run",
        "--name",
        "long",
        "busybox",
        "sh",
        "-c",
        "head -c 50000 /dev/zero | tr '\\0' x; echo",
    ]);
    assert_eq!(
        engine.run("logs long").stdout.len(),
        50_001,
        "long lines are whole"
    );
}
