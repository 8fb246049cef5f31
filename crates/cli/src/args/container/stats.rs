//! `docker container stats`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Stats {
    #[arg(short = 'a', long, help = "Show all containers (default shows just running)")]
    pub(crate) all: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
    )]
    pub(crate) format: Option<String>,
    #[arg(long, help = "Disable streaming stats and only pull the first result")]
    pub(crate) no_stream: bool,
    #[arg(long, help = "Do not truncate output")]
    pub(crate) no_trunc: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Stats {
    const SHAPE: Shape = Shape {
        operands: Operands::Any,
        usage: "[OPTIONS] [CONTAINER...]",
        about: "Display a live stream of container(s) resource usage statistics",
        aliases: &["container stats", "stats"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
