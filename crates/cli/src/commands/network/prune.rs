//! `network prune`.

use crate::args::network::prune::Prune;
use crate::commands::{Done, plan, system};
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::spec::filters::filters;

const WARNING: &str = "WARNING! This will remove all custom networks not used by at least one container.\n";

/// `docker network prune`.
pub(crate) async fn prune(session: &Session, args: Prune) -> Done {
    plan::check(args.dry_run, args.format.as_deref())?;
    let request = plan::Request {
        command: "network prune",
        filters: filters(&args.filter)?,
        ..plan::Request::default()
    };
    if args.dry_run {
        return plan::dry_run(session, &request, args.format.as_deref()).await;
    }
    let agreed = match args.force {
        true => None,
        false => plan::confirm(session, WARNING, &request).await?,
    };
    let text = match agreed {
        Some(plan) => {
            let applied = plan::apply(session, "network prune", &plan).await?;
            applied.deleted("network", "Deleted Networks:", &plan)
        }
        None => system::prune::networks(session, &args.filter).await?,
    };
    session.printer.out(&text);
    Ok(ExitStatus::SUCCESS)
}
