//! A new binary takes over: on a hang-up the daemon ends in order, keeps its sockets open, and becomes the program that then
//! lies where its own did, in the same process. Clients that connect meanwhile wait in the sockets' queues; containers do not
//! notice, as at any end of the daemon.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use havre_sys::activation;

use crate::activation::PLACES;
use crate::error::CliError;

/// A new program may take so long to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is needed to become the next daemon.
#[derive(Debug)]
pub(crate) struct Handover {
    /// Where this program lies.
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// The sockets the next daemon gets.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) sockets: Vec<OwnedFd>,
    /// Where they are, as [`PLACES`] has it.
    pub(crate) places: String,
}

impl Handover {
    /// To be made at the start, while the program lies where it was started from.
    pub(crate) fn prepare() -> Option<Self> {
        let program = std::env::current_exe().ok()?;
        Some(Self {
            program,
            arguments: std::env::args_os().skip(1).collect(),
        })
    }

    /// Whether the program that lies there now can be run; its version.
    pub(crate) async fn check(&self) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.arg("--version");
        let asked = tokio::task::spawn_blocking(move || command.output());
        let output = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(Ok(output))) => output,
            Ok(Ok(Err(error))) => return Err(format!("cannot run {}: {error}", self.program.display())),
            _ => return Err(format!("{} does not say its version", self.program.display())),
        };
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.status.success() && !text.is_empty() {
            true => Ok(text),
            false => Err(format!(
                "{} --version ends with {}",
                self.program.display(),
                output.status
            )),
        }
    }

    /// Becomes the next daemon; returns only on failure.
    pub(crate) fn execute(&self, sockets: Sockets) -> CliError {
        let places = [(PLACES, sockets.places.as_str())];
        // Who waits at the other end of a first start has gone.
        let arguments: Vec<_> = self
            .arguments
            .iter()
            .filter(|argument| *argument != "--notify")
            .collect();
        let error = activation::exec_with_sockets(&self.program, &arguments, &places, &sockets.sockets);
        CliError::Invalid(format!("cannot hand over to {}: {error}", self.program.display()))
    }
}
