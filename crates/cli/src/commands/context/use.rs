//! `context use`.

use crate::args::context::r#use::Use;
use crate::commands::Done;
use crate::contexts;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker context use`.
pub(crate) async fn select(session: &Session, args: Use) -> Done {
    let name = &args.operands[0];
    let mut config = session.settings.config()?.clone();
    if name == contexts::DEFAULT {
        config.current_context = String::new();
    } else {
        session.settings.contexts().get(name)?;
        config.current_context = name.clone();
    }
    config.write(session.settings.directory())?;
    session.printer.line(name);
    session.printer.warn(&format!("Current context is now {name:?}"));
    if name != contexts::DEFAULT && session.settings.host_overrides() {
        session.printer.warn(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the global --context flag, or unset DOCKER_HOST environment variable.",
        );
    }
    Ok(ExitStatus::SUCCESS)
}
