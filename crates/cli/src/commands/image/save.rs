//! `save`.

use crate::args::image::save::Save;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::output_file::{check, write_answer};
use crate::session::Session;

/// `docker save`.
pub(crate) async fn save(session: &Session, args: Save) -> Done {
    check(session, args.output.as_deref())?;
    let client = session.client()?;
    let call = match args.operands.as_slice() {
        [one] => client.get(format!("/images/{one}/get")),
        many => many
            .iter()
            .fold(client.get("/images/get"), |call, name| call.query("names", name)),
    };
    write_answer(session, call, args.output.as_deref()).await?;
    Ok(ExitStatus::SUCCESS)
}
