//! `image prune`.

use serde::Deserialize;

use super::rm::Removed;
use crate::args::image::prune::Prune;
use crate::commands::{Done, plan, prompt};
use crate::error::CliError;
use crate::session::Session;
use crate::spec::SpecError;
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
    let request = plan::Request {
        command: "image prune",
        all: args.all,
        filters: filters(&args.filter, args.all)?,
        keep: args.keep.keep,
        ..plan::Request::default()
    };
    let pruned = plan::prune(
        session,
        &args.removal,
        warning,
        &request,
        ("image", "Deleted Images:"),
        remove(session, &args.filter, args.all, args.keep.keep),
    );
    Ok(prompt::report(session, pruned.await?))
}

/// Those that are given, and which images are meant at all.
fn filters(filter: &[String], all: bool) -> Result<Option<String>, SpecError> {
    with(filter, &[("dangling", if all { "false" } else { "true" })])
}

/// Removes, and gives what was removed and how many bytes came back.
pub(crate) async fn remove(
    session: &Session,
    filter: &[String],
    all: bool,
    keep: bool,
) -> Result<(String, i64), CliError> {
    let pruned: Pruned = session
        .client()?
        .post("/images/prune")
        .part_of(session.operation())
        .keep_images_if(keep)
        .query_some("filters", filters(filter, all)?)
        .answer()
        .await?;
    let deleted = pruned.images_deleted.unwrap_or_default();
    Ok((told(&deleted), pruned.space_reclaimed))
}

/// What went, in Docker's words; nothing if nothing did.
pub(crate) fn told(deleted: &[Removed]) -> String {
    let mut text = String::new();
    if !deleted.is_empty() {
        text.push_str("Deleted Images:\n");
        for removed in deleted {
            text.push_str(&(removed.line("untagged", "deleted") + "\n"));
        }
        text.push('\n');
    }
    text
}
