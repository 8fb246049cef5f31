//! `buildx rm`.

use futures_util::future::join_all;

use super::node::ask;
use super::{builders, chosen};
use crate::args::buildx::rm::Rm;
use crate::builders::{Builder, Builders, endpoint_key};
use crate::commands::{Done, prompt};
use crate::contexts::DEFAULT;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

const WARNING: &str = "WARNING! This will remove all builders that are not in running state. ";

/// `docker buildx rm`: forgets builders; their engines and what those have built stay.
pub(crate) async fn rm(session: &Session, args: Rm) -> Done {
    let builders = builders(session);
    if args.all_inactive {
        if !args.operands.is_empty() || args.builder.builder.is_some() {
            return Err(CliError::Invalid(
                "cannot specify builder name when --all-inactive is set".to_owned(),
            ));
        }
        if !args.force {
            prompt::confirm(session, WARNING)?;
        }
        for builder in inactive(session, &builders).await? {
            forget(session, &builders, &builder.name)?;
        }
        return Ok(ExitStatus::SUCCESS);
    }
    let names = match args.operands.as_slice() {
        [] => vec![chosen(session, args.builder.builder.as_deref())?.name],
        names => names.to_vec(),
    };
    // All are looked at before any goes.
    for name in &names {
        if builders.get(name)?.is_some() {
            continue;
        }
        let is_context = name == DEFAULT || session.settings.contexts().exists(name);
        return Err(CliError::Invalid(match is_context {
            true => format!(
                "context builder cannot be removed, run `{} context rm {name}` to remove this context",
                session.program
            ),
            false => format!("no builder {name:?} found"),
        }));
    }
    for name in &names {
        forget(session, &builders, name)?;
    }
    Ok(ExitStatus::SUCCESS)
}

async fn inactive(session: &Session, builders: &Builders) -> Result<Vec<Builder>, CliError> {
    let all = builders.list()?;
    let states = join_all(all.iter().map(|builder| ask(session, builder))).await;
    let silent = all
        .into_iter()
        .zip(states)
        .filter(|(_, nodes)| nodes.iter().all(|status| status.answer.is_err()));
    Ok(silent.map(|(builder, _)| builder).collect())
}

fn forget(session: &Session, builders: &Builders, name: &str) -> Result<(), CliError> {
    let endpoint = endpoint_key(&session.settings)?;
    if builders.current(&endpoint)?.as_deref() == Some(name) {
        builders.choose(&endpoint, "", false, false)?;
    }
    builders.remove(name)?;
    session.printer.warn(&format!("{name} removed"));
    Ok(())
}
