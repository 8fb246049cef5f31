//! Opens what a registry holds, listens, serves until told to end.

use std::path::Path;
use std::sync::Arc;

use havre_registry_server::{CacheSettings, Config, Server};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{open, read_config, root};
use crate::args::registry::Registry;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::printer::Printer;

const DEFAULT_LISTEN: &str = "127.0.0.1:5000";

pub(super) fn run(program: &str, args: &Registry) -> Result<ExitStatus, CliError> {
    let config = read_config(&args.place, args.operands.first())?;
    let config = Config {
        address: args.listen.clone().or(config.address),
        accounts: config.accounts.or_else(|| args.accounts.then(Default::default)),
        ..config
    };
    if config.accounts.is_some() && config.htpasswd.is_some() {
        return Err(CliError::Invalid(
            "accounts have passwords of their own: leave htpasswd out of the configuration".to_owned(),
        ));
    }
    let root = root(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Opened here and closed here: both speak with databases, and wait for them, which nothing on the runtime may do.
    let store = open(&config, &root, runtime.handle().clone())?;
    let server = Server::new(store, &config, &root).map_err(|error| CliError::Invalid(error.to_string()))?;
    let server = Arc::new(server);
    let first = server.hub().map(havre_hub::Hub::first_run).transpose();
    let first = first.map_err(|error| CliError::Invalid(error.to_string()))?;
    let served = runtime.block_on(serve(
        program,
        &config,
        &root,
        Arc::clone(&server),
        first.flatten(),
    ));
    drop(runtime);
    drop(server);
    served?;
    Ok(ExitStatus::SUCCESS)
}

/// `invitation`: for the first account, while there is none.
async fn serve(
    program: &str,
    config: &Config,
    root: &Path,
    server: Arc<Server>,
    invitation: Option<String>,
) -> Result<(), CliError> {
    let address = config.address.as_deref().unwrap_or(DEFAULT_LISTEN);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| CliError::Invalid(format!("cannot listen on {address}: {error}")))?;
    let address = listener.local_addr()?;
    let debug =
        match &config.debug {
            None => None,
            Some(debug) => Some(TcpListener::bind(&debug.address).await.map_err(|error| {
                CliError::Invalid(format!("cannot listen on {}: {error}", debug.address))
            })?),
        };
    // Where it is reached from this machine, if it is reached everywhere.
    let reached = match address.ip().is_unspecified() {
        true => format!("localhost:{}", address.port()),
        false => address.to_string(),
    };
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let whole = config.caches.iter().any(|cache| cache.prefix.is_none());
    let what = match (whole, config.deletes) {
        (false, true) => "push, pull and delete",
        (false, false) => "push and pull",
        (true, true) => "pull and delete",
        (true, false) => "pull",
    };
    let whom = match (&config.accounts, &config.htpasswd) {
        (Some(_), _) => format!(
            "Accounts may {what} what is theirs, everybody may pull what is public.{}",
            first_run(program, &format!("{}://{reached}", scheme(config)), invitation)
        ),
        (None, Some(file)) => format!("The users of {} may {what}.", file.path.display()),
        (None, None) => format!("There is no authentication: whoever reaches this address may {what}."),
    };
    let scheme = scheme(config);
    let caches: String = config.caches.iter().map(cache).collect();
    let first = match whole {
        true => format!("{program} pull {reached}/IMAGE"),
        false => format!("{program} tag IMAGE {reached}/IMAGE && {program} push {reached}/IMAGE"),
    };
    Printer.line(&format!(
        "Serving {} at {scheme}://{address}\n{whom}{caches}\nTry:  {first}",
        config.place(root),
    ));
    let shutdown = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        tracing::info!("ends");
    };
    havre_registry_server::serve(server, listener, debug, shutdown).await?;
    Ok(())
}

fn scheme(config: &Config) -> &'static str {
    if config.identity.is_some() {
        "https"
    } else {
        "http"
    }
}

/// What of it is another registry's.
fn cache(settings: &CacheSettings) -> String {
    let upstream = &settings.upstream;
    match &settings.prefix {
        None => format!("\nIt is a cache of {upstream}."),
        Some(prefix) => format!("\n{prefix}/… is a cache of {upstream}."),
    }
}

/// How the first account is made, while there is none.
fn first_run(program: &str, url: &str, invitation: Option<String>) -> String {
    invitation.map_or_else(String::new, |secret| {
        format!(
            "\nThere is no account yet. Make the first at {url}/sign-up?invitation={secret}\nor by:  {program} registry account add NAME --admin"
        )
    })
}
