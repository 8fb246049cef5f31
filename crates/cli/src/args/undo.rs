//! `havre undo`: what may be typed.

use clap::Args;

use super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Undo {
    #[arg(short = 'f', long, help = "Do not prompt for confirmation (with --forget)")]
    pub(crate) force: bool,
    #[arg(
        long,
        help = "Give up what was removed, all of it or one removal, so that its space comes back"
    )]
    pub(crate) forget: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Format the list using a custom template:\n'table':            Print it in table format with column headers (default)\n'table TEMPLATE':   Print it in table format using the given Go template\n'json':             Print a line of JSON for each\n'TEMPLATE':         Print it using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
    )]
    pub(crate) format: Option<String>,
    #[arg(short = 'l', long, help = "List what can be brought back, newest first")]
    pub(crate) list: bool,
    #[arg(long, help = "Don't truncate the list")]
    pub(crate) no_trunc: bool,
    #[arg(short = 'q', long, help = "Only display IDs in the list")]
    pub(crate) quiet: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Undo {
    const SHAPE: Shape = Shape {
        operands: Operands::AtMost(1),
        usage: "[OPTIONS] [ID]",
        about: "Bring back containers, volumes, networks and images that were removed: the last, or those of a removal",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
