//! `context show`.

use crate::args::context::show::Show;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker context show`.
pub(crate) async fn show(session: &Session, _args: Show) -> Done {
    session.printer.line(&session.settings.context_name()?);
    Ok(ExitStatus::SUCCESS)
}
