//! `context import`.

use super::archive;
use crate::args::context::import::Import;
use crate::commands::Done;
use crate::contexts;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// How every zip begins: with a file, or empty (APPNOTE 4.3).
const ZIP: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];

/// `docker context import`.
pub(crate) async fn import(session: &Session, args: Import) -> Done {
    let [name, source] = args.operands.as_slice() else {
        return Err(CliError::plain("import takes a context and a file"));
    };
    contexts::check_name(name)?;
    let store = session.settings.contexts();
    if store.exists(name) {
        return Err(CliError::Invalid(format!("context {name:?} already exists")));
    }
    let bytes = match source.as_str() {
        "-" => contexts::read_bounded("-", std::io::stdin().lock())?,
        path => contexts::read_file(path.as_ref())?,
    };
    if ZIP.iter().any(|magic| bytes.starts_with(magic)) {
        return Err(CliError::Invalid(format!(
            "{source} is a zip: contexts are read from tar archives, which `docker context export` writes"
        )));
    }
    let (mut context, tls) = archive::read(&bytes)?;
    context.name.clone_from(name);
    store.put(&context, &tls)?;
    session.printer.line(name);
    session
        .printer
        .warn(&format!("Successfully imported context {name:?}"));
    Ok(ExitStatus::SUCCESS)
}
