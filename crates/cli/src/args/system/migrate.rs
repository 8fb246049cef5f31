//! `havre system migrate`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Migrate {
    #[arg(long, help = "Show what would be converted and change nothing")]
    pub(crate) dry_run: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Format the layers using a custom template:\n'table':            Print them in table format with column headers (default)\n'table TEMPLATE':   Print them in table format using the given Go template\n'json':             Print a line of JSON for each\n'TEMPLATE':         Print them using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
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
        value_name = "string",
        help = "Form to convert to, as \"layers\" in the configuration: auto, file, file-buffered, loop, loop-4k or directories (default: the form of new layers)"
    )]
    pub(crate) to: Option<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Migrate {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "Convert layers to the form new layers have, or another",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
