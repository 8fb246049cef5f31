//! The daemon as a service: units, sockets that are passed, what systemd is told, and a new binary that takes over. Needs
//! root, not systemd; what only systemd's own tools can judge is skipped where they lack.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use fs_err as fs;
use havre_testing::{TestEngine, eventually, havre_binary, http};
use rustix::process::{Pid, Signal, kill_process};

/// A daemon of another binary in an engine's place.
struct Other(Child);

impl Other {
    /// `prefix` is what a shell does before it becomes the daemon; standard input is what it finds there.
    fn start(engine: &TestEngine, program: &Path, prefix: &str, stdin: Stdio, notify: &Path) -> Self {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(engine.dir().join("daemon.log"))
            .expect("log");
        let log = log.into_parts().0;
        let script = format!("{prefix} exec \"$0\" \"$@\"");
        let child = Command::new("sh")
            .args(["-c", &script])
            .arg(program)
            .arg("daemon")
            .arg("--root")
            .arg(engine.root())
            .arg("--state")
            .arg(engine.dir().join("run"))
            .arg("--socket")
            .arg(engine.socket())
            .arg("--config")
            .arg(engine.dir().join("config.toml"))
            .env("HOME", engine.dir())
            .env("NOTIFY_SOCKET", notify)
            .stdin(stdin)
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("sh");
        let other = Self(child);
        eventually("it answers", || ping(engine));
        other
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    fn end(mut self) {
        self.signal(Signal::TERM);
        let status = self.0.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ping(engine: &TestEngine) -> bool {
    engine.api("GET", "/_ping").is_some_and(|pong| pong.status == 200)
}

/// What systemd would be told.
struct Told(UnixDatagram, PathBuf);

impl Told {
    fn listen(engine: &TestEngine) -> Self {
        let path = engine.dir().join("notify");
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("timeout");
        Self(socket, path)
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let read = self.0.recv(&mut buffer).expect("to be told something");
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    }
}

/// A copy of the program that a test may replace.
fn copy(engine: &TestEngine) -> PathBuf {
    let program = engine.dir().join("bin/havre");
    fs::create_dir_all(engine.dir().join("bin")).expect("directory");
    fs::copy(havre_binary(), &program).expect("a copy");
    program
}

/// Puts another program in its place, as a package manager does.
fn replace(program: &Path, with: &Path) {
    let aside = program.with_extension("new");
    fs::copy(with, &aside).expect("a copy");
    fs::rename(&aside, program).expect("renamed");
}

#[test]
fn a_new_binary_takes_over_and_nobody_is_refused() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box -p 127.0.0.1::80 busybox httpd -f -p 80");
    let before = engine.inspect("box");
    engine.stop_daemon();
    let (program, told) = (copy(&engine), Told::listen(&engine));
    let daemon = Other::start(&engine, &program, "", Stdio::null(), &told.1);
    assert!(told.next().contains("READY=1"));
    let inode = |path: &Path| {
        let metadata = fs::metadata(path).expect("a file");
        std::os::unix::fs::MetadataExt::ino(&metadata)
    };
    let socket = inode(engine.socket());

    /// Ends the clients also when the test fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let (stop, asked, refused) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let slowest = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut slowest = Duration::ZERO;
                    while !stop.load(Ordering::SeqCst) {
                        let began = Instant::now();
                        let answer = http::over_unix(engine.socket(), "GET", "/containers/json", "", b"");
                        if answer.is_ok_and(|answer| answer.status == 200 && answer.text().contains("/box")) {
                            asked.fetch_add(1, Ordering::SeqCst);
                        } else {
                            refused.fetch_add(1, Ordering::SeqCst);
                        }
                        slowest = slowest.max(began.elapsed());
                    }
                    slowest
                })
            })
            .collect();
        let stop = Stop(&stop);
        for _ in 0..3 {
            replace(&program, &havre_binary());
            let new = inode(&program);
            daemon.signal(Signal::HUP);
            let reloading = told.next();
            assert!(
                reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="),
                "{reloading}"
            );
            assert!(told.next().contains("READY=1"));
            let running = PathBuf::from(format!("/proc/{}/exe", daemon.pid()));
            assert_eq!(inode(&running), new, "the same process runs the new file");
            let answered = asked.load(Ordering::SeqCst);
            eventually("it answers again", || asked.load(Ordering::SeqCst) > answered);
        }
        drop(stop);
        clients
            .into_iter()
            .map(|client| client.join().expect("no panic"))
            .max()
    });
    assert_eq!(refused.load(Ordering::SeqCst), 0, "{}", engine.log());
    assert!(slowest < Some(Duration::from_secs(5)), "{slowest:?}");
    assert_eq!(inode(engine.socket()), socket, "the same socket all the time");
    let after = engine.inspect("box");
    assert_eq!(after["State"], before["State"], "the container did not notice");
    assert_eq!(engine.ok("exec box echo alive"), "alive");

    // A file that is no program does not take over.
    fs::write(engine.dir().join("broken"), "#!/bin/sh\nexit 3\n").expect("file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(engine.dir().join("broken"), mode).expect("mode");
    replace(&program, &engine.dir().join("broken"));
    daemon.signal(Signal::HUP);
    eventually("it says why not", || engine.log().contains("no handing over"));
    assert!(ping(&engine));
    daemon.end();
    assert!(told.next().contains("STOPPING=1"));
    assert!(!engine.socket().exists(), "its own socket goes with it");
    engine.start_daemon();
    engine.ok("rm -f box");
}

#[test]
fn a_socket_that_was_passed_is_served_and_stays() {
    let engine = TestEngine::with_busybox();
    engine.stop_daemon();
    let listener = UnixListener::bind(engine.socket()).expect("a socket");
    let (program, told) = (copy(&engine), Told::listen(&engine));
    // A client that comes before the daemon waits.
    let early = std::thread::spawn({
        let socket = engine.socket().to_owned();
        move || http::over_unix(&socket, "GET", "/_ping", "", b"").map(|answer| answer.status)
    });
    let pass = "exec 3<&0 </dev/null; LISTEN_PID=$$; LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS;";
    let stdin = Stdio::from(OwnedFd::from(listener.try_clone().expect("a descriptor")));
    let daemon = Other::start(&engine, &program, pass, stdin, &told.1);
    assert_eq!(early.join().expect("no panic").expect("an answer"), 200);
    assert!(told.next().contains("READY=1"));
    assert_eq!(engine.ok("run --rm busybox echo served"), "served");
    daemon.signal(Signal::HUP);
    assert!(told.next().contains("RELOADING=1"));
    assert!(told.next().contains("READY=1"));
    assert_eq!(engine.ok("run --rm busybox echo again"), "again");
    daemon.end();
    assert!(engine.socket().exists(), "it is not the daemon's");
    drop(listener);
    engine.start_daemon();
}

#[test]
fn by_systemds_own_hand() {
    let tool = "systemd-socket-activate";
    if Command::new(tool).arg("--version").output().is_err() {
        return;
    }
    let engine = TestEngine::with_busybox();
    engine.stop_daemon();
    let _ = fs::remove_file(engine.socket());
    let mut command = Command::new(tool);
    command
        .arg("-l")
        .arg(engine.socket())
        .arg(havre_binary())
        .arg("daemon");
    let child = command
        .arg("--root")
        .arg(engine.root())
        .arg("--state")
        .arg(engine.dir().join("run"))
        .arg("--socket")
        .arg(engine.socket())
        .arg("--config")
        .arg(engine.dir().join("config.toml"))
        .env("HOME", engine.dir())
        .stderr(Stdio::null())
        .spawn()
        .expect(tool);
    let daemon = Other(child);
    eventually("it listens", || engine.socket().exists());
    assert_eq!(engine.ok("run --rm busybox echo activated"), "activated");
    daemon.end();
    engine.start_daemon();
}

#[test]
fn units_are_written_checked_and_taken_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let units = dir.path().join("units");
    let havre = |words: &[&str]| {
        let output = Command::new(havre_binary())
            .arg("daemon")
            .args(words)
            .args(["--units", &units.to_string_lossy()])
            .output()
            .expect("havre");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, said) = havre(&["--install", "--root", "/srv/havre data", "--log-level", "debug"]);
    assert_eq!(code, Some(0), "{said}");
    for name in ["havre.service", "havre.socket"] {
        assert!(
            said.contains(&format!("wrote {}", units.join(name).display())),
            "{said}"
        );
    }
    assert!(said.contains("systemctl enable --now"), "{said}");
    let service = fs::read_to_string(units.join("havre.service")).expect("a unit");
    assert!(
        service.contains("daemon --root \"/srv/havre data\" --log-level debug\n"),
        "{service}"
    );
    let socket = fs::read_to_string(units.join("havre.socket")).expect("a unit");
    assert!(
        socket.contains("ListenStream=/srv/havre data/havre.sock"),
        "{socket}"
    );
    let checked = Command::new("systemd-analyze")
        .arg("verify")
        .arg(units.join("havre.service"))
        .arg(units.join("havre.socket"))
        .env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()))
        .output();
    if let Ok(checked) = checked {
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        let ours: Vec<_> = said.lines().filter(|line| line.contains("havre")).collect();
        assert!(ours.is_empty() && checked.status.success(), "{said}");
    }
    // Twice is the same.
    let (code, said) = havre(&["--install"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = havre(&["--uninstall"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("removed") && said.contains("/var/lib/havre"),
        "{said}"
    );
    assert_eq!(fs::read_dir(&units).expect("directory").count(), 0);
    let (code, said) = havre(&["--uninstall"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("there are no units"), "{said}");
    fs::write(units.join("havre.service"), "[Service]\n").expect("a unit of somebody else");
    let (code, said) = havre(&["--install"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("was not written by this command"), "{said}");
}
