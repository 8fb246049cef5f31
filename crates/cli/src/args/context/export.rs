//! `docker context export`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Export {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Export {
    const SHAPE: Shape = Shape {
        operands: Operands::Between(1, 2),
        usage: "[OPTIONS] CONTEXT [FILE|-]",
        about: "Export a context to a tar archive FILE or a tar stream on STDOUT.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
