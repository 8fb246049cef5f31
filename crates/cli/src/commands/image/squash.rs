//! `image squash`.

use serde::Deserialize;

use super::tag::reference;
use crate::args::image::squash::Squash;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::size;
use crate::session::Session;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Squashed {
    id: String,
    layers_before: usize,
    layers: usize,
    size_before: i64,
    size: i64,
}

/// `havre image squash`.
pub(crate) async fn squash(session: &Session, args: Squash) -> Done {
    for tag in &args.tag {
        reference(tag)?;
    }
    let call = session.client()?.post("/havre/images/squash");
    let mut call = call
        .query("name", &args.operands[0])
        .query_some("from", args.from.as_ref());
    for tag in &args.tag {
        call = call.query("t", tag);
    }
    let made: Squashed = call.answer().await.map_err(here_only)?;
    if !args.quiet {
        let saved = made.size_before - made.size;
        session.printer.line(&format!(
            "{} layers -> {}, {} -> {}: {} saved",
            made.layers_before,
            made.layers,
            size::short(made.size_before),
            size::short(made.size),
            size::short(saved.max(0))
        ));
    }
    session.printer.line(&made.id);
    Ok(ExitStatus::SUCCESS)
}

/// Other engines know nothing of this.
fn here_only(error: CliError) -> CliError {
    match error {
        CliError::Daemon { status: 404, message } if message == "page not found" => {
            CliError::Invalid("this engine cannot squash images: a Havre engine can".to_owned())
        }
        error => error,
    }
}
