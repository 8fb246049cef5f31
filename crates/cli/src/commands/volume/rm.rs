//! `volume rm`.

use crate::args::volume::rm::Rm;
use crate::commands::{Done, Failures, plan};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker volume rm`.
pub(crate) async fn rm(session: &Session, args: Rm) -> Done {
    let request = plan::Request {
        command: "volume rm",
        names: &args.operands,
        force: args.force,
        ..plan::Request::default()
    };
    if plan::shown(session, &args.plan, &request).await? {
        return Ok(ExitStatus::SUCCESS);
    }
    let client = session.client()?;
    let mut failures = Failures::default();
    for name in &args.operands {
        match client
            .delete(format!("/volumes/{name}"))
            .query_if("force", args.force)
            .part_of(session.operation())
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
