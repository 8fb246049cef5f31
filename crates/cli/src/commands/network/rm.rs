//! `network rm`.

use crate::args::network::rm::Rm;
use crate::commands::{Done, Failures, plan};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker network rm`.
pub(crate) async fn rm(session: &Session, args: Rm) -> Done {
    let request = plan::Request {
        command: "network rm",
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
        let call = client.delete(format!("/networks/{name}"));
        match call.part_of(session.operation()).status().await {
            Ok(_) => session.printer.line(name),
            Err(error @ CliError::Unreachable { .. }) => return Err(error),
            Err(error) if args.force && error.is_not_found() => {}
            Err(error) => failures.add(&error),
        }
    }
    Ok(failures.finish(session))
}
