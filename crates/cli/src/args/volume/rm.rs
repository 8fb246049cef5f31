//! `docker volume rm`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Rm {
    #[arg(long, help = "Show what would be removed and change nothing")]
    pub(crate) dry_run: bool,
    #[arg(short = 'f', long, help = "Force the removal of one or more volumes")]
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
        usage: "[OPTIONS] VOLUME [VOLUME...]",
        about: "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
        aliases: &["volume rm", "volume remove"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
