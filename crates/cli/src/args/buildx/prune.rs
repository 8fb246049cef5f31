//! `docker buildx prune`: what may be typed.

use clap::Args;

use super::super::{Declaration, Shape, builder};
use super::BuilderFlag;

#[derive(Args, Debug)]
pub(crate) struct PruneCache {
    #[command(flatten)]
    pub(crate) builder: BuilderFlag,
    #[command(flatten)]
    pub(crate) prune: builder::prune::Prune,
}

impl Declaration for PruneCache {
    const SHAPE: Shape = builder::prune::Prune::SHAPE;

    fn operands(&self) -> &[String] {
        self.prune.operands()
    }
}
