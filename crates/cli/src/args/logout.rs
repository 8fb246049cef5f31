//! `docker logout`: what may be typed.

use clap::Args;

use super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Logout {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Logout {
    const SHAPE: Shape = Shape {
        operands: Operands::AtMost(1),
        usage: "[SERVER]",
        about: "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
