//! `docker buildx version`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Version {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Version {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "",
        about: "Show buildx version information",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
