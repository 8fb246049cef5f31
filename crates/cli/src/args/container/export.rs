//! `docker container export`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Export {
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

impl Declaration for Export {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] CONTAINER",
        about: "Export a container's filesystem as a tar archive",
        aliases: &["container export", "export"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
