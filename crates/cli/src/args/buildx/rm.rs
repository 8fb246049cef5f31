//! `docker buildx rm`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use super::BuilderFlag;
#[derive(Args, Debug)]
pub(crate) struct Rm {
    #[command(flatten)]
    pub(crate) builder: BuilderFlag,
    #[arg(long, help = "Remove all inactive builders")]
    pub(crate) all_inactive: bool,
    #[arg(short = 'f', long, help = "Do not prompt for confirmation")]
    pub(crate) force: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Rm {
    const SHAPE: Shape = Shape {
        operands: Operands::Any,
        usage: "[OPTIONS] [NAME...]",
        about: "Remove one or more builder instances",
        aliases: &["buildx rm", "buildx remove"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
