//! `docker system dial-stdio`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct DialStdio {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for DialStdio {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "",
        about: "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
