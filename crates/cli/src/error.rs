//! Every failure of a command, its message, and the exit status it ends with. Nowhere else are statuses chosen.

use std::io;

use crate::exit_status::ExitStatus;

/// Why a command failed. `Display` is the complete text for the user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The engine answered with an error.
    #[error("Error response from daemon: {message}")]
    Daemon {
        /// HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// Nothing answers at the endpoint.
    #[error("Cannot connect to the Docker daemon at {endpoint}. Is the docker daemon running?")]
    Unreachable {
        /// The address that was tried.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke in the middle.
    #[error("connection to the engine broke: {0}")]
    Broken(String),
    /// An answer of the engine that is not what its API promises.
    #[error("unexpected answer from the engine to {request}: {reason}")]
    Protocol {
        /// Method and path.
        request: String,
        /// What was wrong.
        reason: String,
    },
    /// The command line is wrong; the text carries usage.
    #[error("{text}")]
    Usage {
        /// Message and usage.
        text: String,
        /// 1 for operands, 125 for flags, as Docker.
        status: ExitStatus,
    },
    /// A flag's value is wrong; the text is completed with usage where the command is known.
    #[error("{0}")]
    Flag(String),
    /// What the user gave cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// A pull, push, build, load… reported an error in its stream.
    #[error("{0}")]
    Stream(String),
    /// The engine could not be started.
    #[error("cannot start the engine: {reason}")]
    Autostart {
        /// Reason and, where there is one, the end of its log.
        reason: String,
    },
    /// A file, terminal or pipe failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A command in Docker's `docker: … Run 'docker run --help'` form.
    #[error("{program}: {source}\n\nRun '{program} {command} --help' for more information")]
    WithHelp {
        /// Name of this program as called.
        program: String,
        /// The command: `run`.
        command: &'static str,
        /// What went wrong.
        source: Box<CliError>,
        /// Status to end with.
        status: ExitStatus,
    },
    /// Ends with a status and prints nothing more.
    #[error("")]
    Silent(ExitStatus),
    /// The program was ended by a signal (Ctrl-C).
    #[error("")]
    Interrupted,
}

impl CliError {
    /// The status the process ends with.
    pub(crate) fn status(&self) -> ExitStatus {
        match self {
            Self::Usage { status, .. } | Self::WithHelp { status, .. } | Self::Silent(status) => *status,
            Self::Interrupted => ExitStatus(130),
            _ => ExitStatus::FAILURE,
        }
    }

    /// Wraps an error of `run`: 127 when the program is missing, 126 when it cannot be executed, else 125.
    pub(crate) fn of_run(self, program: &str) -> Self {
        if matches!(
            self,
            Self::WithHelp { .. } | Self::Silent(_) | Self::Usage { .. } | Self::Interrupted
        ) {
            return self;
        }
        if let Self::Flag(text) = self {
            return Self::of_flag(&text, program, "run");
        }
        // Only what the engine says is about the program; a file of ours that is missing is not.
        let status = match &self {
            Self::Daemon { .. } | Self::Stream(_) => program_status(&self.to_string()),
            _ => ExitStatus::ENGINE,
        };
        Self::WithHelp {
            program: program.to_owned(),
            command: "run",
            source: Box::new(self),
            status,
        }
    }

    /// Wraps an error of a command in the help form with status 125.
    pub(crate) fn with_help(self, program: &str, command: &'static str) -> Self {
        if let Self::Flag(text) = self {
            return Self::of_flag(&text, program, command);
        }
        Self::WithHelp {
            program: program.to_owned(),
            command,
            source: Box::new(self),
            status: ExitStatus::ENGINE,
        }
    }

    /// The text about a flag with the usage of `run` or `create`, as the flag parser words it.
    fn of_flag(text: &str, program: &str, command: &str) -> Self {
        Self::Usage {
            text: format!(
                "{text}\n\nUsage:  {program} {command} [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun '{program} {command} --help' for more information"
            ),
            status: ExitStatus::ENGINE,
        }
    }

    /// An error of the command line without usage, status 1.
    pub(crate) fn plain(text: &str) -> Self {
        Self::Usage {
            text: text.to_owned(),
            status: ExitStatus::FAILURE,
        }
    }

    /// Whether the engine said that the object does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Daemon { status: 404, .. })
    }
}

/// Docker's reading of an error text: which status says it best.
fn program_status(message: &str) -> ExitStatus {
    const MISSING: [&str; 3] = [
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ];
    const DENIED: [&str; 2] = ["permission denied", "is a directory"];
    if MISSING.iter().any(|words| message.contains(words)) {
        ExitStatus::NOT_FOUND
    } else if DENIED.iter().any(|words| message.contains(words)) {
        ExitStatus::NOT_EXECUTABLE
    } else {
        ExitStatus::ENGINE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(message: &str) -> CliError {
        CliError::Daemon {
            status: 400,
            message: message.to_owned(),
        }
    }

    #[test]
    fn run_statuses_follow_docker() {
        let missing = daemon(
            "failed to create task for container: OCI runtime create failed: exec: \"foo\": executable file not found in $PATH",
        )
        .of_run("docker");
        assert_eq!(missing.status(), ExitStatus::NOT_FOUND);
        let denied = daemon("exec: \"/etc/passwd\": permission denied").of_run("docker");
        assert_eq!(denied.status(), ExitStatus::NOT_EXECUTABLE);
        let taken = daemon("Conflict. The container name \"/x\" is already in use").of_run("docker");
        assert_eq!(taken.status(), ExitStatus::ENGINE);
        assert_eq!(
            taken.to_string(),
            "docker: Error response from daemon: Conflict. The container name \"/x\" is already in use\n\nRun 'docker run --help' for more information"
        );
    }

    #[test]
    fn program_statuses_wrap_as_in_a_shell() {
        assert_eq!(ExitStatus::from_program(256 + 3), ExitStatus(3));
        assert_eq!(ExitStatus::from_program(137), ExitStatus(137));
    }
}
