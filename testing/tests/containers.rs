//! Containers, end to end: run and its flags, lifecycle, exec, logs, cp, volumes, limits, confinement. Needs root.

use std::time::{Duration, Instant};

use fs_err as fs;
use havre_testing::{Image, Layer, TestEngine, eventually};
use rustix::process::Signal;
use serde_json::json;

fn hex(length: usize, text: &str) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

// ---- run: output, input, exit codes ------------------------------------------------------------------------------

#[test]
fn output_and_error_come_apart() {
    let engine = TestEngine::with_busybox();
    let output = engine.run([
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 3",
    ]);
    assert_eq!(
        (output.code, output.out().as_str(), output.err().as_str()),
        (3, "out", "err"),
        "{output}"
    );
}

#[test]
fn exit_codes_are_dockers() {
    let engine = TestEngine::with_busybox();
    assert_eq!(engine.run("run --rm busybox true").code, 0);
    assert_eq!(engine.run("run --rm busybox false").code, 1);

    let missing = engine.fails(127, "run --name missing busybox no-such-program");
    assert!(
        missing.contains("exec: \"no-such-program\": executable file not found in $PATH"),
        "{missing}"
    );
    let denied = engine.fails(126, "run --rm busybox /etc/passwd");
    assert!(
        denied.contains("/etc/passwd") && denied.contains("permission denied"),
        "{denied}"
    );
    let folder = engine.fails(126, "run --rm busybox /etc");
    assert!(
        folder.contains("/etc")
            && (folder.contains("is a directory") || folder.contains("permission denied")),
        "{folder}"
    );
    let bad = engine.fails(125, "run --rm --no-such-flag busybox true");
    assert!(bad.contains("unknown flag: --no-such-flag"), "{bad}");
    assert_eq!(
        engine.ok(["ps", "-a", "--filter", "name=missing", "--format", "{{.Status}}"]),
        "Created"
    );
    assert_eq!(engine.inspect("missing")["State"]["ExitCode"], 127);
}

#[test]
fn standard_input_reaches_the_program() {
    let engine = TestEngine::with_busybox();
    let text = "line one\nline two\n".repeat(20_000);
    let counted = engine.cmd("run --rm -i busybox wc -l").stdin(text).ok();
    assert_eq!(counted, "40000");
    assert_eq!(
        engine
            .cmd("run --rm busybox cat")
            .stdin("ignored without -i")
            .ok(),
        ""
    );
    let echoed = engine
        .cmd("run --rm -i busybox cat")
        .stdin(vec![0, 255, b'\n', 7])
        .run();
    assert_eq!(echoed.stdout, [0, 255, b'\n', 7], "bytes pass as they are");
}

#[test]
fn a_large_output_is_complete() {
    let engine = TestEngine::with_busybox();
    let output = engine.run([
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "yes 0123456789abcde | head -c 8000000; echo end >&2",
    ]);
    assert_eq!(
        (output.code, output.stdout.len(), output.err().as_str()),
        (0, 8_000_000, "end")
    );
}

#[test]
fn a_detached_container_is_named_by_its_id() {
    let engine = TestEngine::with_busybox();
    let id = engine.ok("run -d --name sleeper busybox sleep 100");
    assert!(hex(64, &id), "{id}");
    assert_eq!(engine.ok("ps -q --no-trunc"), id);
    assert_eq!(engine.ok("ps -q"), id[..12]);
    let line = engine.ok([
        "ps",
        "--format",
        "{{.ID}} {{.Image}} {{.Command}} {{.State}} {{.Names}}",
    ]);
    assert_eq!(
        line,
        format!("{} busybox \"sleep 100\" running sleeper", &id[..12])
    );
    assert!(engine.ok(["ps", "--format", "{{.Status}}"]).starts_with("Up "));
    assert_eq!(
        engine.ok(["inspect", "-f", "{{.State.Running}} {{.Name}}", &id[..6]]),
        "true /sleeper"
    );
}

#[test]
fn a_terminal_has_its_line_ends() {
    let engine = TestEngine::with_busybox();
    let output = engine.run(["run", "--rm", "-t", "busybox", "sh", "-c", "tty; echo err >&2"]);
    assert_eq!(output.stdout, b"/dev/pts/0\r\nerr\r\n", "{output}");
}

#[test]
fn removed_after_the_run() {
    let engine = TestEngine::with_busybox();
    engine.ok("run --rm --name gone busybox true");
    assert_eq!(engine.ok("ps -aq"), "");
    engine.ok("run -d --rm --name gone busybox true");
    eventually("the container is removed", || engine.ok("ps -aq").is_empty());
}

#[test]
fn the_id_goes_to_a_file() {
    let engine = TestEngine::with_busybox();
    let file = engine.dir().join("cid");
    let path = file.to_string_lossy().into_owned();
    engine.ok(["run", "--cidfile", &path, "busybox", "true"]);
    assert_eq!(
        fs::read_to_string(&file).expect("cidfile"),
        engine.ok("ps -aq --no-trunc")
    );
    let again = engine.fails(125, ["run", "--cidfile", &path, "busybox", "true"]);
    assert!(again.contains("container ID file found"), "{again}");
}

#[test]
fn an_interrupt_reaches_the_program() {
    let engine = TestEngine::with_busybox();
    let script = "trap 'echo interrupted; exit 7' INT; echo ready; while true; do sleep 0.05; done";
    let mut running = engine
        .cmd(["run", "--rm", "-i", "busybox", "sh", "-c", script])
        .spawn();
    running.wait_for("ready");
    running.signal(Signal::INT);
    let output = running.finish();
    assert_eq!(
        (output.code, output.out().as_str()),
        (7, "ready\ninterrupted"),
        "{output}"
    );
}

// ---- environment, user, directory, command -----------------------------------------------------------------------

#[test]
fn the_environment_is_the_images_then_ours() {
    let engine = TestEngine::start();
    let image = Image::busybox().with_config("Env", json!(["PATH=/bin", "FROM_IMAGE=1", "CHANGED=image"]));
    engine.load(&image, "env:latest");
    let file = engine
        .files(
            "env",
            &[("list", "# comment\nFROM_FILE=a b\nFROM_HOST\nCHANGED=file\n")],
        )
        .join("list");
    let command = format!(
        "run --rm --hostname box --env-file {} -e CHANGED=flag -e FROM_HOST2 -e EMPTY= env env",
        file.display()
    );
    let text = engine
        .cmd(command)
        .env("FROM_HOST", "host")
        .env("FROM_HOST2", "host2")
        .ok();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let expected = [
        "CHANGED=flag",
        "EMPTY=",
        "FROM_FILE=a b",
        "FROM_HOST2=host2",
        "FROM_HOST=host",
        "FROM_IMAGE=1",
        "HOME=/root",
        "HOSTNAME=box",
        "PATH=/bin",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn users_are_found_in_the_image() {
    let engine = TestEngine::with_busybox();
    let id = |user: &str| engine.ok(format!("run --rm -u {user} busybox id"));
    assert_eq!(
        id("user"),
        "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)"
    );
    assert_eq!(
        id("1000"),
        "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)"
    );
    assert_eq!(id("1000:0"), "uid=1000(user) gid=0(root) groups=0(root)");
    assert_eq!(
        id("user:extra"),
        "uid=1000(user) gid=2000(extra) groups=2000(extra)"
    );
    assert_eq!(id("4242:4343"), "uid=4242 gid=4343 groups=4343");
    assert_eq!(
        engine.ok(["run", "--rm", "-u", "user", "busybox", "sh", "-c", "echo $HOME"]),
        "/home/user"
    );
    let unknown = engine.fails(125, "run --rm -u nosuch busybox id");
    assert!(
        unknown.contains("unable to find user nosuch: no matching entries in passwd file"),
        "{unknown}"
    );
    let group = engine.fails(125, "run --rm -u user:nosuch busybox id");
    assert!(
        group.contains("unable to find group nosuch: no matching entries in group file"),
        "{group}"
    );
}

#[test]
fn directory_entrypoint_and_command() {
    let engine = TestEngine::start();
    let image = Image::busybox()
        .with_config("Entrypoint", json!(["/bin/echo", "entry"]))
        .with_config("Cmd", json!(["command"]))
        .with_config("WorkingDir", json!("/tmp"));
    engine.load(&image, "entry:latest");
    assert_eq!(engine.ok("run --rm entry"), "entry command");
    assert_eq!(engine.ok("run --rm entry other words"), "entry other words");
    assert_eq!(engine.ok("run --rm --entrypoint pwd entry"), "/tmp");
    assert_eq!(
        engine.ok("run --rm --entrypoint pwd -w /made/on/the/way entry"),
        "/made/on/the/way"
    );
    let relative = engine.fails(125, "run --rm -w relative entry");
    assert!(
        relative.contains("is not an absolute path") || relative.contains("it needs to be an absolute path"),
        "{relative}"
    );
}

#[test]
fn the_host_has_a_name() {
    let engine = TestEngine::with_busybox();
    assert_eq!(
        engine.ok("run --rm --hostname box.example busybox hostname"),
        "box.example"
    );
    let id = engine.ok("create busybox hostname");
    assert_eq!(engine.ok(["start", "-a", &id]), id[..12]);
}

// ---- lifecycle ---------------------------------------------------------------------------------------------------

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

#[test]
fn a_list_is_filtered() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name up -l tier=web -l other busybox sleep 100");
    engine.ok(["run", "--name", "down", "-l", "tier=db", "busybox", "true"]);
    let names = |filters: &str| engine.ok(format!("ps -a --format {{{{.Names}}}} {filters}"));
    assert_eq!(names("--filter label=tier"), "down\nup");
    assert_eq!(names("--filter label=tier=web"), "up");
    assert_eq!(names("--filter label=other"), "up");
    assert_eq!(names("--filter status=exited"), "down");
    assert_eq!(names("--filter exited=0"), "down");
    assert_eq!(names("--filter name=u"), "up");
    assert_eq!(names("--filter ancestor=busybox"), "down\nup");
    assert_eq!(names("-n 1"), "down");
    assert_eq!(names("--filter label=nosuch"), "");
    let bad = engine.fails(1, "ps --filter nosuch=1");
    assert!(bad.to_lowercase().contains("invalid filter"), "{bad}");
}

// ---- exec, attach, logs, cp --------------------------------------------------------------------------------------

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

#[test]
fn files_are_copied_out_and_in() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "mkdir /data /data/sub; echo inside > /data/sub/file; exec sleep 100",
    ]);
    eventually("the file is there", || {
        engine.run("exec box cat /data/sub/file").code == 0
    });
    let here = engine.files("copy", &[("local/a", "one"), ("local/b/c", "two")]);
    let path = |name: &str| here.join(name).to_string_lossy().into_owned();
    engine.ok(["cp", "box:/data/sub/file", &path("fetched")]);
    assert_eq!(
        fs::read_to_string(here.join("fetched")).expect("file"),
        "inside\n"
    );
    engine.ok(["cp", "box:/data", &path("tree")]);
    assert_eq!(
        fs::read_to_string(here.join("tree/sub/file")).expect("file"),
        "inside\n"
    );
    engine.ok(["cp", &path("local"), "box:/data"]);
    assert_eq!(engine.ok("exec box cat /data/local/a /data/local/b/c"), "onetwo");
    engine.ok(["cp", &format!("{}/.", path("local")), "box:/data/sub"]);
    assert_eq!(engine.ok("exec box cat /data/sub/a"), "one");
    let archive = engine.cmd("cp box:/data/sub/file -").run();
    let mut entries = tar::Archive::new(&archive.stdout[..]);
    let names: Vec<_> = entries
        .entries()
        .expect("tar")
        .map(|entry| entry.expect("entry").path().expect("path").display().to_string())
        .collect();
    assert_eq!(names, ["file"]);
    engine
        .cmd("cp - box:/data")
        .stdin(Layer::new().file("streamed", "three").tar())
        .ok();
    assert_eq!(engine.ok("exec box cat /data/streamed"), "three");
    let missing = engine.fails(1, ["cp", "box:/nosuch", &path("x")]);
    assert!(
        missing.contains("Could not find the file /nosuch in container box"),
        "{missing}"
    );
    engine.ok("stop -t 0 box");
    engine.ok(["cp", &path("local/a"), "box:/data/stopped"]);
    engine.ok("start box");
    assert_eq!(
        engine.ok("exec box cat /data/stopped"),
        "one",
        "a stopped container takes files too"
    );
}

#[test]
fn a_copy_follows_no_link_out_of_the_container() {
    let engine = TestEngine::with_busybox();
    let outside = engine.files("outside", &[("secret", "secret")]);
    let target = outside.to_string_lossy().into_owned();
    engine.ok([
        "run",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        &format!("ln -s {target} /link; ln -s /etc /legit; ln -s ../../../../../../../.. /up"),
    ]);
    let here = engine
        .files("in", &[("planted", "x")])
        .join("planted")
        .to_string_lossy()
        .into_owned();
    engine.run(["cp", &here, "box:/link/"]);
    assert!(
        !outside.join("planted").exists(),
        "written through a link to the host"
    );
    let out = engine.dir().join("stolen");
    engine.run(["cp", "box:/link/secret", &out.to_string_lossy()]);
    assert!(!out.exists(), "read through a link to the host");
    engine.ok(["cp", &here, "box:/legit/planted"]);
    engine.ok([
        "cp",
        "box:/etc/planted",
        &engine.dir().join("back").to_string_lossy(),
    ]);
    engine.ok([
        "cp",
        "box:/up/etc/passwd",
        &engine.dir().join("passwd").to_string_lossy(),
    ]);
    let passwd = fs::read_to_string(engine.dir().join("passwd")).expect("file");
    assert!(passwd.contains("user:x:1000"), "the container's, not the host's");
}

#[test]
fn changes_and_processes_are_listed() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "-d",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "echo x > /etc/new; rm /etc/group; exec sleep 100",
    ]);
    eventually("the changes are there", || {
        engine.ok("diff box").lines().count() == 3
    });
    let mut changes: Vec<_> = engine.ok("diff box").lines().map(str::to_owned).collect();
    changes.sort_unstable();
    assert_eq!(changes, ["A /etc/new", "C /etc", "D /etc/group"]);
    let top = engine.ok("top box");
    assert!(
        top.lines().count() == 2 && top.contains("sleep 100") && top.starts_with("UID"),
        "{top}"
    );
}

// ---- volumes and mounts ------------------------------------------------------------------------------------------

#[test]
fn directories_of_the_host_are_mounted() {
    let engine = TestEngine::with_busybox();
    let host = engine.files("bind", &[("file", "from the host")]);
    let host = host.to_string_lossy().into_owned();
    assert_eq!(
        engine.ok(format!("run --rm -v {host}:/data busybox cat /data/file")),
        "from the host"
    );
    engine.ok([
        "run",
        "--rm",
        "-v",
        &format!("{host}:/data"),
        "busybox",
        "sh",
        "-c",
        "echo back > /data/back",
    ]);
    assert_eq!(
        fs::read_to_string(format!("{host}/back")).expect("file"),
        "back\n"
    );
    let read_only = engine.fails(1, format!("run --rm -v {host}:/data:ro busybox touch /data/x"));
    assert!(read_only.contains("Read-only file system"), "{read_only}");
    assert_eq!(
        engine.ok(format!(
            "run --rm --mount type=bind,source={host},target=/data,readonly busybox cat /data/file"
        )),
        "from the host"
    );
    assert_eq!(
        engine.ok(format!("run --rm -v {host}/file:/one busybox cat /one")),
        "from the host"
    );
    engine.ok(format!("run --rm -v {host}/made:/data busybox true"));
    assert!(
        fs::metadata(format!("{host}/made")).expect("made").is_dir(),
        "-v makes a missing directory"
    );
    let missing = engine.fails(
        125,
        format!("run --rm --mount type=bind,source={host}/nosuch,target=/data busybox true"),
    );
    assert!(missing.contains("bind source path does not exist"), "{missing}");
}

#[test]
fn a_named_volume_lives_on_and_begins_with_the_images_files() {
    let engine = TestEngine::start();
    let image = Image::busybox().with_layer(&Layer::new().dir_with_mode("seed", 0o700).file_of(
        "seed/file",
        "seeded",
        1000,
    ));
    engine.load(&image, "seeded:latest");
    assert_eq!(
        engine.ok("run --rm -v data:/seed seeded cat /seed/file"),
        "seeded"
    );
    assert_eq!(
        engine.ok([
            "run",
            "--rm",
            "-v",
            "data:/seed",
            "seeded",
            "sh",
            "-c",
            "stat -c '%u %a' /seed/file /seed; echo more >> /seed/file"
        ]),
        "1000 644\n0 700"
    );
    assert_eq!(
        engine.ok("run --rm -v data:/elsewhere seeded cat /elsewhere/file"),
        "seededmore"
    );
    assert_eq!(
        engine.ok("run --rm --mount type=volume,source=empty,target=/seed,volume-nocopy seeded ls /seed"),
        ""
    );
    assert_eq!(engine.ok("volume ls -q"), "data\nempty");
    engine.ok("create --name user -v data:/x seeded");
    let used = engine.fails(1, "volume rm data");
    assert!(used.contains("volume is in use"), "{used}");
    engine.ok("rm user");
    assert_eq!(engine.ok("volume rm data"), "data");
    let unknown = engine.fails(1, "volume rm data");
    assert!(
        unknown.contains("no such volume") || unknown.contains("No such volume"),
        "{unknown}"
    );
}

#[test]
fn anonymous_volumes_go_when_they_should() {
    let engine = TestEngine::start();
    engine.load(
        &Image::busybox().with_config("Volumes", json!({"/vol": {}})),
        "vol:latest",
    );
    engine.ok("run --rm vol touch /vol/x");
    assert_eq!(engine.ok("volume ls -q"), "", "--rm takes them along");
    engine.ok("run --name keeps -v /other vol touch /vol/x");
    assert_eq!(engine.ok("volume ls -q").lines().count(), 2);
    engine.ok("rm keeps");
    assert_eq!(
        engine.ok("volume ls -q").lines().count(),
        2,
        "rm alone keeps them"
    );
    engine.ok("volume prune -f");
    assert_eq!(engine.ok("volume ls -q"), "");
}

#[test]
fn temporary_file_systems() {
    let engine = TestEngine::with_busybox();
    let mounts = engine.ok([
        "run",
        "--rm",
        "--tmpfs",
        "/scratch:size=1m,mode=700",
        "busybox",
        "sh",
        "-c",
        "grep ' /scratch ' /proc/mounts; stat -c %a /scratch",
    ]);
    assert!(
        mounts.starts_with("tmpfs /scratch tmpfs ")
            && mounts.contains("size=1024k")
            && mounts.ends_with("\n700"),
        "{mounts}"
    );
    let full = engine.fails(1, "run --rm --mount type=tmpfs,target=/scratch,tmpfs-size=65536 busybox dd if=/dev/zero of=/scratch/x bs=100k count=1");
    assert!(full.contains("No space left on device"), "{full}");
    let shm = engine.ok([
        "run",
        "--rm",
        "--shm-size",
        "2m",
        "busybox",
        "sh",
        "-c",
        "grep ' /dev/shm ' /proc/mounts",
    ]);
    assert!(shm.contains("size=2048k"), "{shm}");
}

#[test]
fn a_read_only_root() {
    let engine = TestEngine::with_busybox();
    let refused = engine.fails(1, "run --rm --read-only busybox touch /x");
    assert!(refused.contains("Read-only file system"), "{refused}");
    engine.ok("run --rm --read-only --tmpfs /tmp busybox touch /tmp/x");
}

// ---- confinement and limits --------------------------------------------------------------------------------------

#[test]
fn capabilities_are_dockers_and_can_change() {
    let engine = TestEngine::with_busybox();
    let bounding = |flags: &str| {
        let text = engine.ok(format!("run --rm {flags} busybox grep CapBnd /proc/self/status"));
        u64::from_str_radix(text.split_whitespace().last().expect("a mask"), 16).expect("hexadecimal")
    };
    const DEFAULT: u64 = 0xa804_25fb;
    const NET_RAW: u64 = 1 << 13;
    const NET_ADMIN: u64 = 1 << 12;
    assert_eq!(bounding(""), DEFAULT);
    assert_eq!(bounding("--cap-drop NET_RAW"), DEFAULT & !NET_RAW);
    assert_eq!(bounding("--cap-add CAP_NET_ADMIN"), DEFAULT | NET_ADMIN);
    assert_eq!(bounding("--cap-drop ALL"), 0);
    assert_eq!(bounding("--cap-drop ALL --cap-add net_raw"), NET_RAW);
    // runc insists on all capabilities, and fails where the host itself lacks one.
    assert!(
        TestEngine::is_dockerd() || bounding("--privileged") & (1 << 21) != 0,
        "SYS_ADMIN"
    );
    let unknown = engine.fails(125, "run --rm --cap-add NOSUCH busybox true");
    assert!(
        unknown.to_lowercase().contains("capability") && unknown.contains("NOSUCH"),
        "{unknown}"
    );
    let effective = engine.ok("run --rm -u user busybox grep CapEff /proc/self/status");
    assert!(effective.ends_with("0000000000000000"), "{effective}");
}

#[test]
fn the_kernel_is_out_of_reach() {
    let engine = TestEngine::with_busybox();
    let script = "mount -t tmpfs none /tmp 2>&1; echo x > /proc/sys/kernel/hostname 2>&1; echo b > /proc/sysrq-trigger 2>&1; \
        head -c1 /proc/kcore | wc -c; ls /sys/firmware | wc -l; mknod /tmp/disk b 8 0 && cat /tmp/disk 2>&1; grep Seccomp: /proc/self/status";
    let text = engine.run(["run", "--rm", "busybox", "sh", "-c", script]).out();
    assert!(
        text.contains("mount: permission denied")
            || text.contains("Operation not permitted")
            || text.contains("Permission denied"),
        "{text}"
    );
    assert!(
        text.contains("Operation not permitted"),
        "the device cgroup: {text}"
    );
    assert!(text.contains("Seccomp:\t2"), "{text}");
    assert!(text.contains("\n0\n0\n"), "kcore and firmware are masked: {text}");
    let free =
        engine.ok("run --rm --security-opt seccomp=unconfined busybox grep Seccomp: /proc/self/status");
    assert_eq!(free, "Seccomp:\t0");
    let bound =
        engine.ok("run --rm --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status");
    assert_eq!(bound, "NoNewPrivs:\t1");
    let bad = engine.fails(125, "run --rm --security-opt nosuch=1 busybox true");
    assert!(bad.contains("nosuch"), "{bad}");
}

#[test]
fn a_privileged_container_is() {
    let engine = TestEngine::with_busybox();
    if TestEngine::is_dockerd() && engine.run("run --rm --privileged busybox true").code != 0 {
        return;
    }
    engine.ok("run --rm --privileged busybox mount -t tmpfs none /tmp");
    let text = engine.ok("run --rm --privileged busybox grep Seccomp: /proc/self/status");
    assert_eq!(text, "Seccomp:\t0");
}

#[test]
fn memory_has_a_limit() {
    let engine = TestEngine::with_busybox();
    let eater = "x=a; while true; do x=$x$x; done";
    let output = engine.run([
        "run", "--name", "eater", "-m", "32m", "busybox", "sh", "-c", eater,
    ]);
    assert_eq!(output.code, 137, "{output}");
    let state = engine.inspect("eater");
    assert_eq!(state["State"]["OOMKilled"], true, "{}", state["State"]);
    assert_eq!(state["HostConfig"]["Memory"], 32 << 20);
    let little = engine.fails(125, "run --rm -m 1m busybox true");
    assert!(little.contains("Minimum memory limit allowed is 6MB"), "{little}");
}

#[test]
fn processes_have_a_limit() {
    let engine = TestEngine::with_busybox();
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait";
    let output = engine.run(["run", "--rm", "--pids-limit", "4", "busybox", "sh", "-c", script]);
    assert!(output.err().contains("can't fork"), "{output}");
}

#[test]
fn processors_have_a_limit() {
    let engine = TestEngine::with_busybox();
    // The limit is read where the kernel keeps it, through either cgroup version.
    engine.ok("run -d --name box --cpus 0.5 --cpu-shares 512 busybox sleep 100");
    let pid = engine.inspect("box")["State"]["Pid"].as_u64().expect("a pid");
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    let found = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        match controllers {
            "" => fs::read_to_string(format!("/sys/fs/cgroup{path}/cpu.max")).ok(),
            _ if controllers.split(',').any(|one| one == "cpu") => {
                let read = |file: &str| fs::read_to_string(format!("/sys/fs/cgroup/cpu{path}/{file}")).ok();
                Some(format!(
                    "{} {}",
                    read("cpu.cfs_quota_us")?.trim(),
                    read("cpu.cfs_period_us")?
                ))
            }
            _ => None,
        }
    });
    assert_eq!(found.as_deref().map(str::trim), Some("50000 100000"), "{groups}");
    let many = engine.fails(125, "run --rm --cpus 1000 busybox true");
    assert!(many.to_lowercase().contains("range of cpus is from"), "{many}");
}

#[test]
fn resource_limits() {
    let engine = TestEngine::with_busybox();
    let files = engine.ok([
        "run",
        "--rm",
        "--ulimit",
        "nofile=123:456",
        "busybox",
        "sh",
        "-c",
        "ulimit -n; ulimit -H -n",
    ]);
    assert_eq!(files, "123\n456");
    let bad = engine.fails(125, "run --rm --ulimit nosuch=1 busybox true");
    assert!(bad.contains("invalid ulimit type: nosuch"), "{bad}");
}

#[test]
fn an_init_reaps() {
    let engine = TestEngine::with_busybox();
    engine.ok([
        "run",
        "-d",
        "--init",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "(sleep 0.1 &) ; exec sleep 100",
    ]);
    let first = engine.ok("exec box cat /proc/1/cmdline");
    assert!(
        !first.starts_with("sleep") && !first.starts_with("sh"),
        "the program is not the first process: {first}"
    );
    std::thread::sleep(Duration::from_millis(400));
    let zombies = engine.ok([
        "exec",
        "box",
        "sh",
        "-c",
        "grep -l '^State:.Z' /proc/[0-9]*/status || true",
    ]);
    assert_eq!(zombies, "");
    let clock = Instant::now();
    engine.ok("stop box");
    assert!(clock.elapsed() < Duration::from_secs(5), "signals pass through");
}

#[test]
fn inspect_shows_what_was_asked() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box -e A=1 -l k=v -w /tmp -u user --restart on-failure:3 --memory 64m -v data:/data:ro --read-only --cap-drop ALL busybox sleep 100");
    let all = engine.inspect("box");
    let pointers = [
        ("/Config/Cmd", json!(["sleep", "100"])),
        ("/Config/Image", json!("busybox")),
        ("/Config/Labels/k", json!("v")),
        ("/Config/User", json!("user")),
        ("/Config/WorkingDir", json!("/tmp")),
        ("/HostConfig/Memory", json!(64 << 20)),
        ("/HostConfig/ReadonlyRootfs", json!(true)),
        (
            "/HostConfig/RestartPolicy",
            json!({"Name": "on-failure", "MaximumRetryCount": 3}),
        ),
        ("/HostConfig/CapDrop/0", json!("ALL")),
        ("/HostConfig/Binds/0", json!("data:/data:ro")),
        ("/Mounts/0/Destination", json!("/data")),
        ("/Mounts/0/Name", json!("data")),
        ("/Mounts/0/RW", json!(false)),
        ("/State/Status", json!("running")),
        ("/Path", json!("sleep")),
        ("/Args", json!(["100"])),
        ("/Driver", all["Driver"].clone()),
        ("/Image", engine.inspect("busybox")["Id"].clone()),
    ];
    for (pointer, expected) in pointers {
        assert_eq!(all.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert!(
        all["Config"]["Env"]
            .as_array()
            .expect("env")
            .contains(&json!("A=1"))
    );
    assert_eq!(
        engine.ok(["inspect", "-f", "{{json .Config.Labels}}", "box"]),
        r#"{"k":"v"}"#
    );
}
