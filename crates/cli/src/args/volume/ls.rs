//! `docker volume ls`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Ls {
    #[arg(
        short = 'f',
        long,
        value_name = "filter",
        help = "Provide filter values (e.g. \"dangling=true\")"
    )]
    pub(crate) filter: Vec<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
    )]
    pub(crate) format: Option<String>,
    #[arg(short = 'q', long, help = "Only display volume names")]
    pub(crate) quiet: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Ls {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "List volumes",
        aliases: &["volume ls", "volume list"],
        interspersed: true,
        refused: &["cluster"],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
