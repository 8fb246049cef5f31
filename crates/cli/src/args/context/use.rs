//! `docker context use`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Use {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Use {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "CONTEXT",
        about: "Set the current docker context",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
