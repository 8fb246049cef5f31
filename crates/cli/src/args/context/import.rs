//! `docker context import`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Import {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Import {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(2),
        usage: "CONTEXT FILE|-",
        about: "Import a context from a tar or zip file",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
