//! `network rm`.

use crate::args::network::rm::Rm;
use crate::commands::{Done, Failures};
use crate::error::CliError;
use crate::session::Session;

/// `docker network rm`.
pub(crate) async fn rm(session: &Session, args: Rm) -> Done {
    let client = session.client()?;
    let mut failures = Failures::default();
    for name in &args.operands {
        match client.delete(format!("/networks/{name}")).status().await {
            Ok(_) => session.printer.line(name),
            Err(error @ CliError::Unreachable { .. }) => return Err(error),
            Err(error) if args.force && error.is_not_found() => {}
            Err(error) => failures.add(&error),
        }
    }
    Ok(failures.finish(session))
}
