//! `docker container restart`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Restart {
    #[arg(
        short = 's',
        long,
        value_name = "string",
        help = "Signal to send to the container"
    )]
    pub(crate) signal: Option<String>,
    #[arg(
        short = 't',
        long,
        value_name = "int",
        help = "Seconds to wait before killing the container"
    )]
    pub(crate) timeout: Option<i64>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Restart {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Restart one or more containers",
        aliases: &["container restart", "restart"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
