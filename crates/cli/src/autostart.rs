//! Starting the engine of this machine when none answers.
//!
//! One at a time: a lock in the root directory makes a second client wait for the first, and then find the engine
//! listening. The new process reports over its standard output (a pipe) when it listens; its end without that
//! report is a failure, shown with what its log gained.

use std::env;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use rustix::fs::FlockOperation;

use crate::endpoint::{DEFAULT_ROOT, DEFAULT_SOCKET};
use crate::error::CliError;

/// A log of this size is put aside before the next start.
const MAX_LOG: u64 = 16 << 20;
/// How much of the log a failure shows.
const TAIL_LINES: usize = 15;
/// What the engine writes when it listens.
pub(crate) const READY: &str = "ready\n";

/// An engine that may be started.
#[derive(Debug, Clone)]
pub(crate) struct Autostart {
    root: PathBuf,
    socket: PathBuf,
}

impl Autostart {
    /// The engine of this machine at its default places.
    pub(crate) fn local() -> Self {
        Self {
            root: PathBuf::from(DEFAULT_ROOT),
            socket: PathBuf::from(DEFAULT_SOCKET),
        }
    }

    /// Returns when an engine listens.
    pub(crate) fn start(&self) -> Result<(), CliError> {
        let failed = |reason: String| CliError::Autostart { reason };
        if !rustix::process::geteuid().is_root() {
            return Err(failed(format!(
                "no engine listens at unix://{}, and only root can start one: run `sudo havre info` once, or set DOCKER_HOST",
                self.socket.display()
            )));
        }
        self.prepare().map_err(|error| failed(error.to_string()))?;
        let lock = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.root.join("start.lock"))
            .map_err(|error| failed(error.to_string()))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| failed(format!("{}: {error}", self.root.join("start.lock").display())))?;
        if UnixStream::connect(&self.socket).is_ok() {
            return Ok(());
        }
        self.spawn()
    }

    fn prepare(&self) -> io::Result<()> {
        if !self.root.exists() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.root)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.root.display())))?;
        }
        Ok(())
    }

    fn spawn(&self) -> Result<(), CliError> {
        let log_path = self.root.join("daemon.log");
        let failed = |reason: String| CliError::Autostart { reason };
        if fs::metadata(&log_path).is_ok_and(|meta| meta.len() > MAX_LOG) {
            let _ = fs::rename(&log_path, self.root.join("daemon.log.1"));
        }
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&log_path)
            .map_err(|error| failed(error.to_string()))?;
        let before = log.metadata().map(|meta| meta.len()).unwrap_or(0);
        let program = env::current_exe().map_err(|error| failed(format!("own program file: {error}")))?;
        let mut child = Command::new(&program)
            .arg("daemon")
            .arg("--root")
            .arg(&self.root)
            .arg("--state")
            .arg(self.socket.parent().unwrap_or(Path::new("/run/havre")))
            .arg("--socket")
            .arg(&self.socket)
            .arg("--notify")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log.into_parts().0))
            .spawn()
            .map_err(|error| failed(format!("{}: {error}", program.display())))?;
        let mut report = String::new();
        if let Some(mut pipe) = child.stdout.take() {
            let mut bytes = [0; READY.len()];
            if pipe.read_exact(&mut bytes).is_ok() {
                report = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        if report == READY {
            return Ok(());
        }
        let status = child
            .wait()
            .map(|status| status.to_string())
            .unwrap_or_else(|error| error.to_string());
        Err(failed(format!(
            "it ended at once ({status}); the end of its log {}:\n{}",
            log_path.display(),
            tail(&log_path, before)
        )))
    }
}

/// The last lines of what a file gained behind `from`.
fn tail(path: &Path, from: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = fs::File::open(path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(end.saturating_sub(16 << 10))))?;
        let mut bytes = Vec::new();
        file.take(16 << 10).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = match read() {
        Ok(text) if text.trim().is_empty() => "(it wrote nothing)".to_owned(),
        Ok(text) => text,
        Err(error) => format!("(cannot be read: {error})"),
    };
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_what_the_last_start_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let old = "old line\n";
        let new: String = (0..40).map(|n| format!("line {n}\n")).collect();
        fs::write(&path, format!("{old}{new}")).unwrap();
        let shown = tail(&path, old.len() as u64);
        assert!(
            shown.starts_with("line 25\n") && shown.ends_with("line 39"),
            "{shown}"
        );
        assert_eq!(tail(&path, (old.len() + new.len()) as u64), "(it wrote nothing)");
    }
}
