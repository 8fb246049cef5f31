//! `builder prune`.

use serde::Deserialize;

use crate::args::builder::prune::Prune;
use crate::commands::{Done, plan, prompt};
use crate::error::CliError;
use crate::session::Session;
use crate::spec::filters::filters;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pruned {
    #[serde(default)]
    caches_deleted: Option<Vec<String>>,
    #[serde(default)]
    space_reclaimed: i64,
}

/// `docker builder prune`.
pub(crate) async fn prune(session: &Session, args: Prune) -> Done {
    let warning = if args.all {
        "WARNING! This will remove all build cache. "
    } else {
        "WARNING! This will remove all dangling build cache. "
    };
    let keep = args.keep_storage.map_or(0, |size| size.0);
    let request = plan::Request {
        command: "builder prune",
        all: args.all,
        keep_storage: keep,
        filters: filters(&args.filter)?,
        ..plan::Request::default()
    };
    let pruned = plan::prune(
        session,
        &args.removal,
        warning,
        &request,
        ("build cache", "Deleted build cache objects:"),
        remove(session, &args.filter, args.all, keep),
    );
    Ok(prompt::report(session, pruned.await?))
}

/// Removes, and gives what was removed and how many bytes came back.
pub(crate) async fn remove(
    session: &Session,
    filter: &[String],
    all: bool,
    keep: i64,
) -> Result<(String, i64), CliError> {
    let pruned: Pruned = session
        .client()?
        .post("/build/prune")
        .query_if("all", all)
        .query_some("keep-storage", (keep > 0).then(|| keep.to_string()))
        .query_some("filters", filters(filter)?)
        .answer()
        .await?;
    let deleted = pruned.caches_deleted.unwrap_or_default();
    let text = if deleted.is_empty() {
        String::new()
    } else {
        format!("Deleted build cache objects:\n{}\n\n", deleted.join("\n"))
    };
    Ok((text, pruned.space_reclaimed))
}
