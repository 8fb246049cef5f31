//! The registry role: opens what a registry holds, listens, serves until told to end.

use std::path::Path;

use havre_registry_store::RegistryStore;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Declaration as _;
use crate::args::registry::Registry;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::parse::{Parsed, declare, parse};
use crate::printer::Printer;
use crate::{help, logging, terminal};

const DEFAULT_LISTEN: &str = "127.0.0.1:5000";
const DEFAULT_ROOT: &str = "registry";

/// `havre registry`.
pub(crate) fn run(program: &str, words: &[String]) -> Result<ExitStatus, CliError> {
    let path = &format!("{program} registry");
    let args = match parse::<Registry>(path, words)? {
        Parsed::Arguments(args) => args,
        Parsed::Help => {
            let text = help::command(
                path,
                &Registry::SHAPE,
                &declare::<Registry>(),
                terminal::columns(),
            );
            Printer.out(&text);
            return Ok(ExitStatus::SUCCESS);
        }
    };
    logging::begin(args.log_level.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(program, &args))?;
    Ok(ExitStatus::SUCCESS)
}

async fn serve(program: &str, args: &Registry) -> Result<(), CliError> {
    let address = args.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
    let root = std::path::absolute(Path::new(args.root.as_deref().unwrap_or(DEFAULT_ROOT)))?;
    let folder = root.clone();
    let store = tokio::task::spawn_blocking(move || RegistryStore::open(&folder))
        .await
        .map_err(std::io::Error::other)?
        .map_err(|error| CliError::Invalid(format!("registry {}: {error}", root.display())))?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| CliError::Invalid(format!("cannot listen on {address}: {error}")))?;
    let address = listener.local_addr()?;
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Printer.line(&format!(
        "Serving {} at http://{address}\nThere is no authentication: whoever reaches this address may push and delete.\nTry:  {program} tag IMAGE {address}/IMAGE && {program} push {address}/IMAGE",
        root.display(),
    ));
    let shutdown = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        tracing::info!("ends");
    };
    havre_registry_server::serve(store, listener, shutdown).await?;
    Ok(())
}
