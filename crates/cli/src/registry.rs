//! The registry role: serves what a registry holds, or looks after it.

mod account;
mod check;
mod gc;
mod serve;
mod webhook;

use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_registry_server::Config;
use havre_registry_store::RegistryStore;

use crate::args::Declaration;
use crate::args::registry::{Place, Registry};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::parse::{Parsed, declare, parse};
use crate::printer::Printer;
use crate::{help, logging, terminal};

const DEFAULT_ROOT: &str = "registry";

/// `havre registry`.
pub(crate) fn run(program: &str, words: &[String]) -> Result<ExitStatus, CliError> {
    let path = format!("{program} registry");
    match words.split_first() {
        Some((word, rest)) if word == "gc" => with(&format!("{path} gc"), rest, gc::run),
        Some((word, rest)) if word == "check" => with(&format!("{path} check"), rest, check::run),
        Some((word, rest)) if word == "account" => with(&format!("{path} account"), rest, account::run),
        Some((word, rest)) if word == "webhook" => with(&format!("{path} webhook"), rest, webhook::run),
        _ => with(&path, words, |args: Registry| serve::run(program, &args)),
    }
}

/// Runs a command with its arguments, or shows its help.
fn with<D: Declaration>(
    path: &str,
    words: &[String],
    run: impl FnOnce(D) -> Result<ExitStatus, CliError>,
) -> Result<ExitStatus, CliError> {
    match parse::<D>(path, words)? {
        Parsed::Arguments(args) => run(args),
        Parsed::Help => {
            let text = help::command(path, &D::SHAPE, &declare::<D>(), terminal::columns());
            Printer.out(&text);
            Ok(ExitStatus::SUCCESS)
        }
    }
}

/// What the file and the environment say, and over that the command line. Logging begins with it.
fn read_config(place: &Place, operand: Option<&String>) -> Result<Config, CliError> {
    let (file, named) = match place.config.as_ref().or(operand) {
        Some(path) => (Some(fs::read_to_string(path)?), path.as_str()),
        None => (None, "REGISTRY_*"),
    };
    let pairs = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        Some((name, value.into_string().ok()?))
    });
    let read = Config::read(file.as_deref(), pairs);
    let config = read.map_err(|error| CliError::Invalid(format!("{named}: {error}")))?;
    let config = Config {
        root: place.root.clone().map(PathBuf::from).or(config.root),
        log_level: place.log_level.clone().or(config.log_level),
        ..config
    };
    logging::begin(config.log_level.as_deref())?;
    Ok(config)
}

/// The folder of a registry.
fn root(config: &Config) -> Result<PathBuf, CliError> {
    let root = config.root.as_deref().unwrap_or(Path::new(DEFAULT_ROOT));
    Ok(std::path::absolute(root)?)
}

/// Opens what a registry holds. Blocking.
fn open(config: &Config, root: &Path, runtime: tokio::runtime::Handle) -> Result<RegistryStore, CliError> {
    config
        .open(root, runtime)
        .map_err(|error| CliError::Invalid(format!("registry in {}: {error}", config.place(root))))
}

/// Opens a registry that is there, to look after it; the runtime must live as long.
fn open_there(place: &Place) -> Result<(RegistryStore, Config, tokio::runtime::Runtime), CliError> {
    let config = read_config(place, None)?;
    let root = root(&config)?;
    if config.bucket.is_none() && !root.join("docker/registry/v2").is_dir() {
        return Err(CliError::Invalid(format!(
            "no registry in {}: name its directory with --root",
            root.display()
        )));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = open(&config, &root, runtime.handle().clone())?;
    Ok((store, config, runtime))
}

fn failed(error: havre_registry_store::StoreError) -> CliError {
    CliError::Invalid(error.to_string())
}
