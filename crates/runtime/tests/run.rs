//! Containers from create to delete: exit codes, start errors, streams, logs, init. Needs root.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use havre_runtime::{ExitStatus, Reattached, RuntimeError, StartError};
use support::*;

#[test]
fn exit_codes_and_output() {
    let bench = Bench::new();
    let (exit, stdout, stderr) = bench.run(&bench.sh("echo out; echo err >&2; exit 7"));
    assert_eq!((exit.code, exit.oom_killed), (7, false));
    assert_eq!((stdout.as_str(), stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(bench.run(&bench.spec(&["true"])).0.code, 0);
    let (exit, ..) = bench.run(&bench.sh("kill -9 $$; exit 3"));
    assert_eq!(exit.code, 3, "process 1 cannot be killed from inside");
}

#[test]
fn programs_that_cannot_run() {
    let bench = Bench::new();
    let error = |args: &[&str]| {
        let error = bench.create_error(&bench.spec(args));
        (error.exit_code(), error.to_string())
    };
    assert_eq!(
        error(&["nope"]),
        (127, r#"exec: "nope": executable file not found in $PATH"#.into())
    );
    assert_eq!(
        error(&["/x"]),
        (127, r#"exec: "/x": stat /x: no such file or directory"#.into())
    );
    assert_eq!(
        error(&["/etc/passwd"]),
        (126, r#"exec: "/etc/passwd": permission denied"#.into())
    );
    assert_eq!(error(&["/etc"]), (126, r#"exec: "/etc": is a directory"#.into()));

    // Found out only by executing: as under Docker, in its output and exit status.
    let script = bench.rootfs().join("script");
    fs_err::write(&script, "#!/missing/interpreter\n").unwrap();
    fs_err::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (exit, _, stderr) = bench.run(&bench.spec(&["/script"]));
    assert_eq!(
        (exit.code, stderr.as_str()),
        (255, "exec /script: no such file or directory\n")
    );

    let mut spec = bench.spec(&["true"]);
    spec.user = "ghost".into();
    let error = bench.create_error(&spec);
    assert_eq!(
        error.to_string(),
        "unable to find user ghost: no matching entries in passwd file"
    );
    let mut spec = bench.spec(&["true"]);
    spec.cwd = "/etc/passwd".into();
    let error = bench.create_error(&spec);
    assert!(matches!(error, StartError::WorkingDirectory { .. }), "{error}");
    assert_eq!(error.exit_code(), 126);
}

#[test]
fn environment_working_directory_and_user() {
    let bench = Bench::new();
    let mut spec = bench.sh("pwd; id -u; id -g; id -G; echo $HOME $PATH $HOSTNAME $A; hostname");
    spec.cwd = "/made/here".into();
    spec.user = "app".into();
    spec.env = vec!["A=b c".into()];
    spec.hostname = "box".into();
    assert_eq!(
        bench.output(&spec),
        "/made/here\n1000\n1001\n1001 50\n/home/app \
         /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin box b c\nbox\n"
    );
}

#[test]
fn unprivileged_programs_open_their_streams_again() {
    let bench = Bench::new();
    let mut spec = bench.sh("echo again > /dev/stdout; echo bad > /dev/stderr");
    spec.user = "app".into();
    assert_eq!(bench.output(&spec), "again\n");
}

#[test]
fn log_is_exact() {
    let bench = Bench::new();
    let script = "echo one; printf '%020000d' 7; echo; printf end";
    let (exit, ..) = bench.run(&bench.sh(script));
    assert_eq!(exit.code, 0);
    let text = fs_err::read_to_string(bench.log_path()).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let logs: Vec<&str> = lines.iter().map(|line| line["log"].as_str().unwrap()).collect();
    assert_eq!(logs[0], "one\n");
    assert_eq!((logs[1].len(), logs[2].len()), (16384, 20000 - 16384 + 1));
    assert_eq!(logs[3], "end");
    assert_eq!(lines[1]["time"], lines[2]["time"]);
    assert!(text.starts_with("{\"log\":\"one\\n\",\"stream\":\"stdout\",\"time\":\"20"));
}

#[test]
fn log_is_rotated() {
    let bench = Bench::new();
    let mut spec = bench.sh("seq 1 3000");
    spec.log.max_size = Some(20_000);
    spec.log.max_files = 3;
    bench.output(&spec);
    let size = |name: &str| fs_err::metadata(bench.directory.path().join(name)).unwrap().len();
    for name in ["log", "log.1", "log.2"] {
        assert!(size(name) > 0 && size(name) < 21_000, "{name}");
    }
    assert!(!bench.directory.path().join("log.3").exists());
}

#[test]
fn standard_input_half_close() {
    let bench = Bench::new();
    let mut spec = bench.spec(&["cat"]);
    spec.stdin = true;
    spec.stdin_once = true;
    let shim = bench.runtime.create(&spec).unwrap();
    let stream = shim.attach(ALL).unwrap();
    shim.start().unwrap();
    let big = "0123456789".repeat(50_000);
    let writer = std::thread::spawn({
        let (stream, big) = (stream.try_clone().unwrap(), big.clone());
        move || {
            send(&stream, &big);
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
    });
    let (stdout, _) = read_frames(stream);
    writer.join().unwrap();
    assert_eq!(stdout.len(), big.len());
    assert!(stdout == big);
    assert_eq!(shim.wait().unwrap().code, 0);
}

#[test]
fn several_clients_detach_and_attach() {
    let bench = Bench::new();
    let mut spec = bench.sh("while read line; do echo got $line; done");
    spec.stdin = true;
    let shim = bench.start(&spec);
    let first = shim.attach(ALL).unwrap();
    let second = shim.attach(OUTPUT).unwrap();
    send(&first, "one\n");
    read_until(&first, "got one");
    read_until(&second, "got one");
    drop(first);
    let third = shim.attach(ALL).unwrap();
    send(&third, "two\n");
    read_until(&third, "got two");
    read_until(&second, "got two");
    assert!(shim.state().unwrap().exit.is_none());
    shim.kill(9).unwrap();
    assert_eq!(shim.wait().unwrap().code, 137);
    assert!(matches!(shim.kill(9), Err(RuntimeError::NotRunning { .. })));
}

#[test]
fn terminal_and_resize() {
    let bench = Bench::new();
    let mut spec =
        bench.sh("stty size; tty; trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.1; done");
    spec.tty = true;
    spec.stdin = true;
    spec.tty_size = Some((80, 24));
    spec.user = "app".into();
    let shim = bench.runtime.create(&spec).unwrap();
    let stream = shim.attach(ALL).unwrap();
    shim.start().unwrap();
    let first = read_until(&stream, "ready");
    assert!(first.starts_with("24 80\r\n/dev/pts/0\r\n"), "{first:?}");
    shim.resize(132, 50).unwrap();
    read_until(&stream, "50 132");
    assert_eq!(shim.wait().unwrap().code, 5);
}

#[test]
fn job_control_works_on_a_terminal() {
    let bench = Bench::new();
    for init in [false, true] {
        let mut spec = bench.spec(&["sh"]);
        (spec.tty, spec.stdin, spec.init) = (true, true, init);
        let shim = bench.runtime.create(&spec).unwrap();
        let stream = shim.attach(ALL).unwrap();
        shim.start().unwrap();
        send(&stream, "sleep 100; echo after $?\n");
        std::thread::sleep(Duration::from_millis(300));
        send(&stream, "\x03");
        send(&stream, "echo still; exit 3\n");
        let text = read_until(&stream, "still\r\n");
        assert!(!text.contains("can't access tty"), "{text}");
        assert_eq!(shim.wait().unwrap().code, 3);
        bench.runtime.delete("c1").unwrap();
    }
}

#[test]
fn init_reaps_forwards_and_passes_the_status() {
    let bench = Bench::new();
    let mut spec = bench.sh("(sleep 0.1 & exec true); sleep 0.5; ps -o pid,stat,comm; exit 9");
    spec.init = true;
    let (exit, stdout, _) = bench.run(&spec);
    assert_eq!(exit.code, 9);
    assert!(
        stdout.contains("docker-init") && !stdout.contains(" Z"),
        "{stdout}"
    );

    let mut spec = bench.sh("trap 'echo term; exit 4' TERM; echo ready; while :; do sleep 0.1; done");
    spec.init = true;
    let shim = bench.runtime.create(&spec).unwrap();
    let stream = shim.attach(OUTPUT).unwrap();
    shim.start().unwrap();
    read_until(&stream, "ready");
    shim.kill(15).unwrap();
    assert_eq!(shim.wait().unwrap().code, 4);
    assert_eq!(read_frames(stream).0, "term\n");
    bench.runtime.delete("c1").unwrap();

    let mut spec = bench.spec(&["nope"]);
    spec.init = true;
    assert_eq!(bench.create_error(&spec).exit_code(), 127);
}

#[test]
fn a_created_container_waits_and_can_be_deleted() {
    let bench = Bench::new();
    let spec = bench.spec(&["true"]);
    let shim = bench.runtime.create(&spec).unwrap();
    let state = shim.state().unwrap();
    assert!(state.started_at.is_none() && state.pid > 0);
    assert!(matches!(
        bench.runtime.create(&spec),
        Err(StartError::Runtime(RuntimeError::Exists { .. }))
    ));
    assert_eq!(shim.pids().unwrap(), [state.pid]);
    bench.runtime.delete("c1").unwrap();
    bench.runtime.delete("c1").unwrap();
    assert!(matches!(bench.runtime.reattach("c1").unwrap(), Reattached::Gone));
    for pid in [state.pid, state.shim_pid] {
        eventually("its processes are gone", || {
            fs_err::metadata(format!("/proc/{pid}")).is_err()
        });
    }
}

#[test]
fn the_shim_ends_with_its_container_and_the_status_stays() {
    let bench = Bench::new();
    let shim = bench.start(&bench.sh("exit 42"));
    let shim_pid = shim.state().map(|state| state.shim_pid).unwrap_or(0);
    assert_eq!(shim.wait().unwrap().code, 42);
    if shim_pid > 0 {
        eventually("the shim ends", || {
            fs_err::metadata(format!("/proc/{shim_pid}")).is_err()
        });
    }
    assert_eq!(shim.wait().unwrap().code, 42);
    let other = havre_runtime::Runtime::new(bench.config.clone()).unwrap();
    assert!(matches!(
        other.reattach("c1").unwrap(),
        Reattached::Exited(ExitStatus { code: 42, .. })
    ));
}

#[test]
fn a_container_outlives_whoever_started_it() {
    let bench = Bench::new();
    // A process that starts a container and is killed: this test binary itself, with one test in it.
    let mut daemon = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_daemon", "--include-ignored", "--nocapture"])
        .env("HELPER_DIRECTORY", bench.directory.path())
        .env("HELPER_CGROUP", &bench.config.cgroup_parent)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the container runs", || {
        fs_err::read_to_string(bench.log_path()).is_ok_and(|log| log.contains("ready"))
    });
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let Reattached::Running(shim) = bench.runtime.reattach("c1").unwrap() else {
        panic!("not running")
    };
    let stream = shim.attach(ALL).unwrap();
    send(&stream, "hello\n");
    read_until(&stream, "got hello");
    shim.kill(15).unwrap();
    assert_eq!(shim.wait().unwrap().code, 6);
    assert!(
        fs_err::read_to_string(bench.log_path())
            .unwrap()
            .contains("got hello")
    );
}

#[test]
#[ignore = "the process that a_container_outlives_whoever_started_it kills"]
fn helper_daemon() {
    let Some(directory) = std::env::var_os("HELPER_DIRECTORY") else {
        return;
    };
    let directory = std::path::PathBuf::from(directory);
    let runtime = havre_runtime::Runtime::new(havre_runtime::RuntimeConfig {
        shim_program: Some(shim_program()),
        shim_args: vec!["shim".into()],
        state_dir: directory.join("state"),
        cgroup_parent: std::env::var("HELPER_CGROUP").unwrap(),
    })
    .unwrap();
    let script = "trap 'exit 6' TERM; echo ready; while :; do read -t 1 line && echo got $line; done";
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    let mut spec = havre_runtime::ContainerSpec::new("c1", directory.join("rootfs"), args);
    spec.stdin = true;
    spec.log.path = Some(directory.join("log"));
    let shim = runtime.create(&spec).unwrap();
    shim.start().unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn the_shim_is_small() {
    let bench = Bench::new();
    let shim = bench.start(&bench.sh("sleep 30"));
    std::thread::sleep(Duration::from_millis(1200));
    let pid = shim.state().unwrap().shim_pid;
    std::thread::sleep(Duration::from_millis(1200));
    let rollup = fs_err::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let field = |name: &str| -> u64 {
        let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    };
    println!("{rollup}");
    // What is the process's own: heap, stack, relocations. (The program's pages are shared by all shims.)
    assert!(field("Anonymous:") < 1000, "{rollup}");
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Threads:\t1\n"));
}

#[test]
fn a_paused_container_stands_still_and_can_be_deleted() {
    let bench = Bench::new();
    let shim = bench.start(&bench.sh("while :; do echo tick; sleep 0.02; done"));
    let lines = || {
        fs_err::read_to_string(bench.log_path())
            .unwrap_or_default()
            .lines()
            .count()
    };
    eventually("it runs", || lines() > 3);
    shim.pause().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let before = lines();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(lines(), before);
    shim.resume().unwrap();
    eventually("it goes on", || lines() > before + 3);
    shim.pause().unwrap();
    let pid = shim.state().unwrap().pid;
    bench.runtime.delete("c1").unwrap();
    eventually("it is gone", || fs_err::metadata(format!("/proc/{pid}")).is_err());
}
