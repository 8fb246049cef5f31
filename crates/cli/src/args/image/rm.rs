//! `docker image rm`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::args::plan::{KeepFlag, PlanFlags};

#[derive(Args, Debug)]
pub(crate) struct Rm {
    #[arg(short = 'f', long, help = "Force removal of the image")]
    pub(crate) force: bool,
    #[arg(long, help = "Do not delete untagged parents")]
    pub(crate) no_prune: bool,
    #[command(flatten)]
    pub(crate) keep: KeepFlag,
    #[command(flatten)]
    pub(crate) plan: PlanFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Rm {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Remove one or more images",
        aliases: &["image rm", "image remove", "rmi"],
        interspersed: true,
        refused: &["platform"],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
