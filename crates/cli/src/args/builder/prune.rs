//! `docker builder prune`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::args::plan::PruneFlags;
use crate::values::Size;

#[derive(Args, Debug)]
pub(crate) struct Prune {
    #[arg(
        short = 'a',
        long,
        help = "Remove all unused build cache, not just dangling ones"
    )]
    pub(crate) all: bool,
    #[arg(
        long,
        value_name = "filter",
        help = "Provide filter values (e.g. \"until=24h\")"
    )]
    pub(crate) filter: Vec<String>,
    #[command(flatten)]
    pub(crate) removal: PruneFlags,
    #[arg(
        long = "keep-storage",
        value_name = "bytes",
        help = "Amount of disk space to keep for cache"
    )]
    pub(crate) keep_storage: Option<Size>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Prune {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "",
        about: "Remove build cache",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
