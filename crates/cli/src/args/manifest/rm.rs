//! `docker manifest rm`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Rm {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Rm {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "MANIFEST_LIST [MANIFEST_LIST...]",
        about: "Delete one or more manifest lists from local storage",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
