//! `image prune`.

use serde::Deserialize;

use super::rm::Removed;
use crate::args::image::prune::Prune;
use crate::commands::{Done, prompt};
use crate::error::CliError;
use crate::session::Session;
use crate::spec::filters::with;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pruned {
    #[serde(default)]
    images_deleted: Option<Vec<Removed>>,
    #[serde(default)]
    space_reclaimed: i64,
}

/// `docker image prune`.
pub(crate) async fn prune(session: &Session, args: Prune) -> Done {
    let warning = if args.all {
        "WARNING! This will remove all images without at least one container associated to them.\n"
    } else {
        "WARNING! This will remove all dangling images.\n"
    };
    prompt::prune(
        session,
        args.force,
        warning,
        remove(session, &args.filter, args.all),
    )
    .await
}

/// Removes, and gives what was removed and how many bytes came back.
pub(crate) async fn remove(
    session: &Session,
    filter: &[String],
    all: bool,
) -> Result<(String, i64), CliError> {
    let dangling = if all { "false" } else { "true" };
    let filters = with(filter, &[("dangling", dangling)])?;
    let pruned: Pruned = session
        .client()?
        .post("/images/prune")
        .query_some("filters", filters)
        .answer()
        .await?;
    let deleted = pruned.images_deleted.unwrap_or_default();
    let mut text = String::new();
    if !deleted.is_empty() {
        text.push_str("Deleted Images:\n");
        for removed in deleted {
            text.push_str(&(removed.line("untagged", "deleted") + "\n"));
        }
        text.push('\n');
    }
    Ok((text, pruned.space_reclaimed))
}
