//! `context import`.

use super::archive;
use crate::args::context::import::Import;
use crate::commands::Done;
use crate::contexts;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

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
    let (mut context, tls) = archive::read(&bytes)?;
    context.name.clone_from(name);
    store.put(&context, &tls)?;
    session.printer.line(name);
    session
        .printer
        .warn(&format!("Successfully imported context {name:?}"));
    Ok(ExitStatus::SUCCESS)
}
