//! What a removal would take: shown before it is asked about and with `--dry-run`, and carried out exactly.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};

use havre_oci::Platform;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::plan::{PlanFlags, PruneFlags};
use crate::commands::image::rm::Removed;
use crate::commands::{image, prompt};
use crate::error::CliError;
use crate::format::listing::Layout;
use crate::format::{short_id, size};
use crate::session::Session;
use crate::template::Value;

/// A command whose plan is wanted.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Request<'a> {
    pub(crate) command: &'static str,
    pub(crate) names: &'a [String],
    pub(crate) force: bool,
    pub(crate) volumes: bool,
    pub(crate) all: bool,
    pub(crate) no_prune: bool,
    pub(crate) keep_storage: i64,
    /// Of images just those for these platforms, if there are some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) platforms: Vec<Platform>,
    /// Images can be brought back.
    #[serde(skip)]
    pub(crate) keep: bool,
    /// As the prunes take them.
    #[serde(skip)]
    pub(crate) filters: Option<String>,
}

/// What would go.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Plan {
    pub(crate) items: Vec<Item>,
    size: i64,
    undo_window: i64,
    #[serde(default)]
    images_kept: bool,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Item {
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(rename = "ID")]
    id: String,
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    references: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    layers: Vec<String>,
    size: i64,
    reason: String,
}

/// What went and what did not.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Applied {
    removed: Vec<Applicable>,
    skipped: Vec<Applicable>,
    images_deleted: Vec<Removed>,
    pub(crate) space_reclaimed: i64,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Applicable {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "ID")]
    id: String,
    reason: String,
}

const LAYOUT: Layout = Layout {
    table: "{{.Type}}\t{{.ID}}\t{{.Name}}\t{{.Size}}\t{{.Reason}}",
    quiet: "ID",
    headers: &[
        ("Type", "TYPE"),
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Size", "SIZE"),
        ("Reason", "WHY"),
    ],
};

/// With `--dry-run` the plan of a command is shown, and there is nothing else to do.
pub(crate) async fn shown(
    session: &Session,
    flags: &PlanFlags,
    request: &Request<'_>,
) -> Result<bool, CliError> {
    if !flags.dry_run {
        return match flags.format {
            Some(_) => Err(CliError::Invalid(
                "--format is for the plan: use it with --dry-run".to_owned(),
            )),
            None => Ok(false),
        };
    }
    let plan = fetch(session, request).await?.ok_or_else(|| {
        CliError::Invalid("this engine makes no plans: --dry-run needs a Havre engine".to_owned())
    })?;
    match flags.format.as_deref() {
        Some("json") => {
            let text = serde_json::to_string(&plan).map_err(|error| CliError::Invalid(error.to_string()))?;
            session.printer.line(&text);
        }
        None | Some("" | "table") => session.printer.out(&plan.text(session)?),
        format => session.printer.out(&LAYOUT.render(format, false, &plan.rows())?),
    }
    Ok(true)
}

/// The prune of one kind of things: shows what would go, or asks and has just that removed; an engine without plans is
/// told by `removal` what to look for itself. What went, in words, and the bytes that came back; `None` if nothing was to.
pub(crate) async fn prune(
    session: &Session,
    flags: &PruneFlags,
    warning: &str,
    request: &Request<'_>,
    (kind, title): (&str, &str),
    removal: impl Future<Output = Result<(String, i64), CliError>>,
) -> Result<Option<(String, i64)>, CliError> {
    if shown(session, &flags.plan, request).await? {
        return Ok(None);
    }
    let agreed = match flags.force {
        true => None,
        false => confirm(session, warning, request).await?,
    };
    let Some(plan) = agreed else {
        return removal.await.map(Some);
    };
    let applied = apply(session, request, &plan).await?;
    Ok(Some((
        applied.deleted(kind, title, &plan),
        applied.space_reclaimed,
    )))
}

/// Removes the images that filters mean: exactly what the plan says, which is shown and asked about on a terminal, unless forced.
pub(crate) async fn remove_filtered(
    session: &Session,
    request: &Request<'_>,
) -> Result<Vec<Removed>, CliError> {
    let plan = fetch(session, request).await?.ok_or_else(|| {
        CliError::Invalid("this engine makes no plans: removing by filters needs a Havre engine".to_owned())
    })?;
    if plan.items.is_empty() {
        return Ok(Vec::new());
    }
    let at_terminal = session.printer.out_is_terminal() && io::stdin().is_terminal();
    if at_terminal && !request.force {
        prompt::confirm(session, &format!("{}\n", plan.text(session)?))?;
    }
    let applied = apply(session, request, &plan).await?;
    Ok(applied.images_deleted)
}

/// The plan; `None` if the engine makes none.
async fn fetch(session: &Session, request: &Request<'_>) -> Result<Option<Plan>, CliError> {
    let call = session
        .client()?
        .post("/havre/plan")
        .query_some("filters", request.filters.as_deref())
        .json(request);
    match call.answer::<Plan>().await {
        Ok(mut plan) => {
            plan.images_kept |= request.keep;
            Ok(Some(plan))
        }
        Err(CliError::Daemon { status: 404, message }) if message == "page not found" => Ok(None),
        Err(error) => Err(error),
    }
}

/// Shows, on a terminal, what would go, and asks. The plan that was agreed to; `None` if the engine makes none.
pub(crate) async fn confirm(
    session: &Session,
    warning: &str,
    request: &Request<'_>,
) -> Result<Option<Plan>, CliError> {
    let plan = fetch(session, request).await?;
    let mut text = warning.to_owned();
    if let Some(plan) = plan.as_ref().filter(|_| session.printer.out_is_terminal()) {
        text.push_str(&format!("\n{}\n", plan.text(session)?));
    }
    prompt::confirm(session, &text)?;
    Ok(plan)
}

/// Removes what the plan says, as far as it did not change.
pub(crate) async fn apply(
    session: &Session,
    request: &Request<'_>,
    plan: &Plan,
) -> Result<Applied, CliError> {
    let items = plan.items.iter();
    let items: Vec<_> = items
        .map(|item| json!({"Type": item.kind, "ID": item.id, "References": item.references}))
        .collect();
    let applied: Applied = session
        .client()?
        .post("/havre/plan/apply")
        .part_of(session.operation())
        .keep_images_if(request.keep)
        .json(&json!({"Command": request.command, "Force": request.force, "Items": items}))
        .answer()
        .await?;
    for stays in &applied.skipped {
        let (kind, id) = (&stays.kind, &stays.id);
        session
            .printer
            .warn(&format!("{kind} {id} stays: {}", stays.reason));
    }
    Ok(applied)
}

impl Applied {
    /// What went of a kind, under a title, as Docker's prunes tell it; nothing if none did. Networks by name.
    pub(crate) fn deleted(&self, kind: &str, title: &str, plan: &Plan) -> String {
        if kind == "image" {
            return image::prune::told(&self.images_deleted);
        }
        let of_kind = self.removed.iter().filter(|item| item.kind == kind);
        let named = |id: &str| {
            let planned = plan.items.iter().find(|item| item.kind == kind && item.id == id);
            planned
                .filter(|_| kind == "network")
                .map_or(id, |item| item.name.as_str())
                .to_owned()
        };
        let lines: Vec<String> = of_kind.map(|item| named(&item.id)).collect();
        match lines.is_empty() {
            true => String::new(),
            false => format!("{title}\n{}\n\n", lines.join("\n")),
        }
    }
}

impl Plan {
    fn rows(&self) -> Vec<Value> {
        let row = |item: &Item| {
            let id = match item.kind.as_str() {
                "volume" => String::new(),
                _ => short_id(&item.id),
            };
            Value::row(
                vec![
                    ("Type", item.kind.as_str().into()),
                    ("ID", id.into()),
                    ("Name", item.name.as_str().into()),
                    ("Size", size::long(item.size).into()),
                    ("Reason", item.reason.as_str().into()),
                ],
                Default::default(),
            )
        };
        self.items.iter().map(row).collect()
    }

    /// For people.
    fn text(&self, session: &Session) -> Result<String, CliError> {
        if self.items.is_empty() {
            return Ok("Nothing would be removed.\n".to_owned());
        }
        let mut text = LAYOUT.render(None, false, &self.rows())?;
        let count = match self.items.len() {
            1 => "1 object".to_owned(),
            count => format!("{count} objects"),
        };
        text.push_str(&format!("\nTotal: {count}, {}\n", size::long(self.size)));
        let forever = |kind: &str| match kind {
            "image" => !self.images_kept,
            "build cache" | "compressed layer" => true,
            _ => false,
        };
        let (for_good, back): (BTreeSet<&str>, BTreeSet<&str>) =
            (self.items.iter().map(|item| item.kind.as_str())).partition(|kind| forever(kind));
        if self.undo_window > 0 && !back.is_empty() {
            let program = &session.program;
            text.push_str(&format!(
                "'{program} undo' brings it back within {}; the space is free after that, or with '{program} undo --forget'.\n",
                span(self.undo_window)
            ));
        }
        if self.undo_window > 0 && for_good.contains("image") {
            text.push_str("Images cannot be brought back: --keep would keep them.\n");
        }
        if self.undo_window > 0 && for_good.contains("build cache") {
            text.push_str("Build cache cannot be brought back.\n");
        }
        Ok(text)
    }
}

/// `24 hours`, `90 minutes`, `10 seconds`.
pub(super) fn span(seconds: i64) -> String {
    let plural = |number: i64, unit: &str| match number {
        1 => format!("1 {unit}"),
        number => format!("{number} {unit}s"),
    };
    match seconds {
        seconds if seconds >= 7200 && seconds % 3600 == 0 => plural(seconds / 3600, "hour"),
        seconds if seconds >= 120 => plural(seconds / 60, "minute"),
        seconds => plural(seconds, "second"),
    }
}
