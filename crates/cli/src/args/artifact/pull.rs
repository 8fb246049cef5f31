//! `artifact pull`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Pull {
    #[arg(short = 'f', long, help = "Replace files that are there")]
    pub(crate) force: bool,
    #[arg(long, help = "Allow communication with an insecure registry")]
    pub(crate) insecure: bool,
    #[arg(
        short = 'o',
        long,
        value_name = "string",
        default_value = ".",
        help = "Directory to put the files into"
    )]
    pub(crate) output: String,
    #[arg(short = 'q', long, help = "Do not say what was written")]
    pub(crate) quiet: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Pull {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
        about: "Get the files of an artifact from a registry",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
