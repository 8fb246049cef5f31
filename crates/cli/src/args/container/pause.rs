//! `docker container pause`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Pause {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Pause {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "CONTAINER [CONTAINER...]",
        about: "Pause all processes within one or more containers",
        aliases: &["container pause", "pause"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
