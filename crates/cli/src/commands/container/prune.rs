//! `container prune`.

use serde::Deserialize;

use crate::args::container::prune::Prune;
use crate::commands::{Done, plan, prompt};
use crate::error::CliError;
use crate::session::Session;
use crate::spec::filters::filters;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pruned {
    #[serde(default)]
    containers_deleted: Option<Vec<String>>,
    #[serde(default)]
    space_reclaimed: i64,
}

/// `docker container prune`.
pub(crate) async fn prune(session: &Session, args: Prune) -> Done {
    let request = plan::Request {
        command: "container prune",
        filters: filters(&args.filter)?,
        ..plan::Request::default()
    };
    let pruned = plan::prune(
        session,
        &args.removal,
        "WARNING! This will remove all stopped containers.\n",
        &request,
        ("container", "Deleted Containers:"),
        remove(session, &args.filter),
    );
    Ok(prompt::report(session, pruned.await?))
}

/// Removes, and gives what was removed and how many bytes came back.
pub(crate) async fn remove(session: &Session, filter: &[String]) -> Result<(String, i64), CliError> {
    let pruned: Pruned = session
        .client()?
        .post("/containers/prune")
        .part_of(session.operation())
        .query_some("filters", filters(filter)?)
        .answer()
        .await?;
    let deleted = pruned.containers_deleted.unwrap_or_default();
    let mut text = String::new();
    if !deleted.is_empty() {
        text = format!("Deleted Containers:\n{}\n\n", deleted.join("\n"));
    }
    Ok((text, pruned.space_reclaimed))
}
