//! `rmi`.

use havre_oci::Platform;
use serde::Deserialize;
use serde_json::json;

use crate::args::image::rm::Rm;
use crate::commands::{Done, Failures, plan};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::spec::filters::filters;
use crate::spec::platform;

/// One thing that was removed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Removed {
    #[serde(default)]
    pub(super) untagged: Option<String>,
    #[serde(default)]
    pub(super) deleted: Option<String>,
}

impl Removed {
    /// The line about it, in the case Docker gives the words.
    pub(crate) fn line(&self, untagged: &str, deleted: &str) -> String {
        match (&self.deleted, &self.untagged) {
            (Some(name), _) if !name.is_empty() => format!("{deleted}: {name}"),
            (_, name) => format!("{untagged}: {}", name.as_deref().unwrap_or_default()),
        }
    }
}

/// `docker rmi`.
pub(crate) async fn rm(session: &Session, args: Rm) -> Done {
    let platforms = args.platform.iter().map(|text| platform::parse(text));
    let platforms = platforms.collect::<Result<Vec<_>, _>>()?;
    if !platforms.is_empty() && !args.filter.is_empty() {
        return Err(CliError::Invalid(
            "--platform goes with names; with filters use --filter platform=OS/ARCH".to_owned(),
        ));
    }
    let request = plan::Request {
        command: "image rm",
        names: &args.operands,
        force: args.force,
        no_prune: args.no_prune,
        keep: args.keep.keep,
        filters: filters(&args.filter)?,
        platforms: platforms.clone(),
        ..plan::Request::default()
    };
    if plan::shown(session, &args.plan, &request).await? {
        return Ok(ExitStatus::SUCCESS);
    }
    if request.filters.is_some() {
        let removed = plan::remove_filtered(session, &request).await?;
        for removed in removed {
            session.printer.line(&removed.line("Untagged", "Deleted"));
        }
        return Ok(ExitStatus::SUCCESS);
    }
    let mut failures = Failures::default();
    let mut show = |outcome: Result<Vec<Removed>, CliError>| {
        match outcome {
            Ok(removed) => {
                for removed in removed {
                    session.printer.line(&removed.line("Untagged", "Deleted"));
                }
            }
            Err(error @ CliError::Unreachable { .. }) => return Err(error),
            Err(error) if args.force && error.is_not_found() => session.printer.warn(&error.to_string()),
            Err(error) => failures.add(&error),
        }
        Ok(())
    };
    if let Some(outcomes) = at_once(session, &args, &platforms).await? {
        for outcome in outcomes {
            show(outcome.into())?;
        }
    } else {
        let client = session.client()?;
        for name in &args.operands {
            let mut call = client
                .delete(format!("/images/{name}"))
                .query_if("force", args.force)
                .query_if("noprune", args.no_prune)
                .part_of(session.operation())
                .keep_images_if(args.keep.keep);
            for wanted in &args.platform {
                call = call.query("platforms", platform::json(wanted)?);
            }
            show(call.answer().await)?;
        }
    }
    Ok(failures.finish(session))
}

/// What became of one of several names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
enum Outcome {
    Removed(Vec<Removed>),
    Error { status: u16, message: String },
}

impl From<Outcome> for Result<Vec<Removed>, CliError> {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Removed(removed) => Ok(removed),
            Outcome::Error { status, message } => Err(CliError::Daemon { status, message }),
        }
    }
}

/// Several images in one request. `None`: there is only one, or the engine is not Havre.
async fn at_once(
    session: &Session,
    args: &Rm,
    platforms: &[Platform],
) -> Result<Option<Vec<Outcome>>, CliError> {
    if args.operands.len() < 2 {
        return Ok(None);
    }
    let call = session.client()?.post("/havre/images/remove").json(&json!({
        "Names": args.operands, "Force": args.force, "NoPrune": args.no_prune, "Platforms": platforms,
    }));
    let call = call.part_of(session.operation()).keep_images_if(args.keep.keep);
    match call.answer().await {
        Err(error) if error.is_not_found() => Ok(None),
        answer => answer.map(Some),
    }
}
