//! The daemon itself: its protocol, its death, and what survives. Needs root; most of it makes no sense on somebody's
//! dockerd, which cannot be killed.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use havre_testing::{Image, TestEngine, eventually, http};
use serde_json::{Value, json};

// ---- protocol ----------------------------------------------------------------------------------------------------

#[test]
fn a_ping_tells_who_answers() {
    let engine = TestEngine::start();
    let pong = engine.api("GET", "/_ping").expect("answer");
    assert_eq!((pong.status, pong.text().as_str()), (200, "OK"));
    assert_eq!(pong.header("ostype"), Some("linux"));
    assert!(
        pong.header("api-version")
            .is_some_and(|version| version.starts_with("1.")),
        "{:?}",
        pong.headers
    );
    assert!(pong.header("server").is_some());
    assert_eq!(engine.api("HEAD", "/_ping").expect("answer").status, 200);
    let version = engine.api("GET", "/v1.41/version").expect("answer").json();
    for key in [
        "Version",
        "ApiVersion",
        "MinAPIVersion",
        "Os",
        "Arch",
        "KernelVersion",
    ] {
        assert!(version[key].is_string(), "{key}: {version}");
    }
    assert_eq!(
        engine.api("GET", "/info").expect("answer").json()["OSType"],
        "linux"
    );
}

#[test]
fn versions_are_negotiated() {
    let engine = TestEngine::start();
    for version in ["v1.22", "v1.41"] {
        assert_eq!(
            engine
                .api("GET", &format!("/{version}/containers/json"))
                .expect("answer")
                .status,
            200,
            "{version}"
        );
    }
    let newer = engine.api("GET", "/v9.99/containers/json").expect("answer");
    assert_eq!(newer.status, 400);
    let message = newer.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        message.contains("client version 9.99 is too new. Maximum supported API version is 1."),
        "{message}"
    );
    if !TestEngine::is_dockerd() {
        let older = engine.api("GET", "/v1.12/containers/json").expect("answer");
        assert_eq!(older.status, 400);
        assert!(
            older
                .text()
                .contains("client version 1.12 is too old. Minimum supported API version is 1.22"),
            "{}",
            older.text()
        );
    }
}

#[test]
fn errors_have_dockers_status_and_shape() {
    let engine = TestEngine::with_busybox();
    engine.ok("create --name box busybox sleep 100");
    for (method, target, status, message) in [
        ("GET", "/nosuch", 404, "page not found"),
        ("GET", "/containers/nosuch/json", 404, "No such container: nosuch"),
        ("GET", "/images/nosuch/json", 404, "o such image: nosuch"),
        ("GET", "/volumes/nosuch", 404, "no such volume"),
        ("GET", "/networks/nosuch", 404, "network nosuch not found"),
        ("GET", "/exec/nosuch/json", 404, "No such exec instance"),
        ("POST", "/containers/box/kill", 409, "is not running"),
        ("POST", "/containers/box/rename?name=", 400, "empty"),
        ("GET", "/containers/json?limit=x", 400, ""),
        ("GET", "/containers/json?filters=x", 400, ""),
        ("POST", "/containers/box/stop", 304, ""),
        ("DELETE", "/images/busybox", 409, "must force"),
    ] {
        let answer = engine.api(method, target).expect("answer");
        // dockerd before 25 calls a parameter that makes no sense its own mistake.
        let status = if TestEngine::is_dockerd() && target.ends_with("=x") {
            500
        } else {
            status
        };
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
        if status == 304 {
            continue;
        }
        let text = answer.json()["message"]
            .as_str()
            .unwrap_or_default()
            .to_lowercase();
        assert!(
            text.contains(&message.to_lowercase()) && !text.is_empty(),
            "{method} {target}: {text}"
        );
    }
    let conflict = engine.post("/containers/create?name=box", &json!({"Image": "busybox"}));
    assert_eq!(conflict.status, 409, "{}", conflict.text());
    let missing = engine.post("/containers/create", &json!({"Image": "nosuch"}));
    assert_eq!(
        (missing.status, missing.json()["message"].as_str()),
        (404, Some("No such image: nosuch:latest"))
    );
    let broken = http::over_unix(
        engine.socket(),
        "POST",
        "/containers/create",
        "application/json",
        b"{\"Image\":",
    )
    .expect("answer");
    // An unexpected end is dockerd's own mistake before 25, too.
    assert_eq!(
        broken.status,
        if TestEngine::is_dockerd() { 500 } else { 400 },
        "{}",
        broken.text()
    );
    let wrong = engine.post("/containers/create", &json!({"Image": 7}));
    assert_eq!(wrong.status, 400, "{}", wrong.text());
}

#[test]
fn what_happens_is_told() {
    let engine = TestEngine::with_busybox();
    let mut watcher = engine
        .cmd([
            "events",
            "--filter",
            "type=container",
            "--format",
            "{{.Action}} {{.Actor.Attributes.name}}",
        ])
        .spawn();
    // Events have no sign of readiness: make some until one is seen.
    let patience = Instant::now() + Duration::from_secs(20);
    while !watcher.stdout().contains("create probe") {
        assert!(Instant::now() < patience, "no event came: {}", watcher.stderr());
        engine.ok("create --name probe busybox");
        std::thread::sleep(Duration::from_millis(100));
        engine.ok("rm probe");
    }
    engine.ok("run --rm --name seen busybox true");
    watcher.wait_for("destroy seen");
    let text = watcher.stdout();
    let seen: Vec<_> = text.lines().filter(|line| line.ends_with(" seen")).collect();
    assert_eq!(
        seen,
        [
            "create seen",
            "attach seen",
            "start seen",
            "die seen",
            "destroy seen"
        ],
        "{text}"
    );
}

#[test]
fn the_socket_is_for_its_group_and_the_root_for_root() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let mode = |path: &std::path::Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(engine.socket()), 0o660);
    assert_eq!(mode(&engine.root()), 0o700);
    assert_eq!(fs::metadata(engine.socket()).expect("metadata").uid(), 0);
}

// ---- life and death ----------------------------------------------------------------------------------------------

#[test]
fn killed_and_started_again_nothing_is_lost() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    let script = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.05; done";
    engine.ok(["run", "-d", "--name", "counter", "busybox", "sh", "-c", script]);
    engine.ok([
        "run",
        "-d",
        "--name",
        "ends",
        "busybox",
        "sh",
        "-c",
        "sleep 1; exit 5",
    ]);
    engine.ok("run -d --name idle -p 127.0.0.1::80 busybox sleep 1000");
    let before = engine.inspect("counter")["State"].clone();
    let port = engine.ok("port idle 80");
    engine.kill_daemon();
    std::thread::sleep(Duration::from_millis(1500));
    engine.start_daemon();

    let after = engine.inspect("counter")["State"].clone();
    assert_eq!(
        (&after["Pid"], &after["StartedAt"], &after["Running"]),
        (&before["Pid"], &before["StartedAt"], &json!(true))
    );
    assert_eq!(engine.ok("wait ends"), "5", "an exit code of the meantime");
    let finished = engine.inspect("ends")["State"]["FinishedAt"]
        .as_str()
        .expect("time")
        .to_owned();
    assert!(!finished.starts_with("0001"), "{finished}");
    assert_eq!(engine.ok("port idle 80"), port);

    let numbers: Vec<u32> = engine
        .ok("logs counter")
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    assert!(numbers.len() > 20, "it went on counting: {}", numbers.len());
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "without a gap"
    );
    let mut follower = engine.cmd("logs -f --tail 0 counter").spawn();
    follower.wait_for("\n");
    engine.ok(["exec", "counter", "true"]);
    engine.ok("stop -t 0 counter idle");
    assert_eq!(follower.finish().code, 0, "the follower ends with the container");
    assert_eq!(engine.ok("wait counter"), "137");
    engine.ok("start counter");
    engine.ok("rm -f counter idle ends");
}

#[test]
fn stopped_in_order_containers_go_on() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    let id = engine.ok("run -d --name box busybox sleep 1000");
    let pid = engine.inspect("box")["State"]["Pid"].as_u64().expect("a pid");
    let mut waiter = engine.cmd("wait box").spawn();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(engine.stop_daemon(), Some(0), "{}", engine.log());
    assert!(!engine.socket().exists(), "the socket is gone");
    assert!(
        fs::metadata(format!("/proc/{pid}")).is_ok(),
        "the container is not"
    );
    waiter.stdin = None;
    drop(waiter);
    let nobody = engine.run("ps");
    assert_ne!(nobody.code, 0);
    assert!(
        nobody.err().contains("Cannot connect to the Docker daemon") || nobody.err().contains("no engine"),
        "{nobody}"
    );
    engine.start_daemon();
    assert_eq!(engine.ok("ps -q --no-trunc"), id);
    engine.ok("rm -f box");
    eventually("the process is gone", || {
        fs::metadata(format!("/proc/{pid}")).is_err()
    });
}

fn assert_nothing_is_mounted(engine: &TestEngine) {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("the table of mounts");
    let dir = engine.dir().to_str().expect("a name");
    let left: Vec<&str> = table.lines().filter(|line| line.contains(dir)).collect();
    assert!(left.is_empty(), "{left:#?}\n{}", engine.log());
}

/// Removing a container goes on after the client was told: unmounting waits until the kernel has written out what the disk
/// has pending. A daemon that is ended meanwhile finishes it.
#[test]
fn nothing_stays_mounted_however_soon_it_ends() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    for _ in 0..10 {
        engine.ok("run --rm busybox dd if=/dev/zero of=/written bs=1M count=48");
        assert_eq!(engine.stop_daemon(), Some(0), "{}", engine.log());
        assert_nothing_is_mounted(&engine);
        engine.start_daemon();
    }
}

/// A build is nobody's when its daemon ends: its step is killed at once, and what was sent for it is gone.
#[test]
fn a_build_ends_with_its_daemon() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    let dockerfile = "FROM busybox\nRUN echo begun && sleep 1000\n";
    let context = engine.files("context", &[("Dockerfile", dockerfile)]);
    let mut client = engine
        .cmd(["build", &context.to_string_lossy()])
        .env("HAVRE_BUILD_CONTEXT", "tar")
        .spawn();
    client.wait_for("begun");
    let asked = Instant::now();
    assert_eq!(engine.stop_daemon(), Some(0), "{}", engine.log());
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    assert_ne!(client.finish().code, 0);
    assert_nothing_is_mounted(&engine);
    engine.start_daemon();
}

#[test]
fn the_restart_policy_holds_across_daemons() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
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
        "echo life; sleep 1",
    ]);
    engine.ok([
        "run",
        "-d",
        "--name",
        "stopped",
        "--restart",
        "unless-stopped",
        "busybox",
        "sleep",
        "1000",
    ]);
    engine.ok("stop -t 0 stopped");
    engine.kill_daemon();
    std::thread::sleep(Duration::from_millis(1500));
    let lives = engine.log().len();
    assert!(lives > 0);
    engine.start_daemon();
    eventually("it lives again", || engine.ok("logs always").lines().count() >= 2);
    assert_eq!(engine.inspect("stopped")["State"]["Running"], false);
}

#[test]
fn removed_after_the_run_even_if_the_daemon_died() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --rm --name brief busybox sleep 1");
    engine.kill_daemon();
    std::thread::sleep(Duration::from_millis(1500));
    engine.start_daemon();
    eventually("--rm is kept", || engine.ok("ps -aq").is_empty());
}

#[test]
fn images_survive_a_kill_at_any_moment() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let archive = Image::busybox().docker_archive(&["busybox:latest"]);
    for delay in [0, 5, 20, 60] {
        let loading = std::thread::scope(|scope| {
            let loader = scope.spawn(|| {
                http::over_unix(
                    engine.socket(),
                    "POST",
                    "/images/load",
                    "application/x-tar",
                    &archive,
                )
                .is_ok_and(|answer| answer.text().contains("Loaded"))
            });
            std::thread::sleep(Duration::from_millis(delay));
            engine.kill_daemon();
            loader.join().expect("no panic")
        });
        engine.start_daemon();
        let listed = engine.ok("images -q");
        if loading {
            assert_ne!(listed, "", "what was said to be loaded is");
        }
        if !listed.is_empty() {
            assert_eq!(engine.ok("run --rm busybox echo whole"), "whole");
            engine.ok("rmi busybox");
        }
    }
    engine.load(&Image::busybox(), "busybox:latest");
    assert_eq!(engine.ok("run --rm busybox echo whole"), "whole");
}

#[test]
fn a_root_has_one_daemon() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let second = Command::new(std::env::var_os("HAVRE_BIN").unwrap_or_else(|| "havre".into()))
        .args(["daemon", "--socket"])
        .arg(engine.dir().join("second.sock"))
        .arg("--state")
        .arg(engine.dir().join("second"))
        .arg("--root")
        .arg(engine.root())
        .output();
    let Ok(second) = second else { return };
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success(), "{message}");
    assert!(
        message.contains(&*engine.root().to_string_lossy()),
        "the error names the root: {message}"
    );
    engine.ok("ps");
}

#[test]
fn a_wrong_configuration_is_refused() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    for (content, expected) in [
        ("nosuch = 1\n", "nosuch"),
        (
            "[network]\nbridge = \"much-too-long-a-name\"\n",
            "much-too-long-a-name",
        ),
        ("[[[", "config"),
    ] {
        let file = engine.dir().join("config-wrong.toml");
        fs::write(&file, content).expect("config");
        let output = engine.run([
            "daemon",
            "--root",
            &engine.dir().join("other").to_string_lossy(),
            "--config",
            &file.to_string_lossy(),
        ]);
        assert_ne!(output.code, 0, "{output}");
        assert!(output.err().contains(expected), "{output}");
    }
}

#[test]
fn two_clients_start_one_daemon() {
    if TestEngine::is_dockerd() {
        return;
    }
    // In a mount namespace of its own, with its own /run/havre and /var/lib/havre: the client's defaults.
    let engine = TestEngine::start();
    let havre = havre_testing::havre_binary();
    let havre = havre.to_str().expect("a name");
    let bridge = engine.bridge();
    let script = format!(
        "mount -t tmpfs none /run && mkdir -p /var/lib/havre /etc/havre && mount -t tmpfs none /var/lib/havre && mount -t tmpfs none /etc/havre && \
         unset DOCKER_HOST; export HOME=/run; \
         for i in 1 2 3 4; do {havre} ps -q & done; wait; pgrep -f -c '^{havre} daemon' ; {havre} info --format '{{{{.OSType}}}}'; \
         pkill -TERM -f '^{havre} daemon'; sleep 0.5; echo {bridge} > /dev/null"
    );
    let unique = engine.dir().join("havre-auto");
    fs::copy(havre, &unique).expect("binary");
    let script = script.replace(havre, &unique.to_string_lossy());
    let output = Command::new("unshare")
        .args(["-m", "-p", "-f", "--mount-proc", "sh", "-c", &script])
        .stdin(Stdio::null())
        .output()
        .expect("unshare");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        text.trim(),
        "1\nlinux",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn information_is_complete() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d busybox sleep 100");
    let info: Value = serde_json::from_str(&engine.ok(["info", "--format", "{{json .}}"])).expect("JSON");
    for (key, expected) in [
        ("Containers", json!(1)),
        ("ContainersRunning", json!(1)),
        ("Images", json!(1)),
        ("OSType", json!("linux")),
    ] {
        assert_eq!(info[key], expected, "{key}");
    }
    assert!(info["MemTotal"].as_u64().is_some_and(|bytes| bytes > 1 << 20));
    let version = engine.ok([
        "version",
        "--format",
        "{{.Server.Os}}/{{.Server.Arch}} {{.Client.Os}}",
    ]);
    assert!(
        version.starts_with("linux/") && version.ends_with(" linux"),
        "{version}"
    );
}
