//! `context rm`.

use crate::args::context::rm::Rm;
use crate::commands::{Done, Failures};
use crate::contexts;
use crate::error::CliError;
use crate::session::Session;

/// `docker context rm`.
pub(crate) async fn rm(session: &Session, args: Rm) -> Done {
    let current = session.settings.context_name()?;
    let mut failures = Failures::default();
    for name in &args.operands {
        match remove(session, name, name == &current, args.force) {
            Ok(()) => session.printer.line(name),
            Err(error) => failures.add(&error),
        }
    }
    Ok(failures.finish(session))
}

fn remove(session: &Session, name: &str, in_use: bool, force: bool) -> Result<(), CliError> {
    if name == contexts::DEFAULT {
        return Err(CliError::Invalid(format!("context {name:?} cannot be removed")));
    }
    let store = session.settings.contexts();
    if !force && !store.exists(name) {
        return Err(CliError::Invalid(format!("context {name:?} does not exist")));
    }
    if in_use {
        if !force {
            return Err(CliError::Invalid(format!(
                "context {name:?} is in use, set -f flag to force remove"
            )));
        }
        let mut config = session.settings.config()?.clone();
        if config.current_context == name {
            config.current_context = String::new();
            config.write(session.settings.directory())?;
        }
    }
    store.remove(name)
}
