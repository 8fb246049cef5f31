//! The `havre` command: client, daemon, registry and shim in one program; called `docker`, it speaks as `docker`, called
//! `docker-credential-havre`, as a credential helper.
//!
//! ```text
//! main        which role
//! invocation  global flags ─┐
//! settings    environment, config.json, contexts ─┴► endpoint
//! catalogue   name → declaration (args/) + action (commands/)
//! parse       words → declaration, with the grammar and messages of Docker's client
//! commands    talk to the engine (client/) and print (printer, format/, template/)
//! error       every message and exit status
//! ```

mod activation;
mod archive;
mod args;
mod autostart;
mod builders;
mod catalogue;
mod client;
mod commands;
mod completion;
mod config_file;
mod context;
mod contexts;
mod credential_helper;
mod credentials;
mod daemon;
mod endpoint;
mod error;
mod exit_status;
mod explore;
mod format;
mod handover;
mod help;
mod htpasswd;
mod image_files;
mod input_stream;
mod invocation;
mod listening;
mod logging;
mod manifest_lists;
mod output_file;
mod parse;
mod printer;
mod progress;
mod reference;
mod registry;
mod rest;
mod roles;
mod service;
mod session;
mod settings;
mod shuttle;
mod spec;
mod template;
mod terminal;
mod values;
mod vault;

use std::env;

use tracing_subscriber::filter::LevelFilter;

use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::invocation::Invocation;
use crate::printer::Printer;
use crate::session::Session;
use crate::settings::Settings;

fn main() {
    // The shim is told by its first word, before any thread, runtime or allocation of the client exists.
    let mut words = env::args_os();
    let _program = words.next();
    if words.next().is_some_and(|word| word == "shim") {
        havre_runtime::shim::main(words);
    }
    let status = client().unwrap_or_else(|error| {
        let text = error.to_string();
        if !text.is_empty() {
            Printer.warn(&text);
        }
        error.status()
    });
    // Not a return: a thread may be reading the terminal, and nothing ends such a read.
    std::process::exit(i32::from(status.0));
}

fn client() -> Result<ExitStatus, CliError> {
    let argv: Vec<String> = env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    if let Some((called, words)) = argv.split_first()
        && called.rsplit('/').next() == Some(credential_helper::NAME)
    {
        return Ok(credential_helper::run(words));
    }
    if let Some((called, words)) = argv.split_first()
        && called.rsplit('/').next() == Some(htpasswd::NAME)
    {
        return htpasswd::run(words);
    }
    let Invocation {
        program,
        globals,
        words,
    } = Invocation::read(argv)?;
    if globals.version {
        Printer.line(&commands::version::one_line(&program));
        return Ok(ExitStatus::SUCCESS);
    }
    if globals.help {
        Printer.out(&catalogue::top_help(&program));
        return Ok(ExitStatus::SUCCESS);
    }
    if words.first().is_some_and(|word| word == "daemon") {
        return daemon::run(&format!("{program} daemon"), &words[1..]);
    }
    if words.first().is_some_and(|word| word == "registry") {
        return registry::run(&program, &words[1..]);
    }
    if globals.debug {
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::DEBUG)
            .with_writer(std::io::stderr)
            .init();
    }
    if words.first().is_some_and(|word| word == "__reference") {
        Printer.out(&reference::markdown());
        return Ok(ExitStatus::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if let Some((first, rest)) = words.split_first()
        && matches!(first.as_str(), "__complete" | "__completeNoDesc")
    {
        runtime.block_on(completion::complete(&program, rest, first == "__complete"));
        return Ok(ExitStatus::SUCCESS);
    }
    let session = Session::new(program, Settings::resolve(&globals)?);
    runtime.block_on(catalogue::dispatch(&session, &words))
}
