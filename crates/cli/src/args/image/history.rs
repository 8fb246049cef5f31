//! `docker image history`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use super::remote::RegistryFlags;

#[derive(Args, Debug)]
pub(crate) struct History {
    #[arg(
        long,
        value_name = "string",
        help = "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
    )]
    pub(crate) format: Option<String>,
    #[arg(
        short = 'H',
        long,
        default_value_t = true,
        help = "Print sizes and dates in human readable format (default true)"
    )]
    pub(crate) human: bool,
    #[arg(long, help = "Don't truncate output")]
    pub(crate) no_trunc: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"
    )]
    pub(crate) platform: Option<String>,
    #[arg(short = 'q', long, help = "Only show image IDs")]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for History {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] IMAGE",
        about: "Show the history of an image\n\nWith --remote, or as registry://IMAGE, of an image in its registry, which is not pulled; sizes are those of a download then.",
        aliases: &["image history", "history"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
