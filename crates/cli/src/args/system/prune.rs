//! `docker system prune`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::args::plan::{KeepFlag, PruneFlags};

#[derive(Args, Debug)]
pub(crate) struct Prune {
    #[arg(short = 'a', long, help = "Remove all unused images not just dangling ones")]
    pub(crate) all: bool,
    #[arg(
        long,
        value_name = "filter",
        help = "Provide filter values (e.g. \"label=<key>=<value>\")"
    )]
    pub(crate) filter: Vec<String>,
    #[arg(long, help = "Prune anonymous volumes")]
    pub(crate) volumes: bool,
    #[command(flatten)]
    pub(crate) keep: KeepFlag,
    #[command(flatten)]
    pub(crate) removal: PruneFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Prune {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "Remove unused data",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
