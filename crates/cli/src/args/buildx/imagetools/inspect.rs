//! `docker buildx imagetools inspect`: what may be typed.

use clap::Args;

use super::super::super::{Declaration, Operands, Shape};
use super::super::BuilderFlag;

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) builder: BuilderFlag,
    #[arg(
        long,
        value_name = "string",
        help = "Format the output using the given Go template"
    )]
    pub(crate) format: Option<String>,
    #[arg(long, help = "Show original, unformatted JSON manifest")]
    pub(crate) raw: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Inspect {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] NAME",
        about: "Show details of an image in the registry",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
