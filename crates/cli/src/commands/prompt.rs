//! Asking before something is removed, and telling what that gave back.

use std::io::{self, BufRead};

use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::size;
use crate::session::Session;

/// Shows `warning` and asks; no answer, or any but yes, ends the command, successfully as in Docker.
pub(crate) fn confirm(session: &Session, warning: &str) -> Result<(), CliError> {
    session
        .printer
        .out(&format!("{warning}Are you sure you want to continue? [y/N] "));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(CliError::Silent(ExitStatus::SUCCESS))
}

/// Shows what went and what that gave back; nothing, if nothing was to go.
pub(super) fn report(session: &Session, pruned: Option<(String, i64)>) -> ExitStatus {
    let Some((text, freed)) = pruned else {
        return ExitStatus::SUCCESS;
    };
    session.printer.out(&text);
    reclaimed(session, freed)
}

/// The last line of a `prune`.
pub(super) fn reclaimed(session: &Session, freed: i64) -> ExitStatus {
    session
        .printer
        .line(&format!("Total reclaimed space: {}", size::long(freed)));
    ExitStatus::SUCCESS
}
