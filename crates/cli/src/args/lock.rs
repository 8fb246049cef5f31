//! `havre lock`: what may be typed.

use clap::Args;

use super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Lock {
    #[arg(long, help = "Change nothing: fail if an image is not pinned")]
    pub(crate) check: bool,
    #[arg(long, help = "Take the digests out again")]
    pub(crate) unlock: bool,
    #[arg(
        long,
        help = "Pin to what the tags stand for now, also where there is a digest already"
    )]
    pub(crate) update: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Lock {
    const SHAPE: Shape = Shape {
        operands: Operands::Any,
        usage: "[OPTIONS] [FILE...]",
        about: "Pin the images of Dockerfiles and Compose files to digests\n\nWithout FILE: the Dockerfile and the Compose files of this directory. Tags stay beside the digests, so that --update and --unlock know them.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
