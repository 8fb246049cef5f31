//! `docker container ls`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Ls {
    #[arg(short = 'a', long, help = "Show all containers (default shows just running)")]
    pub(crate) all: bool,
    #[arg(
        short = 'f',
        long,
        value_name = "filter",
        help = "Filter output based on conditions provided"
    )]
    pub(crate) filter: Vec<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
    )]
    pub(crate) format: Option<String>,
    #[arg(
        short = 'n',
        long,
        value_name = "int",
        help = "Show n last created containers (includes all states) (default -1)"
    )]
    pub(crate) last: Option<i64>,
    #[arg(
        short = 'l',
        long,
        help = "Show the latest created container (includes all states)"
    )]
    pub(crate) latest: bool,
    #[arg(long, help = "Don't truncate output")]
    pub(crate) no_trunc: bool,
    #[arg(short = 'q', long, help = "Only display container IDs")]
    pub(crate) quiet: bool,
    #[arg(short = 's', long, help = "Display total file sizes")]
    pub(crate) size: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Ls {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "List containers",
        aliases: &["container ls", "container list", "container ps", "ps"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
