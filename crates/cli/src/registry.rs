//! The registry role: opens what a registry holds, listens, serves until told to end.

use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_registry_server::{Config, Server};
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
    let config = read_config(&args)?;
    logging::begin(config.log_level.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(program, &config))?;
    Ok(ExitStatus::SUCCESS)
}

/// What the file and the environment say, and over that the command line.
fn read_config(args: &Registry) -> Result<Config, CliError> {
    let (file, named) = match &args.config {
        Some(path) => (Some(fs::read_to_string(path)?), path.as_str()),
        None => (None, "REGISTRY_*"),
    };
    let pairs = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        Some((name, value.into_string().ok()?))
    });
    let read = Config::read(file.as_deref(), pairs);
    let config = read.map_err(|error| CliError::Invalid(format!("{named}: {error}")))?;
    Ok(Config {
        address: args.listen.clone().or(config.address),
        root: args.root.clone().map(PathBuf::from).or(config.root),
        log_level: args.log_level.clone().or(config.log_level),
        ..config
    })
}

async fn serve(program: &str, config: &Config) -> Result<(), CliError> {
    let address = config.address.as_deref().unwrap_or(DEFAULT_LISTEN);
    let root = config.root.as_deref().unwrap_or(Path::new(DEFAULT_ROOT));
    let root = std::path::absolute(root)?;
    let (folder, contents) = (root.clone(), config.clone());
    let runtime = tokio::runtime::Handle::current();
    let store = tokio::task::spawn_blocking(move || contents.open(&folder, runtime))
        .await
        .map_err(std::io::Error::other)?
        .map_err(|error| CliError::Invalid(format!("registry in {}: {error}", config.place(&root))))?;
    let server = Server::new(store, config).map_err(|error| CliError::Invalid(error.to_string()))?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| CliError::Invalid(format!("cannot listen on {address}: {error}")))?;
    let address = listener.local_addr()?;
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let what = match config.deletes {
        true => "push, pull and delete",
        false => "push and pull",
    };
    let whom = match &config.htpasswd {
        Some(file) => format!("The users of {} may {what}.", file.path.display()),
        None => format!("There is no authentication: whoever reaches this address may {what}."),
    };
    let scheme = if config.identity.is_some() {
        "https"
    } else {
        "http"
    };
    Printer.line(&format!(
        "Serving {} at {scheme}://{address}\n{whom}\nTry:  {program} tag IMAGE {address}/IMAGE && {program} push {address}/IMAGE",
        config.place(&root),
    ));
    let shutdown = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        tracing::info!("ends");
    };
    havre_registry_server::serve(server, listener, shutdown).await?;
    Ok(())
}
