//! `rm`.

use futures_util::future::join_all;

use crate::args::container::rm::Rm;
use crate::commands::{Done, Failures, plan};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// No more requests at once.
const AT_ONCE: usize = 50;

/// `docker rm`.
pub(crate) async fn rm(session: &Session, args: Rm) -> Done {
    if args.plan.dry_run && args.link {
        return Err(CliError::Invalid(
            "--dry-run shows no links: leave out one of --dry-run and --link".to_owned(),
        ));
    }
    let request = plan::Request {
        command: "container rm",
        names: &args.operands,
        force: args.force,
        volumes: args.volumes,
        ..plan::Request::default()
    };
    if plan::shown(session, &args.plan, &request).await? {
        return Ok(ExitStatus::SUCCESS);
    }
    let client = session.client()?;
    let mut failures = Failures::default();
    for names in args.operands.chunks(AT_ONCE) {
        let calls = names.iter().map(|name| {
            client
                .delete(format!("/containers/{}", name.trim_start_matches('/')))
                .query_if("force", args.force)
                .query_if("v", args.volumes)
                .query_if("link", args.link)
                .part_of(session.operation())
                .status()
        });
        for (name, result) in names.iter().zip(join_all(calls).await) {
            match result {
                Ok(_) => session.printer.line(name),
                Err(error @ CliError::Unreachable { .. }) => return Err(error),
                Err(error) if args.force && error.is_not_found() => session.printer.warn(&error.to_string()),
                Err(error) => failures.add(&error),
            }
        }
    }
    Ok(failures.finish(session))
}
