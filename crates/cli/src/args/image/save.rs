//! `docker image save`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Save {
    #[arg(
        short = 'o',
        long,
        value_name = "string",
        help = "Write to a file, instead of STDOUT"
    )]
    pub(crate) output: Option<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Save {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
        aliases: &["image save", "save"],
        interspersed: true,
        refused: &["platform"],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
