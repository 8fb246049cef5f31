//! `load`.

use crate::args::image::load::Load;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::input_stream;
use crate::progress::{self, Progress};
use crate::session::Session;
use crate::spec::platform;

/// `docker load`.
pub(crate) async fn load(session: &Session, args: Load) -> Done {
    let input = match args.input.as_deref().filter(|path| !path.is_empty()) {
        Some(path) => input_stream::file(path).await?,
        None if session.printer.in_is_terminal() => {
            return Err(CliError::Invalid(
                "requested load from stdin, but stdin is empty".to_owned(),
            ));
        }
        None => input_stream::stdin(),
    };
    let quiet = args.quiet || !session.printer.out_is_terminal();
    let mut call = session
        .client()?
        .post("/images/load")
        .query("quiet", if quiet { "1" } else { "0" });
    for wanted in &args.platform {
        call = call.query("platform", platform::json(wanted)?);
    }
    let lines = call.stream("application/x-tar", input).lines().await?;
    progress::show(lines, Progress::to_output(&session.printer), &session.printer).await?;
    Ok(ExitStatus::SUCCESS)
}
