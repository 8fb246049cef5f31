//! `docker volume rm`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::args::plan::PlanFlags;

#[derive(Args, Debug)]
pub(crate) struct Rm {
    #[arg(short = 'f', long, help = "Force the removal of one or more volumes")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) plan: PlanFlags,
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
