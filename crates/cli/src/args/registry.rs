//! `havre registry`: what may be typed.

pub(crate) mod account;
pub(crate) mod check;
pub(crate) mod gc;
pub(crate) mod webhook;

use clap::Args;

use super::{Declaration, Operands, Shape};

/// Which registry is meant.
#[derive(Args, Debug)]
pub(crate) struct Place {
    #[arg(
        long,
        value_name = "string",
        help = "Directory of what the registry holds, also one of Docker's registry (default \"registry\")"
    )]
    pub(crate) root: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Configuration file of Docker's registry, over which its REGISTRY_* variables go"
    )]
    pub(crate) config: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Logging level (\"error\", \"warn\", \"info\", \"debug\", \"trace\") (default \"info\")"
    )]
    pub(crate) log_level: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Registry {
    #[arg(
        long,
        value_name = "string",
        help = "ADDRESS:PORT to listen on (default \"127.0.0.1:5000\")"
    )]
    pub(crate) listen: Option<String>,
    #[arg(
        long,
        help = "Let people have accounts: each pushes and pulls what is theirs, everybody pulls what is public"
    )]
    pub(crate) accounts: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Registry {
    const SHAPE: Shape = Shape {
        operands: Operands::AtMost(1),
        usage: "[OPTIONS] [CONFIG]",
        about: "Serve a registry of images\n\n'{program} registry gc' removes what no image needs, '{program} registry check' reads everything and mends what is\ndamaged, '{program} registry account' makes accounts. Another word is a configuration file, as with --config.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
