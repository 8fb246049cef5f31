//! `import`.

use super::tag::reference;
use crate::args::image::import::Import;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::input_stream;
use crate::progress::{self, Progress};
use crate::session::Session;

/// `docker import`.
pub(crate) async fn import(session: &Session, args: Import) -> Done {
    let source = args.operands[0].as_str();
    let target = args.operands.get(1).map(String::as_str).unwrap_or_default();
    if !target.is_empty() {
        reference(target)?;
    }
    let remote = source.starts_with("http://") || source.starts_with("https://");
    let mut call = session
        .client()?
        .post("/images/create")
        .query("fromSrc", if remote { source } else { "-" })
        .query_some("repo", Some(target).filter(|target| !target.is_empty()))
        .query_some("message", args.message.as_ref())
        .query_some("platform", args.platform.as_ref());
    for change in &args.change {
        call = call.query("changes", change);
    }
    if !remote {
        let input = if source == "-" {
            input_stream::stdin()
        } else {
            input_stream::file(source).await?
        };
        call = call.stream("application/x-tar", input);
    }
    progress::show(
        call.lines().await?,
        Progress::to_output(&session.printer),
        &session.printer,
    )
    .await?;
    Ok(ExitStatus::SUCCESS)
}
