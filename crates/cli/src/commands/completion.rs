//! `completion`.

use crate::args::completion::Completion;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker completion`.
pub(crate) async fn completion(session: &Session, args: Completion) -> Done {
    let shell = &args.operands[0];
    let Some(script) = crate::completion::script(&session.program, shell, !args.no_descriptions) else {
        return Err(CliError::Invalid(format!(
            "no completion script for {shell:?}: there is one for bash, for zsh and for fish"
        )));
    };
    session.printer.out(&script);
    Ok(ExitStatus::SUCCESS)
}
