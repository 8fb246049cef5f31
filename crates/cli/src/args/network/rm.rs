//! `docker network rm`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Rm {
    #[arg(long, help = "Show what would be removed and change nothing")]
    pub(crate) dry_run: bool,
    #[arg(short = 'f', long, help = "Do not error if the network does not exist")]
    pub(crate) force: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Format the plan of --dry-run: 'table', 'json', or a Go template for each object"
    )]
    pub(crate) format: Option<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Rm {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "NETWORK [NETWORK...]",
        about: "Remove one or more networks",
        aliases: &["network rm", "network remove"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
