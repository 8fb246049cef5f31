//! `outdated`.

use serde::Deserialize;

use super::tag::reference;
use crate::args::image::outdated::Outdated;
use crate::commands::Done;
use crate::credentials;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::short_id;
use crate::session::Session;
use crate::template::Value;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    name: String,
    image: String,
    pulled: String,
    state: String,
    #[serde(default)]
    remote: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

const LAYOUT: Layout = Layout {
    table: "{{.Name}}\t{{.ID}}\t{{.Pulled}}\t{{.Remote}}\t{{.Status}}",
    quiet: "Name",
    headers: &[
        ("Name", "NAME"),
        ("ID", "IMAGE ID"),
        ("Pulled", "PULLED"),
        ("Remote", "IN THE REGISTRY"),
        ("Status", "STATUS"),
    ],
};

/// `havre outdated`: fails when a registry cannot be asked.
pub(crate) async fn outdated(session: &Session, args: Outdated) -> Done {
    let mut call = session.client()?.get("/havre/outdated");
    for name in &args.operands {
        call = call.query("name", reference(name)?.with_default_tag().canonical());
    }
    let call = credentials::sign_for_all(call, &session.settings)?;
    let found: Vec<Row> = call.answer().await?;
    let rows: Vec<Value> = found
        .iter()
        .filter(|row| row.state != "unknown" && (args.all || row.state != "current"))
        .map(|row| row.cells(args.no_trunc))
        .collect();
    session
        .printer
        .out(&LAYOUT.render(args.format.as_deref(), args.quiet, &rows)?);
    let mut failed = false;
    for row in &found {
        if let Some(error) = &row.error {
            session.printer.warn(&format!("{}: {error}", row.name));
            failed = true;
        }
    }
    Ok(if failed {
        ExitStatus::FAILURE
    } else {
        ExitStatus::SUCCESS
    })
}

impl Row {
    fn cells(&self, whole: bool) -> Value {
        let shown = |digest: &str| match whole {
            true => digest.to_owned(),
            false => short_id(digest),
        };
        let status = match self.state.as_str() {
            "current" => "up to date",
            "moved" => "newer there",
            "gone" => "gone there",
            other => other,
        };
        Value::row(
            vec![
                ("Name", self.name.as_str().into()),
                ("ID", shown(&self.image).into()),
                ("Pulled", shown(&self.pulled).into()),
                (
                    "Remote",
                    self.remote.as_deref().map_or_else(String::new, shown).into(),
                ),
                ("Status", status.into()),
            ],
            Default::default(),
        )
    }
}
