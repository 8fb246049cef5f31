//! `buildx use`.

use super::builders;
use crate::args::buildx::r#use::Use;
use crate::builders::endpoint_key;
use crate::commands::Done;
use crate::contexts::DEFAULT;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker buildx use`.
pub(crate) async fn select(session: &Session, args: Use) -> Done {
    let name = args.operands[0].as_str();
    let builders = builders(session);
    let endpoint = endpoint_key(&session.settings)?;
    if let Some(builder) = builders.get(name)? {
        builders.choose(&endpoint, &builder.name, args.global, args.default)?;
        return Ok(ExitStatus::SUCCESS);
    }
    let context = session.settings.context_name()?;
    if name == context {
        builders.choose(&endpoint, "", false, false)?;
        return Ok(ExitStatus::SUCCESS);
    }
    if name == DEFAULT || session.settings.contexts().exists(name) {
        return Err(CliError::Invalid(format!(
            "run `{} context use {name}` to switch to context {name}",
            session.program
        )));
    }
    Err(CliError::Invalid(format!(
        "failed to find instance {name:?}: no builder {name:?} found"
    )))
}
