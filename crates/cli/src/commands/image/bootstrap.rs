//! `image bootstrap`: a base image without a registry.

use serde_json::json;

use super::tag::reference;
use crate::args::image::bootstrap::Bootstrap;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::progress::{self, Progress};
use crate::session::Session;

/// `havre image bootstrap`.
pub(crate) async fn bootstrap(session: &Session, args: Bootstrap) -> Done {
    if let Some(tag) = &args.tag {
        reference(tag)?;
    }
    let body = json!({
        "source": args.operands[0],
        "reference": args.tag,
        "withHostCa": args.with_host_ca,
        "mirror": args.mirror,
    });
    let lines = session
        .client()?
        .post("/havre/images/bootstrap")
        .json(&body)
        .lines()
        .await?;
    let progress = if args.quiet {
        Progress::silent()
    } else {
        Progress::to_output(&session.printer)
    };
    let aux = progress::show(lines, progress, &session.printer).await?;
    if args.quiet
        && let Some(id) = aux.iter().rev().find_map(|aux| aux["ID"].as_str())
    {
        session.printer.line(id);
    }
    Ok(ExitStatus::SUCCESS)
}
