//! `image restore`.

use serde::Deserialize;

use super::log::here_only;
use crate::args::image::restore::Restore;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::format::short_id;
use crate::session::Session;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Restored {
    name: String,
    id: String,
    returned: bool,
}

/// `havre image restore`.
pub(crate) async fn restore(session: &Session, args: Restore) -> Done {
    let call = session.client()?.post("/havre/images/restore");
    let call = call.query("entry", &args.operands[0]);
    let restored: Restored = call.answer().await.map_err(here_only)?;
    let id = short_id(&restored.id);
    if restored.returned {
        session.printer.line(&format!("image {id} is back"));
    }
    session
        .printer
        .line(&format!("{} stands for {id} again", restored.name));
    Ok(ExitStatus::SUCCESS)
}
