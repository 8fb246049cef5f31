//! `docker network prune`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::args::plan::PruneFlags;

#[derive(Args, Debug)]
pub(crate) struct Prune {
    #[arg(
        long,
        value_name = "filter",
        help = "Provide filter values (e.g. \"until=<timestamp>\")"
    )]
    pub(crate) filter: Vec<String>,
    #[command(flatten)]
    pub(crate) removal: PruneFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Prune {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "Remove all unused networks",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
