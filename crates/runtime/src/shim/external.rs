//! Making processes by a runtime of the host.

use std::path::Path;
use std::process::Command;

use fs_err as fs;

use super::stdio::ProgramEnds;
use crate::external::{ExternalRuntime, last_error, log_path};
use crate::protocol::{Failure, Setup};

/// A container that a runtime of the host has made.
pub(super) struct External {
    runtime: ExternalRuntime,
    directory: std::path::PathBuf,
    id: String,
    /// Its root is somebody else on the host.
    remapped: bool,
}

impl External {
    pub(super) fn new(setup: &Setup, runtime: &ExternalRuntime) -> Self {
        External {
            runtime: runtime.clone(),
            directory: setup.directory.clone(),
            id: setup.id.clone(),
            remapped: setup.stage.is_some(),
        }
    }

    /// Makes the container. Returns the process id of its init, which waits for [`start`](Self::start).
    pub(super) fn create(
        &self,
        program: &str,
        ends: Option<ProgramEnds>,
        console: Option<&Path>,
    ) -> Result<i32, Failure> {
        let pid_file = self.directory.join("init.pid");
        let mut command = self.runtime.command(&self.directory);
        command
            .arg("create")
            .arg("--bundle")
            .arg(self.directory.join("bundle"))
            .arg("--pid-file")
            .arg(&pid_file);
        self.connect(&mut command, ends, console)?;
        self.run(command.arg(&self.id))
            .map_err(|message| classify(&self.named(&message), program))?;
        read_pid(&pid_file)
    }

    pub(super) fn start(&self) -> Result<(), Failure> {
        self.run(self.runtime.command(&self.directory).args(["start", &self.id]))
            .map_err(|message| Failure::Setup {
                message: self.named(&message),
            })
    }

    pub(super) fn kill(&self, signal: i32) -> Result<(), Failure> {
        self.run(
            self.runtime
                .command(&self.directory)
                .args(["kill", &self.id, &signal.to_string()]),
        )
        .map_err(|message| Failure::Refused {
            message: format!("send signal {signal}: {message}"),
        })
    }

    /// Runs another process, which `process` describes. Returns its process id.
    pub(super) fn exec(
        &self,
        program: &str,
        process: &Path,
        ends: Option<ProgramEnds>,
        console: Option<&Path>,
    ) -> Result<i32, Failure> {
        let pid_file = process.with_extension("pid");
        let mut command = self.runtime.command(&self.directory);
        command
            .args(["exec", "--detach", "--process"])
            .arg(process)
            .arg("--pid-file")
            .arg(&pid_file);
        self.connect(&mut command, ends, console)?;
        let result = self.run(command.arg(&self.id)).map_err(|message| {
            let message = message.strip_prefix("exec failed: ").unwrap_or(&message);
            classify(message, program)
        });
        let pid = result.and_then(|()| read_pid(&pid_file));
        let _ = fs::remove_file(&pid_file);
        pid
    }

    fn run(&self, command: &mut Command) -> Result<(), String> {
        let _ = fs::remove_file(log_path(&self.directory));
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(last_error(&self.directory).unwrap_or_else(|| status.to_string())),
            Err(error) => Err(format!("run {}: {error}", self.runtime.path.display())),
        }
    }

    /// The program's streams become those of the command that makes it; or its terminal is sent to `console`.
    fn connect(
        &self,
        command: &mut Command,
        ends: Option<ProgramEnds>,
        console: Option<&Path>,
    ) -> Result<(), Failure> {
        let own_null = || {
            havre_sys::mount::null_device().map_err(|error| Failure::Setup {
                message: format!("make a null device: {error}"),
            })
        };
        let streams = match ends {
            Some(ends) => Some([ends.stdin, ends.stdout, ends.stderr]),
            // crun gives its own streams to the container's root.
            None if self.remapped => Some([own_null()?, own_null()?, own_null()?]),
            None => None,
        };
        if let Some([stdin, stdout, stderr]) = streams {
            command.stdin(stdin).stdout(stdout).stderr(stderr);
        }
        if let Some(name) = console.and_then(Path::file_name) {
            // The address of a socket is short; our directory, in which the socket is, may not be.
            let directory = format!("/proc/{}/cwd", rustix::process::getpid().as_raw_pid());
            command
                .arg("--console-socket")
                .arg(Path::new(&directory).join(name));
        }
        Ok(())
    }

    /// With the words runc begins its own messages with.
    fn named(&self, message: &str) -> String {
        match message.contains(" create failed: ") {
            true => message.to_owned(),
            false => format!("{} create failed: {message}", self.runtime.name),
        }
    }
}

fn read_pid(path: &Path) -> Result<i32, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::Setup {
        message: format!("read the process id: {error}"),
    })?;
    text.trim().parse().map_err(|_| Failure::Setup {
        message: format!("invalid process id: {text:?}"),
    })
}

/// What kept the program from running, by the words of runc and crun.
fn classify(message: &str, program: &str) -> Failure {
    // In the case in which clients look for it.
    let message = message
        .replace(": No such file or directory", ": no such file or directory")
        .replace(": Permission denied", ": permission denied");
    let lower = message.to_ascii_lowercase();
    let arg = program.to_owned();
    if lower.contains("chdir") || lower.contains("set in config.json failed") {
        return Failure::WorkingDirectory {
            path: String::new(),
            message,
        };
    }
    if !lower.contains("exec: ") && !lower.contains("executable") {
        return match lower.contains("mount") {
            true => Failure::Mount { message },
            false => Failure::Setup { message },
        };
    }
    let refused = ["permission denied", "operation not permitted", "is a directory"];
    if refused.iter().any(|reason| lower.contains(reason)) {
        Failure::NotExecutable { arg, message }
    } else if lower.contains("not found") || lower.contains("no such file or directory") {
        Failure::NotFound { arg, message }
    } else {
        Failure::Setup { message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runtimes_say_is_understood() {
        let kind = |message: &str| match classify(message, "x") {
            Failure::NotFound { .. } => 127,
            Failure::NotExecutable { .. } => 126,
            Failure::WorkingDirectory { .. } => 1,
            Failure::Mount { .. } => 2,
            _ => 0,
        };
        for (message, expected) in [
            (
                "runc create failed: unable to start container process: exec: \"x\": executable file not found in $PATH",
                127,
            ),
            (
                "runc create failed: unable to start container process: exec: \"/x\": stat /x: no such file or directory",
                127,
            ),
            (
                "runc create failed: unable to start container process: exec: \"/etc/passwd\": permission denied",
                126,
            ),
            (
                "crun create failed: executable file `x` not found in $PATH: No such file or directory",
                127,
            ),
            ("crun create failed: open executable: Permission denied", 126),
            ("open executable: Operation not permitted", 126),
            (
                "unable to start container process: chdir to cwd (\"/x\") set in config.json failed: no such file or directory",
                1,
            ),
            (
                "runc create failed: unable to start container process: error during container init: error mounting \"/x\"",
                2,
            ),
            (
                "crun create failed: writing file `memory.max`: Invalid argument",
                0,
            ),
        ] {
            assert_eq!(kind(message), expected, "{message}");
        }
    }
}
