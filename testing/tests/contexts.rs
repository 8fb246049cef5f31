//! Build contexts on their way to the engine: named by a client on the same machine, sent as a tar by everybody else,
//! and the same image in the end. Needs root.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use havre_testing::{Invocation, Program, TestEngine, eventually, havre_binary, http};

/// What the engine logs for a context it reads in place.
const IN_PLACE: &str = "a build context is read in place";

fn in_place(engine: &TestEngine) -> usize {
    engine.log().matches(IN_PLACE).count()
}

fn layers(engine: &TestEngine, name: &str) -> serde_json::Value {
    engine.inspect(name)["RootFS"]["Layers"].clone()
}

/// A context with a bit of everything.
fn rich(engine: &TestEngine) -> PathBuf {
    let dir = engine.files(
        "rich",
        &[
            (
                "Dockerfile",
                "FROM busybox\nCOPY . /all/\nCOPY src/deep one /some/\nADD one /etc/one\nCOPY --chown=5:6 src /owned\n",
            ),
            (".dockerignore", "*.log\ndocs\n!docs/keep\n"),
            ("one", "one"),
            ("src/main.c", "int main;"),
            ("src/deep/er/file", "deep"),
            ("src/with space/\u{e4}\u{f6}", "odd"),
            ("docs/a", "a"),
            ("docs/keep/b", "b"),
            ("x.log", "log"),
        ],
    );
    symlink("main.c", dir.join("src/link")).expect("link");
    symlink("/etc/passwd", dir.join("src/absolute")).expect("link");
    fs::hard_link(dir.join("one"), dir.join("src/same")).expect("link");
    fs::write(dir.join("src/large"), vec![b'x'; 3_000_000]).expect("written");
    for (path, mode) in [
        ("src/main.c", 0o4711),
        ("src/deep", 0o1777),
        ("one", 0o600),
        ("docs", 0o700),
    ] {
        fs::set_permissions(dir.join(path), PermissionsExt::from_mode(mode)).expect("chmod");
    }
    dir
}

#[test]
fn three_ways_make_one_image() {
    let engine = TestEngine::with_busybox();
    let dir = rich(&engine);
    let dir = dir.display();
    let named =
        |tag: &str, flags: &str| engine.cmd_of(Program::Havre, format!("build -t {tag} {flags} {dir}"));
    named("named", "").ok();
    if TestEngine::is_dockerd() {
        // An engine that says nothing of local contexts gets a tar.
        let listed = engine.ok("run --rm named find /all /some");
        assert!(
            listed.contains("/some/er/file") && listed.contains("/all/docs/keep/b"),
            "{listed}"
        );
        assert!(
            !listed.contains("x.log") && !listed.contains("docs/a"),
            "{listed}"
        );
        return;
    }
    assert_eq!(in_place(&engine), 1);
    let expected = layers(&engine, "named");
    named("sent", "--no-cache").env("HAVRE_BUILD_CONTEXT", "tar").ok();
    assert_eq!(layers(&engine, "sent"), expected);
    engine
        .cmd_of(Program::Docker, format!("build -t official --no-cache {dir}"))
        .ok();
    assert_eq!(layers(&engine, "official"), expected);
    assert_eq!(in_place(&engine), 1);
    named("again", "--no-cache").ok();
    assert_eq!(layers(&engine, "again"), expected);
    assert_eq!(in_place(&engine), 2);

    // The cache does not ask who built before.
    let official = engine
        .cmd_of(Program::Docker, format!("build -t cached {dir}"))
        .run();
    assert_eq!(
        (official.code, official.out().matches("Using cache").count()),
        (0, 4),
        "{official}"
    );
    let own = named("cached", "").run();
    assert_eq!(
        (own.code, own.out().matches("Using cache").count()),
        (0, 4),
        "{own}"
    );
    let listed = engine.ok("run --rm cached find /all /some");
    assert!(
        listed.contains("/some/er/file") && listed.contains("/all/docs/keep/b"),
        "{listed}"
    );
    assert!(
        !listed.contains("x.log") && !listed.contains("docs/a"),
        "{listed}"
    );
    assert_eq!(
        engine
            .ok("run --rm cached stat -c %u:%g:%a:%n /owned/main.c /all/src/main.c /all/docs /all/src/deep"),
        "5:6:4711:/owned/main.c\n0:0:4711:/all/src/main.c\n0:0:755:/all/docs\n0:0:1777:/all/src/deep"
    );
}

#[test]
fn dockerfiles_from_elsewhere_are_no_part_of_the_context() {
    let engine = TestEngine::with_busybox();
    let context = engine.files("plain", &[("a", "a"), ("sub/b", "b")]);
    let other = engine.files("other", &[("D", "FROM busybox\nCOPY . /c/\n")]);
    let (dir, file) = (context.display(), other.join("D"));
    let mut found = Vec::new();
    for (tag, way) in [("named", ""), ("sent", "tar")] {
        let from_file = format!("build --no-cache -t {tag} -f {} {dir}", file.display());
        engine.cmd(from_file).env("HAVRE_BUILD_CONTEXT", way).ok();
        let listed = engine.ok(["run", "--rm", tag, "sh", "-c", "find /c -type f | sort"]);
        if !TestEngine::is_dockerd() {
            assert_eq!(listed, "/c/a\n/c/sub/b", "{tag}");
            found.push(layers(&engine, tag));
        }
        let from_stdin = engine.cmd(format!("build --no-cache -t {tag} -f - {dir}"));
        let text = "FROM busybox\nCOPY a /from-stdin\n";
        from_stdin.env("HAVRE_BUILD_CONTEXT", way).stdin(text).ok();
        assert_eq!(engine.ok(format!("run --rm {tag} cat /from-stdin")), "a");
    }
    if !TestEngine::is_dockerd() {
        assert_eq!(found[0], found[1]);
        assert_eq!(in_place(&engine), 2);
    }
    // Standard input as the whole context is none that could be named.
    engine
        .cmd("build -t alone -")
        .stdin("FROM busybox\nRUN echo x > /x\n")
        .ok();
    assert_eq!(engine.ok("run --rm alone cat /x"), "x");
}

/// Our client in a shell script run by `unshare` with these flags; `$0` is the client.
fn elsewhere(engine: &TestEngine, flags: &[&str], script: &str) -> String {
    let output = Command::new("unshare")
        .args(flags)
        .args(["--propagation", "private", "sh", "-ec", script])
        .arg(havre_binary())
        .env("DOCKER_HOST", engine.host())
        .env("HOME", engine.dir())
        .output()
        .expect("unshare");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn a_client_in_another_mount_namespace_names_its_own_files() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    let text = "FROM busybox\nCOPY . /c/\n";
    let ours = engine.files("ours", &[("Dockerfile", text), ("which", "the engine's")]);
    let theirs = engine.files("theirs", &[("Dockerfile", text), ("which", "the client's")]);
    let (ours, theirs) = (ours.display(), theirs.display());
    let script = format!("mount --bind {theirs} {ours}\n\"$0\" build -q -t test {ours}");
    for flags in [&["--mount"][..], &["--mount", "--pid", "--fork"]] {
        elsewhere(&engine, flags, &script);
        assert_eq!(engine.ok("run --rm test cat /c/which"), "the client's");
    }
    // What only the client has mounted within its directory is there too, as it would be in a tar.
    let script = format!(
        "mkdir -p {theirs}/sub\nmount -t tmpfs none {theirs}/sub\necho in memory > {theirs}/sub/file\n\"$0\" build -q -t test {theirs}"
    );
    elsewhere(&engine, &["--mount"], &script);
    assert_eq!(engine.ok("run --rm test cat /c/sub/file"), "in memory");
    assert_eq!(in_place(&engine), 3);
}

/// Carries bytes both ways until either side ends.
fn carry(from: UnixStream, to: UnixStream) {
    let pump = |mut from: UnixStream, mut to: UnixStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (other_from, other_to) = (from.try_clone().expect("clone"), to.try_clone().expect("clone"));
    thread::spawn(move || pump(other_to, other_from));
    pump(from, to);
}

/// Not a test: the process that forwards one socket to another, started by tests in surroundings of its own.
#[test]
#[ignore = "started by other tests"]
fn forwarder() {
    let (Some(at), Some(to)) = (std::env::var_os("FORWARD_AT"), std::env::var_os("FORWARD_TO")) else {
        return;
    };
    let listener = UnixListener::bind(at).expect("bind");
    for stream in listener.incoming() {
        let (stream, to) = (
            stream.expect("accept"),
            UnixStream::connect(&to).expect("connect"),
        );
        thread::spawn(move || carry(stream, to));
    }
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_forwarded_socket_does_not_lead_to_other_files() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    let text = "FROM busybox\nCOPY which /\n";
    let mine = engine.files("mine", &[("Dockerfile", text), ("which", "mine")]);
    let not_mine = engine.files("not-mine", &[("Dockerfile", text), ("which", "the forwarder's")]);
    let socket = engine.dir().join("forwarded.sock");
    // By the forwarder's eyes the path leads to another directory.
    let script = format!(
        "mount --bind {} {}; exec \"$0\" --exact forwarder --ignored --nocapture",
        not_mine.display(),
        mine.display()
    );
    let forwarder = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .arg(std::env::current_exe().expect("this program"))
        .env("FORWARD_AT", &socket)
        .env("FORWARD_TO", engine.socket())
        .stdout(Stdio::null())
        .spawn();
    let _forwarder = Ended(forwarder.expect("unshare"));
    eventually("the forwarder listens", || UnixStream::connect(&socket).is_ok());
    engine
        .cmd_of(Program::Havre, format!("build -t test {}", mine.display()))
        .env("DOCKER_HOST", &format!("unix://{}", socket.display()))
        .ok();
    assert_eq!(engine.ok("run --rm test cat /which"), "mine");
    assert_eq!(in_place(&engine), 0, "it was sent");
    assert!(engine.log().contains("a local build context is not seen"));
}

/// One request, with a header, to an address; the whole answer as text.
fn ask(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn only_a_unix_socket_is_a_way_to_name_a_directory() {
    if TestEngine::is_dockerd() {
        return;
    }
    let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("address").to_string();
    drop(port);
    let path = |name: &str| dir.path().join(name);
    fs::write(
        path("config.toml"),
        "[network]\nbridge = \"htcontext\"\ntable = \"htcontext\"\n",
    )
    .expect("config");
    let daemon = Command::new(havre_binary())
        .args(["daemon", "--host", &format!("tcp://{address}")])
        .arg("--root")
        .arg(path("root"))
        .arg("--state")
        .arg(path("run"))
        .arg("--socket")
        .arg(path("sock"))
        .arg("--config")
        .arg(path("config.toml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let daemon = Ended(daemon.expect("the havre binary"));
    let ready = || http::over_unix(&path("sock"), "GET", "/_ping", "", b"").is_ok();
    eventually("the daemon answers", ready);
    let ping = "GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let tcp = || std::net::TcpStream::connect(&address).expect("connect");
    let local = ask(UnixStream::connect(path("sock")).expect("connect"), ping);
    assert!(local.contains("x-havre-context: 1\r\n"), "{local}");
    let remote = ask(tcp(), ping);
    assert!(
        remote.contains("200 OK") && !remote.contains("x-havre-context"),
        "{remote}"
    );

    let context = path("context");
    fs::create_dir(&context).expect("created");
    fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY . /\n").expect("written");
    let claim = claim(&context);
    let post = |claim: &str| {
        format!(
            "POST /build HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\nX-Havre-Context: {claim}\r\n\r\n"
        )
    };
    let remote = ask(tcp(), &post(&claim));
    assert!(remote.starts_with("HTTP/1.1 412 "), "{remote}");
    let unix = || UnixStream::connect(path("sock")).expect("connect");
    let local = ask(unix(), &post(&claim));
    assert!(local.contains("Successfully built"), "{local}");
    for (from, to) in [
        ("inode=", "inode=1"),
        ("boot=", "boot=0"),
        ("path=", "path=%2Fetc"),
    ] {
        let answer = ask(unix(), &post(&claim.replace(from, to)));
        assert!(answer.starts_with("HTTP/1.1 412 "), "{to}: {answer}");
    }
    let answer = ask(unix(), &post("nonsense"));
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("invalid header"),
        "{answer}"
    );

    // Our client over TCP sends a tar.
    let built = Command::new(havre_binary())
        .args(["build", "-t", "test"])
        .arg(&context)
        .env("DOCKER_HOST", format!("tcp://{address}"))
        .output()
        .expect("the client");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let end = Instant::now() + Duration::from_secs(10);
    let Ended(child) = &daemon;
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    let mut daemon = daemon;
    while daemon.0.try_wait().expect("a child").is_none() && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
    }
}

/// The description of a directory, put together as a client does.
fn claim(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let status = fs::metadata(path).expect("stat");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot ID");
    let escaped: String = path
        .to_string_lossy()
        .bytes()
        .map(|byte| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect();
    let (boot, device, inode) = (boot.trim(), status.dev(), status.ino());
    format!("boot={boot} device={device} inode={inode} mount=0 path={escaped}")
}

#[test]
fn a_directory_that_is_written_to_gives_its_last_state() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    let dir = engine.files(
        "live",
        &[("Dockerfile", "FROM busybox\nCOPY number /\n"), ("number", "0")],
    );
    let build =
        || -> Invocation { engine.cmd_of(Program::Havre, format!("build -q -t test {}", dir.display())) };
    for number in 1..8 {
        fs::write(dir.join("number"), number.to_string()).expect("written");
        build().ok();
        assert_eq!(
            engine.ok("run --rm --network none test cat /number"),
            number.to_string()
        );
    }
}
