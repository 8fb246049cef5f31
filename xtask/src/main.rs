//! Development tasks: crate graph, licences, benchmarks.
//!
//! `cargo run -p xtask -- crate-graph | licences | bench …`
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a development tool that talks to a terminal"
)]

mod bench;
mod crate_graph;
mod licences;
mod metadata;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let outcome = match args.next().as_deref() {
        Some("crate-graph") => crate_graph::check(),
        Some("licences") => licences::check(),
        Some("bench") => bench::run(args.collect()),
        _ => Err("usage: xtask crate-graph | licences | bench".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// What a task ends with when it fails: a sentence for the developer.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;
