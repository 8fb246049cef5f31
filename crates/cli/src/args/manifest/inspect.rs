//! `docker manifest inspect`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    #[arg(long, help = "Allow communication with an insecure registry")]
    pub(crate) insecure: bool,
    #[arg(
        short = 'v',
        long,
        help = "Output additional info including layers and platform"
    )]
    pub(crate) verbose: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Inspect {
    const SHAPE: Shape = Shape {
        operands: Operands::Between(1, 2),
        usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
        about: "Display an image manifest, or manifest list",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
