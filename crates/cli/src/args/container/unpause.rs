//! `docker container unpause`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Unpause {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Unpause {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "CONTAINER [CONTAINER...]",
        about: "Unpause all processes within one or more containers",
        aliases: &["container unpause", "unpause"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
