//! A runtime of the host (runc, crun, …): a program with the command line of runc, which makes containers in place of the
//! library in the shim. The shim stays the parent of everything and keeps streams, log and exit status.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

/// Which program, and what it is always told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalRuntime {
    /// What users call it, for messages.
    pub name: String,
    pub path: PathBuf,
    /// Options before the command.
    pub args: Vec<String>,
}

/// Names, in the directory of a container, the runtime that made it.
const FILE: &str = "runtime.json";

impl ExternalRuntime {
    /// A command of the runtime on containers whose shims work in `directory`. What goes wrong is written to [`log_path`].
    pub(crate) fn command(&self, directory: &Path) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.args)
            .arg("--root")
            .arg(directory.join("state"))
            .arg("--log")
            .arg(log_path(directory))
            .args(["--log-format", "json"])
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    pub(crate) fn note(&self, directory: &Path) -> std::io::Result<()> {
        fs_err::write(directory.join(FILE), serde_json::to_vec(self)?)
    }

    /// The runtime that made the container of a directory, if it was none of our own.
    pub(crate) fn of(directory: &Path) -> Option<Self> {
        let text = fs_err::read(directory.join(FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Lets it forget a container, whatever state that is in.
    pub(crate) fn delete(&self, directory: &Path, id: &str) -> Result<(), String> {
        let mut command = self.command(directory);
        command.args(["delete", "--force", id]).stderr(Stdio::null());
        let _ = fs_err::remove_file(log_path(directory));
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!(
                "{} delete: {}",
                self.name,
                last_error(directory).unwrap_or_else(|| status.to_string())
            )),
            Err(error) => Err(format!("run {}: {error}", self.path.display())),
        }
    }
}

pub(crate) fn log_path(directory: &Path) -> PathBuf {
    directory.join("runtime.log")
}

/// The last error a runtime wrote to its log.
pub(crate) fn last_error(directory: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let text = fs_err::read_to_string(log_path(directory)).ok()?;
    let mut lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines
        .rfind(|line| matches!(line.level.as_str(), "error" | "fatal"))
        .map(|line| line.msg.trim().to_owned())
}
