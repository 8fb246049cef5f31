//! `docker container port`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Port {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Port {
    const SHAPE: Shape = Shape {
        operands: Operands::Between(1, 2),
        usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
        about: "List port mappings or a specific mapping for the container",
        aliases: &["container port", "port"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
