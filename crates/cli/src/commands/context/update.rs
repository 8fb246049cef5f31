//! `context update`.

use super::create::endpoint;
use crate::args::context::update::Update;
use crate::commands::Done;
use crate::contexts;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;

/// `docker context update`.
pub(crate) async fn update(session: &Session, args: Update) -> Done {
    let name = &args.operands[0];
    contexts::check_name(name)?;
    let store = session.settings.contexts();
    let mut context = store.get(name)?;
    let mut tls = store.tls_files(name)?;
    if let Some(description) = args.description.filter(|description| !description.is_empty()) {
        context.describe(&description);
    }
    if !args.docker.is_empty() {
        let (docker, own) = endpoint(session, &args.docker).map_err(|error| {
            CliError::Invalid(format!("unable to create docker endpoint config: {error}"))
        })?;
        context.endpoints.docker = docker;
        // What other programs keep with the context stays.
        tls.remove("docker");
        tls.extend(own);
    }
    store.put(&context, &tls)?;
    session.printer.line(name);
    session
        .printer
        .warn(&format!("Successfully updated context {name:?}"));
    Ok(ExitStatus::SUCCESS)
}
