//! Further processes in a running container. Needs root and cgroups.

#![allow(clippy::unwrap_used)]

mod support;

use havre_runtime::{RuntimeError, StartError};
use support::*;

fn sleeper(bench: &Bench) -> havre_runtime::Shim {
    bench.start(&bench.sh("trap 'exit 0' TERM; while :; do sleep 0.1; done"))
}

fn env() -> Vec<String> {
    vec!["PATH=/bin".into(), "B=2".into()]
}

#[test]
fn output_and_status() {
    let bench = Bench::new();
    let shim = sleeper(&bench);
    let mut spec = exec_spec(
        "e1",
        &["sh", "-c", "echo out; echo err >&2; echo $B $HOME; exit 5"],
    );
    spec.env = env();
    let exec = shim.exec(&spec).unwrap();
    assert!(!shim.pids().unwrap().is_empty());
    let (stdout, stderr) = read_frames(exec.stream.unwrap());
    assert_eq!((stdout.as_str(), stderr.as_str()), ("out\n2 /root\n", "err\n"));
    assert_eq!(shim.exec_wait("e1").unwrap().code, 5);
    assert_eq!(shim.exec_wait("e1").unwrap().code, 5, "asked again");
    assert!(matches!(
        shim.exec_wait("e2"),
        Err(RuntimeError::NoSuchExec { .. })
    ));
    assert!(
        !fs_err::read_to_string(bench.log_path()).unwrap().contains("out"),
        "only init's output is logged"
    );
    let leftovers = fs_err::read_dir(bench.config.state_dir.join("c1/state/c1")).unwrap();
    let sockets = leftovers
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("tenant"))
        .count();
    assert_eq!(sockets, 0);
}

#[test]
fn failures() {
    let bench = Bench::new();
    let shim = sleeper(&bench);
    let error = |args: &[&str]| {
        let mut spec = exec_spec("e", args);
        spec.env = env();
        let error = shim.exec(&spec).unwrap_err();
        (error.exit_code(), error.to_string())
    };
    assert_eq!(
        error(&["nope"]),
        (127, r#"exec: "nope": executable file not found in $PATH"#.into())
    );
    assert_eq!(
        error(&["/etc/passwd"]),
        (126, r#"exec: "/etc/passwd": permission denied"#.into())
    );
    let mut spec = exec_spec("e", &["true"]);
    spec.cwd = "/missing".into();
    let failure = shim.exec(&spec).unwrap_err();
    assert!(
        matches!(failure, StartError::WorkingDirectory { .. }),
        "{failure}"
    );
    assert_eq!(failure.exit_code(), 127);
    assert_eq!(
        failure.to_string(),
        "chdir to cwd (\"/missing\") set in config.json failed: no such file or directory"
    );
    let mut spec = exec_spec("e", &["true"]);
    spec.user = "ghost".into();
    assert_eq!(
        shim.exec(&spec).unwrap_err().to_string(),
        "unable to find user ghost: no matching entries in passwd file"
    );
    // The container is none the worse.
    assert!(shim.state().unwrap().exit.is_none());
    shim.kill(15).unwrap();
    assert_eq!(shim.wait().unwrap().code, 0);
    assert!(shim.exec(&exec_spec("e", &["true"])).is_err());
}

#[test]
fn confined_like_the_container() {
    let bench = Bench::new();
    let mut container = bench.sh("sleep 60");
    container.cap_drop = vec!["CHOWN".into()];
    container.cwd = "/tmp".into();
    let shim = bench.start(&container);
    let output = |change: &dyn Fn(&mut havre_runtime::ExecSpec), name: &str| {
        let mut spec = exec_spec(
            name,
            &[
                "sh",
                "-c",
                "cat /proc/self/status; id -u; id -G; pwd; cat /proc/1/comm",
            ],
        );
        change(&mut spec);
        read_frames(shim.exec(&spec).unwrap().stream.unwrap()).0
    };
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().to_owned()
    };
    let text = output(&|_| (), "plain");
    assert_eq!(field(&text, "CapEff"), "00000000a80425fa");
    assert_eq!(field(&text, "CapBnd"), "00000000a80425fa");
    assert_eq!(field(&text, "Seccomp"), "2");
    assert!(
        text.ends_with("\n0\n0\n/tmp\nsleep\n") || text.ends_with("\n0\n0\n/tmp\nsh\n"),
        "{text}"
    );
    let text = output(
        &|spec| {
            spec.user = "app".into();
            spec.cwd = "/etc".into();
        },
        "user",
    );
    assert_eq!(field(&text, "CapEff"), "0000000000000000");
    assert_eq!(field(&text, "Seccomp"), "2");
    assert!(text.contains("\n1000\n1001 50\n/etc\n"), "{text}");
    let text = output(&|spec| spec.privileged = true, "privileged");
    assert_eq!(field(&text, "CapEff"), all_capabilities());
}

#[test]
fn terminal_input_and_resize() {
    let bench = Bench::new();
    let shim = sleeper(&bench);
    let mut spec = exec_spec("t", &["sh"]);
    spec.tty = true;
    spec.tty_size = Some((100, 30));
    spec.attach = ALL;
    let exec = shim.exec(&spec).unwrap();
    let stream = exec.stream.unwrap();
    send(&stream, "stty size; tty\n");
    let text = read_until(&stream, "/dev/pts/");
    assert!(text.contains("30 100"), "{text}");
    shim.exec_resize("t", 90, 20).unwrap();
    send(&stream, "stty size\n");
    read_until(&stream, "20 90");
    send(&stream, "exit 4\n");
    assert_eq!(shim.exec_wait("t").unwrap().code, 4);
}

#[test]
fn input_ends() {
    let bench = Bench::new();
    let shim = sleeper(&bench);
    let mut spec = exec_spec("cat", &["cat"]);
    spec.attach = ALL;
    let stream = shim.exec(&spec).unwrap().stream.unwrap();
    send(&stream, "through");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_frames(stream).0, "through");
    assert_eq!(shim.exec_wait("cat").unwrap().code, 0);
}

#[test]
fn killed_alone_and_with_the_container() {
    let bench = Bench::new();
    let shim = sleeper(&bench);
    shim.exec(&exec_spec("a", &["sleep", "100"])).unwrap();
    shim.exec_kill("a", 9).unwrap();
    assert_eq!(shim.exec_wait("a").unwrap().code, 137);
    shim.exec(&exec_spec("b", &["sleep", "100"])).unwrap();
    let waiter = std::thread::spawn({
        let shim = shim.clone();
        move || shim.exec_wait("b").unwrap().code
    });
    std::thread::sleep(std::time::Duration::from_millis(100));
    shim.kill(9).unwrap();
    assert_eq!(waiter.join().unwrap(), 137);
    assert_eq!(shim.wait().unwrap().code, 137);
}
