//! `network prune`.

use crate::args::network::prune::Prune;
use crate::commands::{Done, prompt, system};
use crate::exit_status::ExitStatus;
use crate::session::Session;

const WARNING: &str = "WARNING! This will remove all custom networks not used by at least one container.\n";

/// `docker network prune`.
pub(crate) async fn prune(session: &Session, args: Prune) -> Done {
    if !args.force {
        prompt::confirm(session, WARNING)?;
    }
    let text = system::prune::networks(session, &args.filter).await?;
    session.printer.out(&text);
    Ok(ExitStatus::SUCCESS)
}
