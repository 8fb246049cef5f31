//! `docker image retag`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Retag {
    #[arg(long, help = "Allow communication with an insecure registry")]
    pub(crate) insecure: bool,
    #[arg(short = 'q', long, help = "Suppress verbose output")]
    pub(crate) quiet: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Retag {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(2),
        usage: "[OPTIONS] NAME[:TAG|@DIGEST] TAG [TAG...]",
        about: "Give an image more tags in its registry, without pulling it",
        aliases: &["image retag", "retag"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
