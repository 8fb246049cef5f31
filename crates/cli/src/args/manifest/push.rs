//! `docker manifest push`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Push {
    #[arg(long, help = "Allow push to an insecure registry")]
    pub(crate) insecure: bool,
    #[arg(short = 'p', long, help = "Remove the local manifest list after push")]
    pub(crate) purge: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Push {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] MANIFEST_LIST",
        about: "Push a manifest list to a repository",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
