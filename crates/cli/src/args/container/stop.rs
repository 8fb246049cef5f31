//! `docker container stop`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Stop {
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

impl Declaration for Stop {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Stop one or more running containers",
        aliases: &["container stop", "stop"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
