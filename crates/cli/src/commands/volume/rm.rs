//! `volume rm`.

use crate::args::volume::rm::Rm;
use crate::commands::{Done, Failures};
use crate::error::CliError;
use crate::session::Session;

/// `docker volume rm`.
pub(crate) async fn rm(session: &Session, args: Rm) -> Done {
    let client = session.client()?;
    let mut failures = Failures::default();
    for name in &args.operands {
        match client
            .delete(format!("/volumes/{name}"))
            .query_if("force", args.force)
            .status()
            .await
        {
            Ok(_) => session.printer.line(name),
            Err(error @ CliError::Unreachable { .. }) => return Err(error),
            Err(error) => failures.add(&error),
        }
    }
    Ok(failures.finish(session))
}
