//! Engines that are not behind a socket of this machine: over TCP with TLS, over ssh, and by contexts, which our client
//! and the official one share. Needs root, and `docker` on the PATH.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use havre_testing::{
    Args, Authority, Image, Invocation, Pair, Program, Surroundings, TestEngine, havre_binary,
};
use tempfile::TempDir;

const BOTH: [Program; 2] = [Program::Havre, Program::Docker];

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// An engine that asks for certificates, one port of it, and files with certificates.
struct Remote {
    engine: TestEngine,
    port: u16,
    certificates: TempDir,
}

impl Remote {
    fn start() -> Self {
        let authority = Authority::new("engines");
        let certificates = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| {
            let path = certificates.path().join(name);
            fs::write(&path, text).expect("file");
            path.display().to_string()
        };
        let server = authority.issue(&["127.0.0.1", "localhost"]);
        let ca = put("ca.pem", authority.certificate());
        let (cert, key) = (
            put("server-cert.pem", &server.certificate),
            put("server-key.pem", &server.key),
        );
        let client = authority.issue_client("me");
        put("cert.pem", &client.certificate);
        put("key.pem", &client.key);
        let port = free_port();
        let engine = TestEngine::amid(Surroundings {
            config: format!(
                "[listen]\nhosts = [\"tcp://127.0.0.1:{port}\"]\ntlsverify = true\ntlscacert = \"{ca}\"\ntlscert = \"{cert}\"\ntlskey = \"{key}\"\n"
            ),
            ..Surroundings::default()
        });
        engine.load(&Image::busybox(), "busybox");
        Self {
            engine,
            port,
            certificates,
        }
    }

    fn file(&self, name: &str) -> String {
        self.certificates.path().join(name).display().to_string()
    }

    /// Flags that name all files and the port.
    fn flags(&self) -> Vec<String> {
        let words = format!(
            "--tlsverify --tlscacert {} --tlscert {} --tlskey {} -H tcp://127.0.0.1:{}",
            self.file("ca.pem"),
            self.file("cert.pem"),
            self.file("key.pem"),
            self.port
        );
        words.split(' ').map(str::to_owned).collect()
    }

    fn docker_option(&self) -> String {
        format!(
            "host=tcp://127.0.0.1:{},ca={},cert={},key={}",
            self.port,
            self.file("ca.pem"),
            self.file("cert.pem"),
            self.file("key.pem")
        )
    }

    /// A client to which only its flags name the engine.
    fn client(&self, program: Program, words: impl Args) -> Invocation {
        self.engine.cmd_of(program, words).env("DOCKER_HOST", "")
    }
}

fn words<'a>(flags: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    flags
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect()
}

#[test]
fn certificates_by_flags_and_by_the_environment() {
    let remote = Remote::start();
    let flags = remote.flags();
    let address = format!("tcp://127.0.0.1:{}", remote.port);
    for program in BOTH {
        let run = words(&flags, &["run", "--rm", "-i", "busybox", "wc", "-c"]);
        // Upgraded connections, and the end of one direction, go through TLS too.
        let said = remote
            .client(program, run.as_slice())
            .stdin(vec![b'x'; 300_000])
            .ok();
        assert_eq!(said, "300000");
        let by_environment = remote
            .client(program, ["ps", "-aq"])
            .env("DOCKER_HOST", &address)
            .env("DOCKER_TLS_VERIFY", "1")
            .env(
                "DOCKER_CERT_PATH",
                &remote.certificates.path().display().to_string(),
            );
        assert_eq!(by_environment.ok(), "");
        // The usual place is the client's directory.
        let home = remote.engine.client_dir();
        for name in ["ca.pem", "cert.pem", "key.pem"] {
            fs::copy(remote.file(name), home.join(name)).expect("copied");
        }
        let usual = remote.client(program, ["--tlsverify", "-H", &address, "ps", "-aq"]);
        assert_eq!(usual.ok(), "");
        for name in ["ca.pem", "cert.pem", "key.pem"] {
            fs::remove_file(home.join(name)).expect("removed");
        }
        let missing = remote.client(program, ["--tls", "-H", &address, "ps"]).run();
        assert_eq!(
            missing.fails(1),
            format!(
                "Failed to initialize: unable to resolve docker endpoint: open {}/ca.pem: no such file or directory",
                home.display()
            )
        );
    }
}

#[test]
fn who_has_no_certificate_stays_outside() {
    let remote = Remote::start();
    let foreign = Authority::new("foreign");
    let stranger = foreign.issue_client("me");
    for (name, text) in [
        ("foreign.pem", foreign.certificate()),
        ("stranger-cert.pem", &stranger.certificate),
        ("stranger-key.pem", &stranger.key),
    ] {
        fs::write(remote.certificates.path().join(name), text).expect("file");
    }
    let address = format!("tcp://127.0.0.1:{}", remote.port);
    let ask = |line: String| {
        let words: Vec<&str> = line.split(' ').collect();
        remote.client(Program::Havre, words.as_slice()).run()
    };
    let (ca, own) = (remote.file("ca.pem"), remote.file("foreign.pem"));
    let none = ask(format!("--tlsverify --tlscacert {ca} -H {address} ps"));
    assert_eq!(
        none.fails(1),
        "error during connect: remote error: tls: certificate required: the engine wants one of the client, given by --tlscert and --tlskey"
    );
    let (cert, key) = (remote.file("stranger-cert.pem"), remote.file("stranger-key.pem"));
    let wrong = ask(format!(
        "--tlsverify --tlscacert {ca} --tlscert {cert} --tlskey {key} -H {address} ps"
    ));
    let said = wrong.fails(1);
    assert!(
        said.starts_with("error during connect: remote error: tls: "),
        "{said}"
    );
    // Nor do we speak with an engine that is not the one.
    let (cert, key) = (remote.file("cert.pem"), remote.file("key.pem"));
    let identity = format!("--tlscert {cert} --tlskey {key} -H {address} ps -aq");
    let unknown = ask(format!("--tlsverify --tlscacert {own} {identity}"));
    assert_eq!(
        unknown.fails(1),
        format!(
            "error during connect to {address}: tls: failed to verify certificate: x509: certificate signed by unknown authority"
        )
    );
    assert_eq!(ask(format!("--tls --tlscacert {own} {identity}")).ok(), "");
    // Who speaks without TLS is told so, and the other way round.
    let mut stream = TcpStream::connect(("127.0.0.1", remote.port)).expect("connect");
    stream
        .write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.0 400 Bad Request\r\n")
            && answer.ends_with("Client sent an HTTP request to an HTTPS server.\n"),
        "{answer}"
    );
    let plain = ask(format!("-H {address} ps"));
    assert_eq!(
        plain.fails(1),
        "Error response from daemon: Client sent an HTTP request to an HTTPS server."
    );
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let clear = ask(format!(
        "--tlsverify --tlscacert {ca} -H tcp://127.0.0.1:{port} ps"
    ));
    assert_eq!(
        clear.fails(1),
        format!(
            "error during connect to tcp://127.0.0.1:{port}: http: server gave HTTP response to HTTPS client"
        )
    );
    // The engine answers its friends still.
    let flags = remote.flags();
    remote
        .client(Program::Havre, words(&flags, &["version"]).as_slice())
        .ok();
}

#[test]
fn a_context_made_by_one_client_is_used_by_the_other() {
    let remote = Remote::start();
    let option = remote.docker_option();
    for (maker, user) in [
        (Program::Havre, Program::Docker),
        (Program::Docker, Program::Havre),
    ] {
        let say = |program: Program, line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            remote.client(program, words.as_slice()).ok()
        };
        remote
            .client(
                maker,
                [
                    "context",
                    "create",
                    "box",
                    "--description",
                    "the <box>",
                    "--docker",
                    &option,
                ],
            )
            .ok();
        assert_eq!(
            say(user, "--context box run --rm busybox echo over there"),
            "over there"
        );
        assert_eq!(
            say(user, "context inspect box"),
            say(maker, "context inspect box")
        );
        assert_eq!(say(user, "context use box"), "box");
        assert_eq!(say(maker, "context show"), "box");
        let id = say(maker, "run -d --name here busybox true");
        assert_eq!(say(user, "ps -aq --no-trunc"), id);
        say(user, "rm -f here");
        // As an archive from one to the other, certificates included.
        let file = remote.certificates.path().join("box.tar");
        say(maker, &format!("context export box {}", file.display()));
        assert_eq!(
            fs::metadata(&file).expect("the archive").permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            say(user, &format!("context import copy {}", file.display())),
            "copy"
        );
        assert_eq!(say(maker, "--context copy ps -aq"), "");
        fs::remove_file(&file).expect("removed");
        // What one changes, the other sees.
        say(user, "context update copy --docker host=unix:///nonexistent.sock");
        let gone = remote.client(maker, ["--context", "copy", "ps"]).run();
        assert_eq!(
            gone.fails(1),
            "Cannot connect to the Docker daemon at unix:///nonexistent.sock. Is the docker daemon running?"
        );
        let in_use = remote.client(user, ["context", "rm", "box", "copy"]).run();
        assert_eq!((in_use.out().as_str(), in_use.code), ("copy", 1), "{in_use}");
        assert_eq!(say(user, "context rm -f box"), "box");
        assert_eq!(say(maker, "context show"), "default");
        assert_eq!(say(maker, "context ls -q"), "default");
        let left = fs::read_dir(remote.engine.client_dir().join("contexts/tls")).map(Iterator::count);
        assert_eq!(left.unwrap_or(0), 0, "no key is left behind");
    }
}

#[test]
fn a_certificate_signed_by_its_own_key_is_its_own_authority() {
    let pair = Pair::self_signed(&["127.0.0.1"]);
    let dir = tempfile::tempdir().expect("a directory");
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("file");
        path.display().to_string()
    };
    let (cert, key) = (put("cert.pem", &pair.certificate), put("key.pem", &pair.key));
    let port = free_port();
    let engine = TestEngine::amid(Surroundings {
        config: format!(
            "[listen]\nhosts = [\"tcp://127.0.0.1:{port}\"]\ntls = true\ntlscert = \"{cert}\"\ntlskey = \"{key}\"\n"
        ),
        ..Surroundings::default()
    });
    assert!(
        engine
            .log()
            .contains("listening without asking clients for certificates"),
        "{}",
        engine.log()
    );
    let ask = |host: &str| {
        let words = ["--tlsverify", "--tlscacert", &cert, "-H", host, "ps", "-aq"];
        engine.cmd(words).env("DOCKER_HOST", "").run()
    };
    assert_eq!(ask(&format!("tcp://127.0.0.1:{port}")).ok(), "");
    // It is trusted as what it says, not as anything.
    let said = ask(&format!("tcp://localhost:{port}")).fails(1);
    assert!(
        said.contains("tls: failed to verify certificate: x509: "),
        "{said}"
    );
}

/// What a daemon says that does not start.
fn refused(arguments: &[&str]) -> String {
    let root = tempfile::tempdir().expect("a directory");
    let output = Command::new(havre_binary())
        .args(["daemon", "--root"])
        .arg(root.path())
        .args(arguments)
        .output()
        .expect("the havre binary");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        fs::read_dir(root.path()).expect("root").count(),
        0,
        "nothing is made before"
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_daemon_does_not_listen_to_strangers() {
    let said = refused(&["-H", "tcp://0.0.0.0:0"]);
    assert!(
        said.contains("refusing to listen on tcp://0.0.0.0:0 without verifying clients: whoever reaches it would be root on this machine"),
        "{said}"
    );
    let said = refused(&["-H", "tcp://:0", "--tls", "--tlscert", "x", "--tlskey", "y"]);
    assert!(said.contains("say --tlsverify=false"), "{said}");
    let said = refused(&["-H", "udp://x"]);
    assert!(said.contains("invalid --host address \"udp://x\""), "{said}");
}

/// A directory with an `ssh` that runs the command on this machine, where `docker` is our binary. The machine `far` cannot be reached,
/// which takes as long as it takes the client to ask something.
fn ssh_stub(engine: &TestEngine) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let there = dir.path().join("there");
    fs::create_dir(&there).expect("directory");
    std::os::unix::fs::symlink(havre_binary(), there.join("docker")).expect("link");
    let log = dir.path().join("arguments");
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$*\" >> {}\nwhile [ \"$1\" != -- ]; do shift; done\nshift\n\
         if [ \"$1\" = far ]; then read -r _; echo 'ssh: connect to host far port 22: No route to host' >&2; exit 255; fi\nshift\n\
         PATH={}:/usr/bin:/bin\nexport PATH\nDOCKER_HOST={}\nexport DOCKER_HOST\nexec \"$@\"\n",
        log.display(),
        there.display(),
        engine.host()
    );
    let ssh = dir.path().join("ssh");
    fs::write(&ssh, script).expect("script");
    fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).expect("mode");
    (dir, log)
}

fn with_path(invocation: Invocation, dir: &Path) -> Invocation {
    let path = std::env::var("PATH").unwrap_or_default();
    invocation
        .env("DOCKER_HOST", "")
        .env("PATH", &format!("{}:{path}", dir.display()))
}

#[test]
fn over_ssh() {
    let engine = TestEngine::with_busybox();
    let (dir, log) = ssh_stub(&engine);
    let ask = |program: Program, words: &[&str]| with_path(engine.cmd_of(program, words), dir.path());
    for program in BOTH {
        let said = ask(
            program,
            &[
                "-H",
                "ssh://me@box:2222",
                "run",
                "--rm",
                "-i",
                "busybox",
                "wc",
                "-c",
            ],
        );
        assert_eq!(said.stdin(vec![b'x'; 300_000]).ok(), "300000");
        let arguments = fs::read_to_string(&log).expect("the log");
        assert_eq!(
            arguments.lines().next(),
            Some("-o ConnectTimeout=30 -T -l me -p 2222 -- box docker system dial-stdio")
        );
        fs::remove_file(&log).expect("removed");
        // A socket of the other machine.
        let host = format!("ssh://box{}", engine.socket().display());
        ask(
            program,
            &[
                "context",
                "create",
                "far-away",
                "--docker",
                &format!("host={host}"),
            ],
        )
        .ok();
        assert_eq!(ask(program, &["-c", "far-away", "ps", "-aq"]).ok(), "");
        let arguments = fs::read_to_string(&log).expect("the log");
        assert_eq!(
            arguments.lines().next(),
            Some(
                format!(
                    "-o ConnectTimeout=30 -T -- box docker --host unix://{} system dial-stdio",
                    engine.socket().display()
                )
                .as_str()
            )
        );
        fs::remove_file(&log).expect("removed");
        ask(program, &["context", "rm", "far-away"]).ok();
        let said = ask(program, &["-H", "ssh://far", "ps"]).run().fails(1);
        assert!(
            said.contains("command [ssh -o ConnectTimeout=30 -T -- far docker system dial-stdio] has exited with exit status 255, make sure the URL is valid, and Docker 18.09 or later is installed on the remote host: stderr=ssh: connect to host far port 22: No route to host"),
            "{said}"
        );
        fs::remove_file(&log).expect("removed");
    }
    // A build sends its context there: the other machine does not see our files.
    let context = engine.files(
        "context",
        &[("Dockerfile", "FROM busybox\nCOPY it /it\n"), ("it", "sent")],
    );
    let context = context.display().to_string();
    ask(
        Program::Havre,
        &["-H", "ssh://box", "build", "-q", "-t", "sent", &context],
    )
    .ok();
    let shown = ask(
        Program::Havre,
        &["-H", "ssh://box", "run", "--rm", "sent", "cat", "/it"],
    );
    assert_eq!(shown.ok(), "sent");
}

#[test]
fn standard_streams_as_a_connection() {
    let engine = TestEngine::start();
    let request = "GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut dialled = engine.cmd("system dial-stdio").spawn();
    dialled.write(request);
    dialled.wait_for("\r\n\r\nOK");
    // The engine closes; that our side has not is no reason to stay.
    let said = dialled.finish().ok();
    assert!(
        said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("\r\n\r\nOK"),
        "{said}"
    );
    let error = engine
        .cmd("system dial-stdio")
        .env("DOCKER_HOST", "unix:///nonexistent.sock")
        .run()
        .fails(1);
    assert_eq!(
        error,
        "Cannot connect to the Docker daemon at unix:///nonexistent.sock. Is the docker daemon running?"
    );
}
