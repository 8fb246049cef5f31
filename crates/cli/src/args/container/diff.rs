//! `docker container diff`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Diff {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Diff {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "CONTAINER",
        about: "Inspect changes to files or directories on a container's filesystem",
        aliases: &["container diff", "diff"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
