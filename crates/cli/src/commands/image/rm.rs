//! `rmi`.

use serde::Deserialize;

use crate::args::image::rm::Rm;
use crate::commands::{Done, Failures};
use crate::error::CliError;
use crate::session::Session;

/// One thing that was removed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Removed {
    #[serde(default)]
    pub(super) untagged: Option<String>,
    #[serde(default)]
    pub(super) deleted: Option<String>,
}

impl Removed {
    /// The line about it, in the case Docker gives the words.
    pub(super) fn line(&self, untagged: &str, deleted: &str) -> String {
        match (&self.deleted, &self.untagged) {
            (Some(name), _) if !name.is_empty() => format!("{deleted}: {name}"),
            (_, name) => format!("{untagged}: {}", name.as_deref().unwrap_or_default()),
        }
    }
}

/// `docker rmi`.
pub(crate) async fn rm(session: &Session, args: Rm) -> Done {
    let client = session.client()?;
    let mut failures = Failures::default();
    for name in &args.operands {
        let call = client
            .delete(format!("/images/{name}"))
            .query_if("force", args.force)
            .query_if("noprune", args.no_prune);
        match call.answer::<Vec<Removed>>().await {
            Ok(removed) => {
                for removed in removed {
                    session.printer.line(&removed.line("Untagged", "Deleted"));
                }
            }
            Err(error @ CliError::Unreachable { .. }) => return Err(error),
            Err(error) if args.force && error.is_not_found() => session.printer.warn(&error.to_string()),
            Err(error) => failures.add(&error),
        }
    }
    Ok(failures.finish(session))
}
