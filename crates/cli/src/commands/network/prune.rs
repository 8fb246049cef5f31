//! `network prune`.

use crate::args::network::prune::Prune;
use crate::commands::{Done, plan, system};
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::spec::filters::filters;

const WARNING: &str = "WARNING! This will remove all custom networks not used by at least one container.\n";

/// `docker network prune`.
pub(crate) async fn prune(session: &Session, args: Prune) -> Done {
    let request = plan::Request {
        command: "network prune",
        filters: filters(&args.filter)?,
        ..plan::Request::default()
    };
    let removal = async { Ok((system::prune::networks(session, &args.filter).await?, 0)) };
    let pruned = plan::prune(
        session,
        &args.removal,
        WARNING,
        &request,
        ("network", "Deleted Networks:"),
        removal,
    );
    // Networks take no space.
    if let Some((text, _)) = pruned.await? {
        session.printer.out(&text);
    }
    Ok(ExitStatus::SUCCESS)
}
