//! `docker image load`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Load {
    #[arg(
        short = 'i',
        long,
        value_name = "string",
        help = "Read from tar archive file, instead of STDIN"
    )]
    pub(crate) input: Option<String>,
    #[arg(
        long,
        value_name = "strings",
        value_delimiter = ',',
        help = "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"
    )]
    pub(crate) platform: Vec<String>,
    #[arg(short = 'q', long, help = "Suppress the load output")]
    pub(crate) quiet: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Load {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "Load an image from a tar archive or STDIN",
        aliases: &["image load", "load"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
