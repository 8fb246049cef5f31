//! What the commands do: each takes its declaration, talks to the engine, and prints.

pub(crate) mod artifact;
pub(crate) mod builder;
pub(crate) mod buildx;
pub(crate) mod completion;
pub(crate) mod container;
pub(crate) mod context;
pub(crate) mod explore;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod lint;
pub(crate) mod lock;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod manifest;
pub(crate) mod network;
mod plan;
mod prompt;
pub(crate) mod search;
pub(crate) mod system;
pub(crate) mod undo;
pub(crate) mod version;
pub(crate) mod volume;

use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// What an action returns.
pub(crate) type Done = Result<ExitStatus, CliError>;

/// Reports failures of some of many objects as they come, and says at the end whether there were any.
#[derive(Debug, Default)]
struct Failures {
    messages: Vec<String>,
}

impl Failures {
    fn add(&mut self, error: &CliError) {
        self.messages.push(error.to_string());
    }

    /// Prints what failed, a line each, and gives the status.
    fn finish(self, session: &Session) -> ExitStatus {
        if self.messages.is_empty() {
            return ExitStatus::SUCCESS;
        }
        for message in &self.messages {
            session.printer.warn(message);
        }
        ExitStatus::FAILURE
    }
}
