//! `docker container top`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Top {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Top {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "CONTAINER [ps OPTIONS]",
        about: "Display the running processes of a container",
        aliases: &["container top", "top"],
        interspersed: false,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
