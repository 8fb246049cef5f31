//! `havre registry`: what may be typed.

use clap::Args;

use super::{Declaration, Operands, Shape};

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
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Registry {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "Serve a registry of images",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
