//! `pull`, also for `run` and `create`.

mod plan;

use super::tag::reference;
use crate::args::image::pull::Pull;
use crate::commands::Done;
use crate::credentials;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::progress::{self, Progress};
use crate::session::Session;
use crate::spec::trust;

/// `busybox:latest` for `busybox`; what is no reference stays as it is.
pub(crate) fn familiar_with_tag(name: &str) -> String {
    match reference(name) {
        Ok(reference) => reference.with_default_tag().familiar(),
        Err(_) => name.to_owned(),
    }
}

/// `docker pull`.
pub(crate) async fn pull(session: &Session, args: Pull) -> Done {
    trust::check(&args.trust)?;
    let name = &args.operands[0];
    let parsed = reference(name)?;
    if args.all_tags && (parsed.tag().is_some() || parsed.digest().is_some()) {
        return Err(CliError::Invalid(
            "tag can't be used with --all-tags/-a".to_owned(),
        ));
    }
    if args.dry_run {
        if args.all_tags {
            return Err(CliError::Invalid(
                "conflicting options: --dry-run is for one tag, not for --all-tags".to_owned(),
            ));
        }
        return plan::show(
            session,
            &parsed.with_default_tag(),
            args.platform.as_deref(),
            args.quiet,
        )
        .await;
    }
    let tagless = parsed.tag().is_none() && parsed.digest().is_none();
    if tagless && !args.all_tags && !args.quiet {
        session.printer.line("Using default tag: latest");
    }
    let call = request(session, name, args.platform.as_deref(), args.all_tags)?;
    let progress = if args.quiet {
        Progress::silent()
    } else {
        Progress::to_output(&session.printer)
    };
    progress::show(call.lines().await?, progress, &session.printer).await?;
    let shown = if args.all_tags {
        parsed.familiar_name()
    } else {
        String::new()
    };
    let canonical = parsed.with_default_tag().canonical();
    session
        .printer
        .line(if args.all_tags { &shown } else { &canonical });
    Ok(ExitStatus::SUCCESS)
}

/// Pulls for `run` and `create`: progress goes to standard error.
pub(crate) async fn pull_image(
    session: &Session,
    name: &str,
    platform: Option<&str>,
    quiet: bool,
) -> Result<(), CliError> {
    let call = request(session, name, platform, false)?;
    let progress = if quiet {
        Progress::silent()
    } else {
        Progress::to_errors()
    };
    progress::show(call.lines().await?, progress, &session.printer).await?;
    Ok(())
}

fn request<'a>(
    session: &'a Session,
    name: &str,
    platform: Option<&str>,
    all_tags: bool,
) -> Result<crate::client::Call<'a>, CliError> {
    let parsed = reference(name)?;
    let tag = match (parsed.digest(), parsed.tag()) {
        _ if all_tags => String::new(),
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    let call = session
        .client()?
        .post("/images/create")
        .query("fromImage", parsed.familiar_name())
        .query_some("tag", Some(tag).filter(|tag| !tag.is_empty()))
        .query_some("platform", platform);
    let call = credentials::sign(call, &session.settings, &parsed.repository())?;
    Ok(call)
}
