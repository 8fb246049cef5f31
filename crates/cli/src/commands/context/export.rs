//! `context export`.

use std::io::Write;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;

use super::{archive, create};
use crate::args::context::export::Export;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker context export`.
pub(crate) async fn export(session: &Session, args: Export) -> Done {
    let name = &args.operands[0];
    let usual = format!("{name}.dockercontext");
    let target = args.operands.get(1).unwrap_or(&usual);
    if target == "-" && session.printer.out_is_terminal() {
        return Err(CliError::Invalid(
            "cowardly refusing to export to a terminal, specify a file path".to_owned(),
        ));
    }
    let (context, tls) = create::existing(session, name)?;
    let archive = archive::write(&context, &tls)?;
    if target == "-" {
        session.printer.out_bytes(&archive);
        return Ok(ExitStatus::SUCCESS);
    }
    // There may be a key in it.
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target);
    let mut file = file.map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "file exists".to_owned(),
            _ => crate::input_stream::plain(&error),
        };
        CliError::Invalid(format!("open {target}: {reason}"))
    })?;
    file.write_all(&archive)?;
    session.printer.warn(&format!("Written file {target:?}"));
    Ok(ExitStatus::SUCCESS)
}
