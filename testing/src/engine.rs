//! An engine of a test's own.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{Args, Invocation, Output, Program, havre_binary};
use crate::http::{self, Response};
use crate::image::Image;
use crate::sweep;

/// How long a daemon may take to listen.
const READINESS: Duration = Duration::from_secs(20);

/// A daemon with everything of its own, ended and swept when dropped; or a dockerd somebody started.
pub struct TestEngine {
    dir: TempDir,
    socket: PathBuf,
    bridge: String,
    table: String,
    daemon: Mutex<Option<Child>>,
    /// Keeps the mount namespace of its surroundings.
    keeper: Mutex<Option<Child>>,
    /// Kept while a shared dockerd is in use.
    _turn: Option<fs::File>,
    surroundings: Surroundings,
    /// The client that `cmd` runs.
    program: Program,
}

/// What a daemon finds around it.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Additional lines of its configuration file.
    pub config: String,
    pub environment: Vec<(String, String)>,
    /// Files of the system that are others for this daemon: the place, and what stands there instead. It then lives in a
    /// mount namespace of its own.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// The network namespace it lives in; nobody's own unless set.
    pub network: Option<PathBuf>,
}

/// Puts files at other places in a new mount namespace and keeps it: `FILE PLACE …`
const AMID: &str =
    r#"while [ $# -gt 0 ]; do mount --bind "$1" "$2" || exit; shift 2; done; echo; exec sleep infinity"#;

impl TestEngine {
    /// A daemon, ready.
    pub fn start() -> Self {
        Self::with_config("")
    }

    /// A daemon with additional lines in its configuration file.
    pub fn with_config(lines: &str) -> Self {
        match std::env::var("HAVRE_TEST_DOCKER_HOST") {
            Ok(host) => Self::shared(&host),
            Err(_) => Self::own(
                Surroundings {
                    config: lines.to_owned(),
                    ..Surroundings::default()
                },
                None,
            ),
        }
    }

    /// A daemon in such surroundings.
    pub fn amid(surroundings: Surroundings) -> Self {
        Self::own(surroundings, None)
    }

    /// A daemon whose root lies in a certain directory (a small file system, say).
    pub fn at(root: &Path) -> Self {
        Self::own(Surroundings::default(), Some(root))
    }

    /// Other additional lines for its configuration file, from its next start on.
    pub fn configure(&self, lines: &str) {
        let (bridge, table) = (&self.bridge, &self.table);
        let own = format!("[network]\nbridge = \"{bridge}\"\ntable = \"{table}\"\n");
        let config = match lines.contains("[network]\n") {
            true => lines.replace("[network]\n", &own),
            false => format!("{lines}\n{own}"),
        };
        fs::write(self.dir.path().join("config.toml"), config).expect("config");
    }

    /// Whether the suite runs on somebody's dockerd, which cannot be killed or configured.
    pub fn is_dockerd() -> bool {
        std::env::var_os("HAVRE_TEST_DOCKER_HOST").is_some()
    }

    fn own(surroundings: Surroundings, root: Option<&Path>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::Builder::new()
            .prefix("havre-test-")
            .tempdir_in("/var/tmp")
            .expect("a directory");
        let unique = format!(
            "{:x}{:x}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let (bridge, table) = (format!("ht{unique}"), format!("havre_test_{unique}"));
        fs::create_dir(dir.path().join("client")).expect("client's directory");
        let root = root.map_or_else(|| dir.path().join("root"), Path::to_path_buf);
        std::os::unix::fs::symlink(root, dir.path().join("root-link")).expect("link");
        let engine = Self {
            socket: dir.path().join("havre.sock"),
            dir,
            bridge,
            table,
            daemon: Mutex::new(None),
            keeper: Mutex::new(None),
            _turn: None,
            surroundings,
            program: Program::Havre,
        };
        engine.configure(&engine.surroundings.config);
        engine.start_daemon();
        engine
    }

    fn shared(host: &str) -> Self {
        let socket = host
            .strip_prefix("unix://")
            .expect("HAVRE_TEST_DOCKER_HOST=unix:///path")
            .into();
        let lock = fs::File::create("/var/tmp/havre-test-dockerd.lock").expect("lock");
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("lock");
        let dir = tempfile::Builder::new()
            .prefix("havre-test-")
            .tempdir_in("/var/tmp")
            .expect("a directory");
        fs::create_dir(dir.path().join("client")).expect("client's directory");
        let engine = Self {
            dir,
            socket,
            bridge: "docker0".to_owned(),
            table: String::new(),
            daemon: Mutex::new(None),
            keeper: Mutex::new(None),
            _turn: Some(lock),
            surroundings: Surroundings::default(),
            program: Program::Docker,
        };
        engine.empty();
        engine
    }

    /// Removes every container, image and volume.
    fn empty(&self) {
        for (list, remove) in [
            ("ps -aq", "rm -f -v"),
            ("images -aq", "rmi -f"),
            ("volume ls -q", "volume rm -f"),
        ] {
            let found = self.cmd(list).run();
            let mut ids: Vec<_> = found.out().lines().map(str::to_owned).collect();
            ids.sort();
            ids.dedup();
            if !ids.is_empty() {
                self.cmd(format!("{remove} {}", ids.join(" "))).run();
            }
        }
        self.cmd("builder prune -af").run();
    }

    /// Starts the daemon (again) and waits until it answers.
    ///
    /// # Panics
    /// With its log, when it doesn't.
    pub fn start_daemon(&self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("log");
        let log = log.into_parts().0;
        let child = self
            .launcher()
            .arg("daemon")
            .arg("--root")
            .arg(self.root())
            .arg("--state")
            .arg(self.dir.path().join("run"))
            .arg("--socket")
            .arg(&self.socket)
            .arg("--config")
            .arg(self.dir.path().join("config.toml"))
            .args(["--log-level", "debug"])
            .env("HOME", self.dir.path())
            .envs(
                self.surroundings
                    .environment
                    .iter()
                    .map(|(key, value)| (key, value)),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().expect("log")))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("the havre binary");
        let mut daemon = self.lock();
        *daemon = Some(child);
        let patience = Instant::now() + READINESS;
        while self.api("GET", "/_ping").is_none_or(|pong| pong.status != 200) {
            let ended = daemon.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(
                ended.is_none() && Instant::now() < patience,
                "the daemon is not ready ({ended:?}):\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The built binary, in its surroundings.
    fn launcher(&self) -> Command {
        let Surroundings { files, network, .. } = &self.surroundings;
        if files.is_empty() && network.is_none() {
            return Command::new(havre_binary());
        }
        let mut command = Command::new("nsenter");
        if !files.is_empty() {
            command.arg(format!("--mount=/proc/{}/ns/mnt", self.keep_files()));
        }
        if let Some(network) = network {
            command.arg(format!("--net={}", network.display()));
        }
        command.arg(havre_binary());
        command
    }

    /// The process in whose mount namespace the files of the surroundings are: what one daemon mounts there, the next finds.
    fn keep_files(&self) -> u32 {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let keeper = keeper.get_or_insert_with(|| {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private", "sh", "-c", AMID, "sh"]);
            for (place, file) in &self.surroundings.files {
                command.arg(file).arg(place);
            }
            let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
            let mut child = spawned.expect("unshare");
            let mut said = [0];
            let ready = child.stdout.as_mut().expect("a pipe").read_exact(&mut said);
            ready.expect("the files of the surroundings");
            child
        });
        keeper.id()
    }

    /// Ends the daemon as an administrator would, and waits for it. Returns its exit code.
    pub fn stop_daemon(&self) -> Option<i32> {
        self.end_daemon(Signal::TERM)
    }

    /// Ends the daemon as the kernel would when memory is short.
    pub fn kill_daemon(&self) {
        self.end_daemon(Signal::KILL);
    }

    fn end_daemon(&self, signal: Signal) -> Option<i32> {
        let mut child = self.lock().take()?;
        let _ = kill_process(Pid::from_child(&child), signal);
        let patience = Instant::now() + READINESS;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return status.code(),
                Ok(None) if Instant::now() > patience => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return None;
                }
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Pid of the daemon.
    pub fn daemon_pid(&self) -> u32 {
        self.lock().as_ref().map(Child::id).expect("a daemon that runs")
    }

    /// Command line of the client this suite speaks with: our own (on somebody's dockerd: the official one), or what
    /// `HAVRE_TEST_CLI` says, `havre` or `docker`.
    pub fn cmd(&self, words: impl Args) -> Invocation {
        let program = match std::env::var("HAVRE_TEST_CLI").as_deref() {
            Ok("docker") => Program::Docker,
            Ok("havre") => Program::Havre,
            _ => self.program,
        };
        self.cmd_of(program, words)
    }

    /// Command line of a certain client.
    pub fn cmd_of(&self, program: Program, words: impl Args) -> Invocation {
        let path = match program {
            Program::Havre => havre_binary(),
            Program::Docker => PathBuf::from("docker"),
        };
        let client = self.dir.path().join("client");
        let environment = [
            ("DOCKER_HOST", self.host()),
            ("DOCKER_CONFIG", client.to_string_lossy().into_owned()),
            ("HOME", self.dir.path().to_string_lossy().into_owned()),
            ("DOCKER_BUILDKIT", "0".to_owned()),
        ];
        Invocation::new(&path, &words.words(), &environment)
    }

    /// Runs the client.
    pub fn run(&self, words: impl Args) -> Output {
        self.cmd(words).run()
    }

    /// Runs the client, which must succeed; returns what it printed.
    #[track_caller]
    pub fn ok(&self, words: impl Args) -> String {
        self.cmd(words).run().ok()
    }

    /// Runs the client, which must fail with this code; returns what it complained.
    #[track_caller]
    pub fn fails(&self, code: i32, words: impl Args) -> String {
        self.cmd(words).run().fails(code)
    }

    /// One API request; `None` when nobody listens.
    pub fn api(&self, method: &str, target: &str) -> Option<Response> {
        UnixStream::connect(&self.socket).ok()?;
        http::over_unix(&self.socket, method, target, "", b"").ok()
    }

    /// One API request with a JSON body.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn post(&self, target: &str, body: &Value) -> Response {
        http::over_unix(
            &self.socket,
            "POST",
            target,
            "application/json",
            body.to_string().as_bytes(),
        )
        .expect("an answer")
    }

    /// Loads an image under a name; without a tag it is `latest`.
    pub fn load(&self, image: &Image, name: &str) {
        let tagged = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let name = &if tagged {
            name.to_owned()
        } else {
            format!("{name}:latest")
        };
        let archive = image.docker_archive(&[name]);
        let answer = http::over_unix(
            &self.socket,
            "POST",
            "/images/load?quiet=1",
            "application/x-tar",
            &archive,
        )
        .expect("an answer");
        assert_eq!(answer.status, 200, "load of {name}: {}", answer.text());
        assert!(
            !answer.text().contains("errorDetail"),
            "load of {name}: {}",
            answer.text()
        );
    }

    /// An engine that has `busybox`.
    pub fn with_busybox() -> Self {
        let engine = Self::start();
        engine.load(&Image::busybox(), "busybox:latest");
        engine
    }

    /// `docker inspect` of one object.
    pub fn inspect(&self, name: &str) -> Value {
        let text = self.ok(["inspect", name]);
        let all: Value = serde_json::from_str(&text).expect("JSON");
        all[0].clone()
    }

    /// Value of `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A directory of the test's own, beside the engine's.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The client's `~/.docker`.
    pub fn client_dir(&self) -> PathBuf {
        self.dir.path().join("client")
    }

    pub fn root(&self) -> PathBuf {
        fs::read_link(self.dir.path().join("root-link")).expect("an own engine")
    }

    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// Its table of firewall rules.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// A directory with these files (name, content), for builds and mounts.
    pub fn files(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.dir.path().join("files").join(name);
        fs::create_dir_all(&dir).expect("directory");
        for (file, content) in files {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().unwrap_or(&dir)).expect("directory");
            fs::write(path, content).expect("file");
        }
        dir
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("daemon.log")
    }

    /// The daemon's log.
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn container_ids(&self) -> Vec<String> {
        let Some(answer) = self.api("GET", "/containers/json?all=1") else {
            return Vec::new();
        };
        let Ok(list) = serde_json::from_slice::<Value>(&answer.body) else {
            return Vec::new();
        };
        let ids = list.as_array().into_iter().flatten();
        ids.filter_map(|one| one["Id"].as_str().map(str::to_owned))
            .collect()
    }
}

impl Drop for TestEngine {
    // A failing test says why on its own standard error.
    #[allow(clippy::print_stderr)]
    fn drop(&mut self) {
        if self._turn.is_some() {
            return self.empty();
        }
        let containers = self.container_ids();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!(
                "--- the daemon's last words\n{}",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
        for id in &containers {
            self.api("DELETE", &format!("/containers/{id}?force=1&v=1"));
        }
        self.end_daemon(Signal::TERM);
        sweep::processes(self.dir.path(), &containers);
        sweep::mounts(self.dir.path());
        sweep::mounts(&self.root());
        sweep::cgroups(&containers);
        sweep::network(&self.bridge, &self.table, &self.dir.path().join("run"));
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut keeper) = keeper.take() {
            let _ = keeper.kill();
            let _ = keeper.wait();
        }
    }
}
