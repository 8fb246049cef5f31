//! `diff`.

use serde::Deserialize;

use crate::args::container::diff::Diff;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::session::Session;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    path: String,
    kind: u8,
}

/// `docker diff`.
pub(crate) async fn diff(session: &Session, args: Diff) -> Done {
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
