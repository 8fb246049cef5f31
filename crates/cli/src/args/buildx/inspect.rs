//! `docker buildx inspect`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use super::BuilderFlag;
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) builder: BuilderFlag,
    #[arg(long, help = "Ensure builder has booted before inspecting")]
    pub(crate) bootstrap: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Inspect {
    const SHAPE: Shape = Shape {
        operands: Operands::AtMost(1),
        usage: "[NAME]",
        about: "Inspect current builder instance",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
