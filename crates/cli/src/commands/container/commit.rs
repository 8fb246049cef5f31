//! `commit`.

use serde::Deserialize;

use crate::args::container::commit::Commit;
use crate::commands::Done;
use crate::commands::image::tag::repository_and_tag;
use crate::exit_status::ExitStatus;
use crate::session::Session;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Committed {
    id: String,
}

/// `docker commit`.
pub(crate) async fn commit(session: &Session, args: Commit) -> Done {
    let target = args
        .operands
        .get(1)
        .map(|name| repository_and_tag(name))
        .transpose()?;
    let (repository, tag) = target.unwrap_or_default();
    let mut call = session
        .client()?
        .post("/commit")
        .query("container", &args.operands[0])
        .query_some("repo", Some(repository).filter(|text| !text.is_empty()))
        .query_some("tag", Some(tag).filter(|text| !text.is_empty()))
        .query_some("comment", args.message.as_ref())
        .query_some("author", args.author.as_ref())
        .query("pause", if args.pause { "1" } else { "0" });
    for change in &args.change {
        call = call.query("changes", change);
    }
    let committed: Committed = call.json(&serde_json::json!({})).answer().await?;
    session.printer.line(&committed.id);
    Ok(ExitStatus::SUCCESS)
}
