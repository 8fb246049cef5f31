//! `docker container update`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::args::limits::LimitFlags;

#[derive(Args, Debug)]
pub(crate) struct Update {
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    #[arg(
        long,
        value_name = "string",
        help = "Restart policy to apply when a container exits"
    )]
    pub(crate) restart: Option<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Update {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Update configuration of one or more containers",
        aliases: &["container update", "update"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
