//! `havre daemon`: what may be typed.

use clap::Args;

use super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Daemon {
    #[arg(
        long,
        value_name = "string",
        help = "Directory of images, containers and volumes (default \"/var/lib/havre\")"
    )]
    pub(crate) root: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Unix socket to listen on (default \"/run/havre/havre.sock\"; with --root: \"ROOT/havre.sock\")"
    )]
    pub(crate) socket: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Directory of sockets and process state (default \"/run/havre\"; with --root: \"ROOT/run\")"
    )]
    pub(crate) state: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Configuration file in TOML, or Docker's daemon.json"
    )]
    pub(crate) config: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Logging level (\"error\", \"warn\", \"info\", \"debug\", \"trace\") (default \"info\")"
    )]
    pub(crate) log_level: Option<String>,
    #[arg(
        long,
        value_name = "list",
        help = "Listen on an address as well: tcp://host:port. Whoever reaches it is root on this machine"
    )]
    pub(crate) listen: Vec<String>,
    #[arg(long, hide = true)]
    pub(crate) notify: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Daemon {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "Serve the engine",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
