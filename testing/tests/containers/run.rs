//! What a run hands through: output, input, exit codes; environment, user, directory, command.

use fs_err as fs;
use havre_testing::{Image, TestEngine, eventually};
use rustix::process::Signal;
use serde_json::json;

fn hex(length: usize, text: &str) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

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
