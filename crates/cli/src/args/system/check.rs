//! `havre system check`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Check {
    #[arg(short = 'f', long, help = "Do not prompt for confirmation")]
    pub(crate) force: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Format the problems using a custom template:\n'table':            Print them in table format with column headers (default)\n'table TEMPLATE':   Print them in table format using the given Go template\n'json':             Print a line of JSON for each\n'TEMPLATE':         Print them using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
    )]
    pub(crate) format: Option<String>,
    #[arg(
        short = 'q',
        long,
        help = "Suppress the progress output and print digests only"
    )]
    pub(crate) quiet: bool,
    #[arg(
        long,
        help = "Fetch what is damaged again from where it came, or make it of what is kept here"
    )]
    pub(crate) repair: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Check {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "Compare all layers, manifests and configurations with their digests",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
