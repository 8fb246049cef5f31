//! `volume prune`.

use serde::Deserialize;

use crate::args::volume::prune::Prune;
use crate::commands::{Done, plan, prompt};
use crate::error::CliError;
use crate::session::Session;
use crate::spec::filters::with;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pruned {
    #[serde(default)]
    volumes_deleted: Option<Vec<String>>,
    #[serde(default)]
    space_reclaimed: i64,
}

/// `docker volume prune`.
pub(crate) async fn prune(session: &Session, args: Prune) -> Done {
    if args.all && args.filter.iter().any(|filter| filter.starts_with("all=")) {
        return Err(CliError::Invalid(
            "conflicting options: cannot specify both --all and --filter all=1".to_owned(),
        ));
    }
    let warning = if args.all {
        "WARNING! This will remove all local volumes not used by at least one container.\n"
    } else {
        "WARNING! This will remove anonymous local volumes not used by at least one container.\n"
    };
    let request = plan::Request {
        command: "volume prune",
        filters: wanted(&args.filter, args.all)?,
        ..plan::Request::default()
    };
    let pruned = plan::prune(
        session,
        &args.removal,
        warning,
        &request,
        ("volume", "Deleted Volumes:"),
        remove(session, &args.filter, args.all),
    );
    Ok(prompt::report(session, pruned.await?))
}

fn wanted(filter: &[String], all: bool) -> Result<Option<String>, CliError> {
    let more: &[(&str, &str)] = if all { &[("all", "true")] } else { &[] };
    Ok(with(filter, more)?)
}

/// Removes, and gives what was removed and how many bytes came back.
pub(crate) async fn remove(
    session: &Session,
    filter: &[String],
    all: bool,
) -> Result<(String, i64), CliError> {
    let pruned: Pruned = session
        .client()?
        .post("/volumes/prune")
        .part_of(session.operation())
        .query_some("filters", wanted(filter, all)?)
        .answer()
        .await?;
    let deleted = pruned.volumes_deleted.unwrap_or_default();
    let mut text = String::new();
    if !deleted.is_empty() {
        text = format!("Deleted Volumes:\n{}\n\n", deleted.join("\n"));
    }
    Ok((text, pruned.space_reclaimed))
}
