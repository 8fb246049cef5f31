//! `rename`.

use crate::args::container::rename::Rename;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker rename`.
pub(crate) async fn rename(session: &Session, args: Rename) -> Done {
    let (old, new) = (args.operands[0].trim(), args.operands[1].trim());
    if old.is_empty() || new.is_empty() {
        return Err(CliError::Invalid(
            "Error: Neither old nor new names may be empty".to_owned(),
        ));
    }
    let call = session
        .client()?
        .post(format!("/containers/{old}/rename"))
        .query("name", new);
    if let Err(error) = call.status().await {
        session.printer.warn(&error.to_string());
        return Err(CliError::Invalid(format!(
            "Error: failed to rename container named {old}"
        )));
    }
    Ok(ExitStatus::SUCCESS)
}
