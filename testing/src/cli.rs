//! Command lines run against an engine: started, fed, timed out, and judged.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Nothing a test runs takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which client speaks to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Havre,
    /// The official `docker` on the PATH.
    Docker,
}

/// Arguments: an array of words, or one line that is split at spaces.
pub trait Args {
    fn words(&self) -> Vec<String>;
}

impl Args for &str {
    fn words(&self) -> Vec<String> {
        self.split_whitespace().map(str::to_owned).collect()
    }
}

impl Args for String {
    fn words(&self) -> Vec<String> {
        self.as_str().words()
    }
}

impl Args for &String {
    fn words(&self) -> Vec<String> {
        self.as_str().words()
    }
}

impl<const N: usize> Args for [&str; N] {
    fn words(&self) -> Vec<String> {
        self.iter().map(|word| (*word).to_owned()).collect()
    }
}

impl Args for &[&str] {
    fn words(&self) -> Vec<String> {
        self.iter().map(|word| (*word).to_owned()).collect()
    }
}

impl Args for Vec<String> {
    fn words(&self) -> Vec<String> {
        self.clone()
    }
}

/// A command line about to run.
pub struct Invocation {
    command: Command,
    shown: String,
    stdin: Option<Vec<u8>>,
}

impl Invocation {
    pub(crate) fn new(program: &Path, words: &[String], environment: &[(&str, String)]) -> Self {
        let mut command = Command::new(program);
        command.args(words);
        for name in [
            "DOCKER_HOST",
            "DOCKER_CONTEXT",
            "DOCKER_TLS_VERIFY",
            "DOCKER_CERT_PATH",
            "DOCKER_API_VERSION",
            "CI",
            "NO_COLOR",
        ] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        for (key, value) in environment {
            command.env(key, value);
        }
        let shown = format!(
            "{} {}",
            program.file_name().unwrap_or_default().to_string_lossy(),
            words.join(" ")
        );
        Self {
            command,
            shown,
            stdin: None,
        }
    }

    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self
    }

    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it doesn't end in a minute.
    pub fn run(mut self) -> Output {
        let input = self.stdin.take();
        let mut running = self.spawn();
        if let (Some(bytes), Some(mut pipe)) = (input, running.stdin.take()) {
            // A thread: who reads nothing and writes much must not stop both sides.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        running.stdin = None;
        running.finish()
    }

    /// Runs it to its end, which must be success, and returns what it printed, without the last line's end.
    pub fn ok(self) -> String {
        self.run().ok()
    }

    /// Starts it and returns at once.
    pub fn spawn(mut self) -> Running {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.command.get_program().display()));
        let stdout = Collector::start(child.stdout.take().expect("a pipe"));
        let stderr = Collector::start(child.stderr.take().expect("a pipe"));
        Running {
            stdin: child.stdin.take(),
            child,
            shown: self.shown,
            stdout,
            stderr,
        }
    }
}

/// A command line that runs.
pub struct Running {
    pub stdin: Option<ChildStdin>,
    child: Child,
    shown: String,
    stdout: Collector,
    stderr: Collector,
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until its output contains the text.
    ///
    /// # Panics
    /// After a minute, or when it ends without.
    pub fn wait_for(&mut self, text: &str) {
        let patience = Instant::now() + PATIENCE;
        loop {
            let ended = matches!(self.child.try_wait(), Ok(Some(_)));
            if self.stdout().contains(text) || self.stderr().contains(text) {
                return;
            }
            if ended || Instant::now() > patience {
                // The collectors may be a moment behind the process.
                thread::sleep(Duration::from_millis(100));
                let (out, err) = (self.stdout(), self.stderr());
                assert!(
                    out.contains(text) || err.contains(text),
                    "`{}` never said {text:?}:\n{out}\n{err}",
                    self.shown
                );
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes to its standard input.
    pub fn write(&mut self, text: &str) {
        let pipe = self.stdin.as_mut().expect("its standard input is still open");
        pipe.write_all(text.as_bytes())
            .and_then(|()| pipe.flush())
            .expect("it reads");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Closes its standard input and waits for its end.
    ///
    /// # Panics
    /// When it doesn't end in a minute.
    pub fn finish(mut self) -> Output {
        self.stdin = None;
        let patience = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => break status,
                None if Instant::now() > patience => {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    panic!(
                        "`{}` did not end:\n{}\n{}",
                        self.shown,
                        self.stdout(),
                        self.stderr()
                    );
                }
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        use std::os::unix::process::ExitStatusExt;
        let code = status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        Output {
            shown: self.shown.clone(),
            code,
            stdout: self.stdout.join(),
            stderr: self.stderr.join(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a command line left.
#[derive(Clone, Debug)]
pub struct Output {
    shown: String,
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Output {
    /// File name of the program that ran.
    pub fn program(&self) -> String {
        self.shown.split(' ').next().unwrap_or_default().to_owned()
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout)
            .trim_end_matches('\n')
            .to_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr)
            .trim_end_matches('\n')
            .to_owned()
    }

    /// Success: what it printed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.out()
    }

    /// Failure with this code: what it complained.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self}");
        assert_ne!(self.err(), "", "a failure without a word\n{self}");
        self.err()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.shown,
            self.code,
            self.out(),
            self.err()
        )
    }
}

/// Reads a pipe to its end while somebody looks.
struct Collector {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    fn start(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(length) = pipe.read(&mut buffer) {
                if length == 0 {
                    return;
                }
                shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(&buffer[..length]);
            }
        });
        Self {
            bytes,
            thread: Some(thread),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Everything, once the process has ended. A grandchild that keeps the pipe open is not waited for.
    fn join(&mut self) -> Vec<u8> {
        if let Some(thread) = self.thread.take() {
            let patience = Instant::now() + Duration::from_secs(2);
            while !thread.is_finished() && Instant::now() < patience {
                thread::sleep(Duration::from_millis(1));
            }
        }
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where a program is: by its variable, or beside this test's own directory.
pub fn havre_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("HAVRE_BIN") {
        return PathBuf::from(path);
    }
    let own = std::env::current_exe().expect("own path");
    // target/debug/deps/test-0123 → target/debug/havre
    let beside = own.parent().and_then(Path::parent).map(|dir| dir.join("havre"));
    beside
        .filter(|path| path.exists())
        .expect("the havre binary: build it first, or set HAVRE_BIN")
}
