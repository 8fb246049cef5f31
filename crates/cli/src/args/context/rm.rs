//! `docker context rm`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Rm {
    #[arg(short = 'f', long, help = "Force the removal of a context in use")]
    pub(crate) force: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Rm {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "CONTEXT [CONTEXT...]",
        about: "Remove one or more contexts",
        aliases: &["context rm", "context remove"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
