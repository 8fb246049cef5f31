//! Asking before something is removed.

use std::io::{self, BufRead};

use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// Shows `warning` and asks; no answer, or any but yes, ends the command, successfully as in Docker.
pub(super) fn confirm(session: &Session, warning: &str) -> Result<(), CliError> {
    session.printer.out(&format!("{warning} [y/N] "));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(CliError::Silent(ExitStatus::SUCCESS))
}
