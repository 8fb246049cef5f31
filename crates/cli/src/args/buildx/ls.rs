//! `docker buildx ls`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Ls {
    #[arg(long, value_name = "string", help = "Format the output")]
    pub(crate) format: Option<String>,
    #[arg(long, help = "Don't truncate output")]
    pub(crate) no_trunc: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Ls {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "List builder instances",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
