//! `docker buildx use`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Use {
    #[arg(long, help = "Set builder as default for current context")]
    pub(crate) default: bool,
    #[arg(long, help = "Builder persists context changes")]
    pub(crate) global: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Use {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] NAME",
        about: "Set the current builder instance",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
