//! `rm`.

use futures_util::future::join_all;

use crate::args::container::rm::Rm;
use crate::commands::{Done, Failures, plan};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::spec::filters::filters;

use super::ls::Summary;

/// No more requests at once.
const AT_ONCE: usize = 50;

/// The IDs of the containers that filters mean; of running ones, with `force`.
async fn meant(session: &Session, filter: &[String], force: bool) -> Result<Vec<String>, CliError> {
    let call = session.client()?.get("/containers/json").query("all", "1");
    let mut found: Vec<Summary> = call.query_some("filters", filters(filter)?).answer().await?;
    found.retain(|container| {
        force || !matches!(container.state.as_str(), "running" | "paused" | "restarting")
    });
    Ok(found.into_iter().map(|container| container.id).collect())
}

/// `docker rm`.
pub(crate) async fn rm(session: &Session, mut args: Rm) -> Done {
    if !args.filter.is_empty() {
        if !args.operands.is_empty() {
            return Err(CliError::Invalid(
                "containers are removed by names or by filters, not by both".to_owned(),
            ));
        }
        args.operands = meant(session, &args.filter, args.force).await?;
    }
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
