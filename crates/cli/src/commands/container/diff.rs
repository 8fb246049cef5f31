//! `diff`.

use serde::Deserialize;

use crate::args::container::diff::Diff;
use crate::commands::Done;
use crate::commands::image::diff as images;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    path: String,
    kind: u8,
}

/// `docker diff`, and with two operands `image diff`.
pub(crate) async fn diff(session: &Session, args: Diff) -> Done {
    if args.operands.len() > 1 {
        return images::compare(session, &args.operands, &args.images).await;
    }
    if let Some(flag) = args.images.given() {
        return Err(CliError::Invalid(format!(
            "--{flag} is about two images: name a second one, or leave it out"
        )));
    }
    let changes: Option<Vec<Change>> = session
        .client()?
        .get(format!("/containers/{}/changes", args.operands[0]))
        .answer()
        .await?;
    let mut text = String::new();
    for change in changes.unwrap_or_default() {
        let kind = match change.kind {
            0 => 'C',
            1 => 'A',
            _ => 'D',
        };
        text.push_str(&format!("{kind} {}\n", change.path));
    }
    session.printer.out(&text);
    Ok(ExitStatus::SUCCESS)
}
