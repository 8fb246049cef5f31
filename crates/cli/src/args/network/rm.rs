//! `docker network rm`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::args::plan::PlanFlags;

#[derive(Args, Debug)]
pub(crate) struct Rm {
    #[arg(short = 'f', long, help = "Do not error if the network does not exist")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) plan: PlanFlags,
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
