//! `docker context show`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Show {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Show {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "",
        about: "Print the name of the current context",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
