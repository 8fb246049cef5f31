//! `docker container start`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Start {
    #[arg(short = 'a', long, help = "Attach STDOUT/STDERR and forward signals")]
    pub(crate) attach: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Override the key sequence for detaching a container"
    )]
    pub(crate) detach_keys: Option<String>,
    #[arg(short = 'i', long, help = "Attach container's STDIN")]
    pub(crate) interactive: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Start {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Start one or more stopped containers",
        aliases: &["container start", "start"],
        interspersed: true,
        refused: &["checkpoint", "checkpoint-dir"],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
