//! Containers made by runtimes of the host: runc and crun, as Debian has them. What holds of ours holds of theirs.

use std::os::unix::fs::PermissionsExt;

use fs_err as fs;
use havre_testing::{Image, Surroundings, TestEngine, eventually};

/// Where version 2 is mounted beside controllers of version 1.
const HYBRID: &str = "/sys/fs/cgroup/unified";

/// An engine, and `run` with the runtime and further words.
fn with(runtime: &str, test: impl Fn(&TestEngine, &dyn Fn(&[&str]) -> Vec<String>)) {
    let nothing = tempfile::tempdir().expect("a directory");
    let engine = match runtime {
        // It works with version 2 or without, not beside: where controllers are on both, the daemon sees nothing of version 2.
        "crun" if fs::exists(HYBRID).is_ok_and(|hybrid| hybrid) => TestEngine::amid(Surroundings {
            files: vec![(HYBRID.into(), nothing.path().to_owned())],
            ..Surroundings::default()
        }),
        _ => TestEngine::start(),
    };
    engine.load(&Image::busybox(), "busybox:latest");
    let run = |words: &[&str]| {
        let all = [&["run", "--runtime", runtime], words].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    test(&engine, &run);
    let ids = engine.ok("ps -aq --no-trunc");
    if !ids.is_empty() {
        engine.ok(format!("rm -f {}", ids.replace('\n', " ")));
    }
    for id in ids.lines() {
        eventually("its cgroups are gone", || cgroups(id).is_empty());
    }
}

/// The cgroups of a container, of every controller.
fn cgroups(id: &str) -> Vec<String> {
    let mut found = Vec::new();
    for controller in fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten() {
        for parent in ["", "havre"] {
            let path = controller.path().join(parent).join(id);
            if path.is_dir() {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

fn life(runtime: &str) {
    with(runtime, |engine, run| {
        let busybox = |options: &[&'static str], script: &'static str| {
            run(&[options, &["busybox", "sh", "-c", script]].concat())
        };
        let output = engine
            .cmd(busybox(&["--rm", "-i"], "cat; echo err >&2; exit 3"))
            .stdin("in\n")
            .run();
        assert_eq!(format!("{}, {}", output.out(), output.err()), "in, err");
        output.fails(3);
        let terminal = engine.ok(busybox(&["--rm", "-t"], "tty; echo err >&2"));
        assert_eq!(terminal.replace('\r', ""), "/dev/pts/0\nerr");
        // As ours confine: the same capabilities, the same filter, the same devices.
        let status = "grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/self/status; cat /proc/self/oom_score_adj; id; ls /dev | grep -v core";
        assert_eq!(
            engine.ok(busybox(&["--rm"], status)),
            engine.ok(["run", "--rm", "busybox", "sh", "-c", status])
        );

        engine.ok(busybox(
            &["-d", "--name", "web", "-m", "64m", "-v", "kept:/kept"],
            "trap 'echo bye; exit 7' TERM; while true; do echo tick; sleep 0.2; done",
        ));
        assert_eq!(engine.inspect("web")["HostConfig"]["Runtime"], runtime);
        eventually("it speaks", || engine.ok("logs web").contains("tick"));
        let who = engine.ok([
            "exec",
            "-u",
            "1000:7",
            "-e",
            "A=b",
            "web",
            "sh",
            "-c",
            "id -u; id -g; echo $A",
        ]);
        assert_eq!(who, "1000\n7\nb");
        let exec = engine.ok([
            "exec",
            "-t",
            "web",
            "sh",
            "-c",
            "tty; grep Seccomp: /proc/self/status; cat /proc/self/oom_score_adj",
        ]);
        assert!(
            exec.starts_with("/dev/pts/") && exec.replace('\r', "").ends_with("Seccomp:\t2\n0"),
            "{exec}"
        );
        engine.fails(5, ["exec", "web", "sh", "-c", "echo failing >&2; exit 5"]);
        let missing = engine.run("exec web nosuch").out();
        assert!(missing.contains("not found in $PATH"), "{missing}");
        let detached = engine.ok(["exec", "-d", "web", "sh", "-c", "echo done > /kept/file"]);
        assert_eq!(detached, "");
        eventually("the detached one is done", || {
            engine.run("exec web cat /kept/file").out() == "done"
        });
        engine.ok("pause web");
        assert!(engine.ok("ps").contains("(Paused)"));
        engine.ok("unpause web");
        engine.ok("update --memory 32m --memory-swap 64m web");
        let stats = engine.ok("stats --no-stream web");
        assert!(stats.contains("/ 32MiB"), "{stats}");
        assert!(engine.ok("top web").contains("sleep 0.2"));

        // The daemon is killed, and another one finds everything.
        engine.kill_daemon();
        engine.start_daemon();
        let before = engine.ok("logs web").lines().count();
        eventually("its log goes on", || {
            engine.ok("logs web").lines().count() > before
        });
        assert_eq!(engine.ok("exec web cat /kept/file"), "done");
        engine.ok("stop -t 20 web");
        assert_eq!(engine.inspect("web")["State"]["ExitCode"], 7);
        assert!(engine.ok("logs web").ends_with("bye"));
        engine.ok("start web");
        engine.ok("kill web");
        assert_eq!(engine.ok("wait web"), "137");
        // It ends while there is no daemon.
        engine.ok("start web");
        let pid = engine.inspect("web")["State"]["Pid"].as_i64().expect("pid");
        engine.kill_daemon();
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("pid")).expect("pid");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
        engine.start_daemon();
        assert_eq!(engine.inspect("web")["State"]["ExitCode"], 137);
    });
}

#[test]
fn runc_makes_containers() {
    life("runc");
}

#[test]
fn crun_makes_containers() {
    life("crun");
}

#[test]
fn what_does_not_start_is_told_as_ever() {
    for runtime in ["runc", "crun"] {
        with(runtime, |engine, run| {
            for (command, code) in [("nosuch", 127), ("/nosuch", 127), ("/etc/passwd", 126)] {
                let told = engine.fails(code, run(&["--rm", "busybox", command]));
                assert!(
                    told.contains(&format!("OCI runtime create failed: {runtime} create failed: ")),
                    "{told}"
                );
                assert_eq!(
                    told.matches("create failed: unable").count(),
                    usize::from(runtime == "runc"),
                    "{told}"
                );
            }
            assert_eq!(engine.ok("ps -aq"), "");
        });
    }
}

#[test]
fn an_init_of_the_host_stands_in() {
    with("runc", |engine, run| {
        let processes = engine.ok(run(&["--rm", "--init", "busybox", "ps"]));
        assert!(processes.contains("1 root     /dev/init -- ps"), "{processes}");
        engine.ok(run(&["--name", "left", "--init", "busybox", "true"]));
        assert_eq!(engine.ok("diff left"), "", "nothing of it stays behind");
    });
}

#[test]
fn runtimes_are_listed_configured_and_refused() {
    let engine = TestEngine::with_busybox();
    let script = engine.files(
        "bin",
        &[(
            "tell",
            "#!/bin/sh\necho \"$@\" >> \"$(dirname \"$0\")/told\"\nshift\nexec runc \"$@\"\n",
        )],
    );
    let script = script.join("tell");
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("mode");
    engine.configure(&format!(
        "default-runtime = \"mine\"\n[runtimes.mine]\npath = {script:?}\nargs = [\"--always\"]\n[runtimes.absent]\npath = \"/no/such/program\"\n"
    ));
    engine.ok("run -d --name older busybox sleep 1000");
    engine.stop_daemon();
    engine.start_daemon();
    let info = engine.ok(["info", "-f", "{{json .Runtimes}} {{.DefaultRuntime}}"]);
    for part in [
        "\"havre\":",
        "\"runc\":",
        "\"crun\":",
        "\"mine\":",
        "--always",
        "} mine",
    ] {
        assert!(info.contains(part), "{info}");
    }
    assert!(!info.contains("absent"), "{info}");
    engine.ok("run --rm busybox true");
    engine.ok("run --rm --runtime io.containerd.runc.v2 busybox true");
    let told = fs::read_to_string(script.with_file_name("told")).expect("it was asked");
    assert!(
        told.lines().all(|line| line.starts_with("--always --root ")),
        "{told}"
    );
    assert_eq!(
        told.lines().filter(|line| line.contains(" create ")).count(),
        2,
        "{told}"
    );
    // One that exists keeps what made it.
    assert_eq!(engine.inspect("older")["HostConfig"]["Runtime"], "havre");
    engine.ok("restart -t 0 older");
    let unknown = engine.fails(125, "run --rm --runtime nosuch busybox true");
    assert!(
        unknown.contains("unknown or invalid runtime name: nosuch (there are crun, havre, mine, runc)"),
        "{unknown}"
    );
    let absent = engine.fails(125, "run --rm --runtime absent busybox true");
    assert!(
        absent.contains("runtime absent: there is no program /no/such/program"),
        "{absent}"
    );
}
