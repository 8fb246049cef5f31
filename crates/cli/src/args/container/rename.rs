//! `docker container rename`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Rename {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Rename {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(2),
        usage: "CONTAINER NEW_NAME",
        about: "Rename a container",
        aliases: &["container rename", "rename"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
