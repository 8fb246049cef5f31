//! `push`.

use havre_oci::Reference;
use serde_json::Value;

use super::tag::reference;
use crate::args::image::push::Push;
use crate::commands::Done;
use crate::credentials;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::progress::{self, Progress};
use crate::session::Session;
use crate::spec::{platform, trust};

/// `docker push`.
pub(crate) async fn push(session: &Session, args: Push) -> Done {
    trust::check(&args.trust)?;
    let parsed = reference(&args.operands[0])?;
    if parsed.digest().is_some() {
        return Err(CliError::Invalid("cannot push a digest reference".to_owned()));
    }
    if args.all_tags && parsed.tag().is_some() {
        return Err(CliError::Invalid(
            "tag can't be used with --all-tags/-a".to_owned(),
        ));
    }
    let tag = match parsed.tag() {
        _ if args.all_tags => None,
        Some(tag) => Some(tag.to_owned()),
        None => {
            if !args.quiet {
                session.printer.line("Using default tag: latest");
            }
            Some("latest".to_owned())
        }
    };
    let platform = platform::json_of(args.platform.as_deref())?;
    send(session, &parsed, tag.as_deref(), platform.as_deref(), args.quiet).await?;
    if args.quiet {
        let shown = if args.all_tags {
            parsed.canonical()
        } else {
            parsed.with_default_tag().canonical()
        };
        session.printer.line(&shown);
    }
    Ok(ExitStatus::SUCCESS)
}

/// Pushes a tag, or all without one, and shows the progress. What the engine told besides: digests by tag.
pub(super) async fn send(
    session: &Session,
    name: &Reference,
    tag: Option<&str>,
    platform: Option<&str>,
    quiet: bool,
) -> Result<Vec<Value>, CliError> {
    let header =
        credentials::header(&session.settings, &name.repository())?.unwrap_or_else(credentials::nobody);
    let lines = session
        .client()?
        .post(format!("/images/{}/push", name.familiar_name()))
        .query_some("tag", tag)
        .query_some("platform", platform)
        .header("x-registry-auth", header)
        .lines()
        .await?;
    let progress = if quiet {
        Progress::silent()
    } else {
        Progress::to_output(&session.printer)
    };
    progress::show(lines, progress, &session.printer).await
}
