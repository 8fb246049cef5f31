//! `export`.

use crate::args::container::export::Export;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::output_file::write_answer;
use crate::session::Session;

/// `docker export`.
pub(crate) async fn export(session: &Session, args: Export) -> Done {
    crate::output_file::check(session, args.output.as_deref())?;
    let call = session
        .client()?
        .get(format!("/containers/{}/export", args.operands[0]));
    write_answer(session, call, args.output.as_deref()).await?;
    Ok(ExitStatus::SUCCESS)
}
