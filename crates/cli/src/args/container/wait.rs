//! `docker container wait`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Wait {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Wait {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "CONTAINER [CONTAINER...]",
        about: "Block until one or more containers stop, then print their exit codes",
        aliases: &["container wait", "wait"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
