//! `undo`.

use jiff::Timestamp;
use serde::Deserialize;

use crate::args::undo::Undo;
use crate::commands::{Done, plan, prompt};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::time::ago;
use crate::format::{ellipsis, size};
use crate::session::Session;
use crate::template::Value;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Removal {
    #[serde(rename = "ID")]
    id: u64,
    at: Timestamp,
    expires: Timestamp,
    command: String,
    size: i64,
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    #[serde(rename = "Type")]
    kind: String,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Undone {
    removal: Removal,
    warnings: Vec<String>,
}

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.Removed}}\t{{.Command}}\t{{.Objects}}\t{{.Size}}\t{{.Expires}}",
    quiet: "ID",
    headers: &[
        ("ID", "ID"),
        ("Removed", "REMOVED"),
        ("Command", "COMMAND"),
        ("Objects", "OBJECTS"),
        ("Size", "SIZE"),
        ("Expires", "EXPIRES"),
        ("RemovedAt", "REMOVED AT"),
        ("ExpiresAt", "EXPIRES AT"),
    ],
};

/// Objects are told up to this length.
const OBJECTS: usize = 40;

/// `havre undo`.
pub(crate) async fn undo(session: &Session, args: Undo) -> Done {
    let id = match args.operands.first() {
        None => None,
        Some(text) => Some(text.parse::<u64>().map_err(|_| {
            CliError::Invalid(format!(
                "invalid ID {text:?}: use one of '{} undo --list'",
                session.program
            ))
        })?),
    };
    if args.list && (args.forget || id.is_some()) {
        return Err(CliError::Invalid(
            "--list goes with neither an ID nor --forget".to_owned(),
        ));
    }
    for (given, flag, with) in [
        (args.format.is_some() && !args.list, "--format", "--list"),
        (args.no_trunc && !args.list, "--no-trunc", "--list"),
        (args.quiet && !args.list, "--quiet", "--list"),
        (args.force && !args.forget, "--force", "--forget"),
    ] {
        if given {
            return Err(CliError::Invalid(format!("{flag} goes with {with}")));
        }
    }
    if args.list {
        return list(session, &args).await;
    }
    if args.forget {
        return forget(session, id, args.force).await;
    }
    let client = session.client()?;
    let call = client.post("/havre/undo");
    let call = call.query_some("id", id.map(|id| id.to_string()));
    let undone: Undone = call.answer().await.map_err(here_only)?;
    for item in &undone.removal.items {
        session.printer.line(&format!("{} {}", item.kind, item.name));
    }
    for warning in &undone.warnings {
        session.printer.warn(&format!("WARNING: {warning}"));
    }
    Ok(ExitStatus::SUCCESS)
}

async fn removals(session: &Session) -> Result<Vec<Removal>, CliError> {
    let call = session.client()?.get("/havre/undo");
    call.answer().await.map_err(here_only)
}

async fn list(session: &Session, args: &Undo) -> Done {
    let rows: Vec<Value> = removals(session)
        .await?
        .iter()
        .map(|removal| removal.row(args.no_trunc))
        .collect();
    session
        .printer
        .out(&LAYOUT.render(args.format.as_deref(), args.quiet, &rows)?);
    Ok(ExitStatus::SUCCESS)
}

async fn forget(session: &Session, id: Option<u64>, force: bool) -> Done {
    if id.is_none() && !force {
        let removals = removals(session).await?;
        let size: i64 = removals.iter().map(|removal| removal.size).sum();
        let warning = format!(
            "WARNING! This will give up everything that was removed and can be brought back: {} ({}).\n",
            objects(removals.iter().map(|removal| removal.items.len()).sum()),
            size::long(size)
        );
        prompt::confirm(session, &warning)?;
    }
    let call = session
        .client()?
        .delete("/havre/undo")
        .query_some("id", id.map(|id| id.to_string()))
        .query_if("all", id.is_none());
    let forgotten: Vec<Removal> = call.answer().await.map_err(here_only)?;
    Ok(prompt::reclaimed(
        session,
        forgotten.iter().map(|removal| removal.size).sum(),
    ))
}

fn objects(count: usize) -> String {
    match count {
        1 => "1 object".to_owned(),
        count => format!("{count} objects"),
    }
}

/// Other engines know nothing of this.
fn here_only(error: CliError) -> CliError {
    match error {
        CliError::Daemon { status: 404, message } if message == "page not found" => CliError::Invalid(
            "this engine keeps nothing of what is removed: undo needs a Havre engine".to_owned(),
        ),
        error => error,
    }
}

impl Removal {
    fn row(&self, whole: bool) -> Value {
        let names: Vec<String> = self
            .items
            .iter()
            .map(|item| format!("{} {}", item.kind, item.name))
            .collect();
        let names = names.join(", ");
        let left = self.expires.duration_since(Timestamp::now()).as_secs();
        let expires = match left {
            left if left <= 0 => "now".to_owned(),
            left if left >= 7200 => format!("in {}", plan::span((left + 1800) / 3600 * 3600)),
            left => format!("in {}", plan::span(left)),
        };
        Value::row(
            vec![
                ("ID", self.id.to_string().into()),
                ("Removed", ago(self.at.as_second()).into()),
                ("Command", self.command.as_str().into()),
                (
                    "Objects",
                    if whole { names } else { ellipsis(&names, OBJECTS) }.into(),
                ),
                ("Size", size::long(self.size).into()),
                ("Expires", expires.into()),
                ("RemovedAt", self.at.to_string().into()),
                ("ExpiresAt", self.expires.to_string().into()),
            ],
            Default::default(),
        )
    }
}
