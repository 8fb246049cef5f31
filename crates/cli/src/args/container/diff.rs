//! `docker container diff`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::args::image::diff::DiffFlags;

#[derive(Args, Debug)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) images: DiffFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Diff {
    const SHAPE: Shape = Shape {
        operands: Operands::Between(1, 2),
        usage: "CONTAINER\n\t{path} [OPTIONS] IMAGE IMAGE",
        about: "Inspect changes to files or directories on a container's filesystem\n\nTwo images are compared with each other: see 'image diff'.",
        aliases: &["container diff", "diff"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
