//! `copy` and `retag`: images from registry to registry.

use havre_oci::Reference;

use super::tag::reference;
use crate::args::image::copy::Copy;
use crate::args::image::retag::Retag;
use crate::commands::Done;
use crate::credentials;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::progress::{self, Progress};
use crate::session::Session;

/// `havre copy`.
pub(crate) async fn copy(session: &Session, args: Copy) -> Done {
    let from = reference(&args.operands[0])?.with_default_tag();
    let target = reference(&args.operands[1])?;
    // Without a tag of its own, the copy has the source's.
    let to = match (target.tag(), from.tag()) {
        (None, Some(tag)) if target.digest().is_none() => {
            reference(&format!("{}:{tag}", target.canonical()))?
        }
        _ => target.with_default_tag(),
    };
    let options = Options {
        platform: args.platform.as_deref(),
        referrers: !args.no_referrers,
        insecure: args.insecure,
        quiet: args.quiet,
    };
    one(session, &from, &to, &options).await?;
    Ok(ExitStatus::SUCCESS)
}

/// `havre retag`.
pub(crate) async fn retag(session: &Session, args: Retag) -> Done {
    let from = reference(&args.operands[0])?.with_default_tag();
    let mut targets = Vec::new();
    for word in &args.operands[1..] {
        // All are looked at before any is set.
        let target = match from.without_tag().with_tag(word) {
            Ok(target) => target,
            Err(_) => reference(word)?.with_default_tag(),
        };
        if target.repository() != from.repository() {
            return Err(CliError::Invalid(format!(
                "{} is another repository than {}: use 'copy'",
                target.familiar_name(),
                from.familiar_name()
            )));
        }
        targets.push(target);
    }
    for to in &targets {
        let options = Options {
            platform: None,
            referrers: false,
            insecure: args.insecure,
            quiet: args.quiet,
        };
        one(session, &from, to, &options).await?;
    }
    Ok(ExitStatus::SUCCESS)
}

struct Options<'a> {
    platform: Option<&'a str>,
    referrers: bool,
    insecure: bool,
    quiet: bool,
}

async fn one(
    session: &Session,
    from: &Reference,
    to: &Reference,
    options: &Options<'_>,
) -> Result<(), CliError> {
    let call = session
        .client()?
        .post("/havre/copy")
        .query("from", from.canonical())
        .query("to", to.canonical())
        .query_some("platform", options.platform)
        .query_if("referrers", options.referrers)
        .query_if("insecure", options.insecure);
    let call = credentials::sign_for_all(call, &session.settings)?;
    let progress = match options.quiet {
        true => Progress::silent(),
        false => Progress::to_output(&session.printer),
    };
    progress::show(call.lines().await?, progress, &session.printer).await?;
    session.printer.line(&to.canonical());
    Ok(())
}
