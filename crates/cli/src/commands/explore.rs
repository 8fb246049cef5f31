//! `explore`.

use std::io::Write;
use std::path::Path;

use fs_err as fs;

use crate::args::explore::Explore;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::explore::{self, Given, Rules, Summary};
use crate::session::Session;

/// `havre explore`, `havre dive`.
pub(crate) async fn explore(session: &Session, args: Explore) -> Done {
    let written = args.json.is_some() || args.html.is_some();
    let ci = args.ci || !written && std::env::var("CI").is_ok_and(|value| value == "true");
    let given = Given {
        lowest_efficiency: args.lowest_efficiency,
        highest_wasted_bytes: args.highest_wasted_bytes,
        highest_user_wasted_percent: args.highest_user_wasted_percent,
    };
    // What is wrong with a threshold is said before anything is read.
    let rules = ci
        .then(|| Rules::read(given, args.ci_config.as_deref()))
        .transpose()?;
    let terminal = session.printer.in_is_terminal() && session.printer.out_is_terminal();
    if !ci && !written && !terminal {
        return Err(CliError::Invalid(
            "no terminal to show the image on: use --ci for a judgement, --json FILE or --html FILE for a report".to_owned(),
        ));
    }
    let subject = explore::open(session, &args.operands[0], &args.at).await?;
    if !ci && !written {
        return explore::show(session, subject).await;
    }
    let summary = Summary::new(&subject);
    if let Some(file) = args.json {
        write(session, &file, |output| summary.json(output))?;
    }
    if let Some(file) = args.html {
        write(session, &file, |output| summary.page(output))?;
    }
    let Some(rules) = rules else {
        return Ok(ExitStatus::SUCCESS);
    };
    let (text, kept) = summary.judge(&rules);
    session.printer.out(&text);
    Ok(if kept {
        ExitStatus::SUCCESS
    } else {
        ExitStatus::FAILURE
    })
}

/// A file appears when it is whole.
pub(crate) fn write(
    session: &Session,
    file: &str,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), CliError> {
    let mut text = Vec::new();
    fill(&mut text)?;
    if file == "-" {
        session.printer.out_bytes(&text);
        return Ok(());
    }
    let path = Path::new(file);
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        // A device or a pipe cannot be replaced.
        return Ok(fs::OpenOptions::new().write(true).open(path)?.write_all(&text)?);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fs::write(&aside, &text).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    Ok(written?)
}
