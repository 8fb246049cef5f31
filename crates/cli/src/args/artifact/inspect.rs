//! `artifact inspect`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    #[arg(
        short = 'f',
        long,
        value_name = "string",
        help = "Format output using a custom template: 'json', or a Go template"
    )]
    pub(crate) format: Option<String>,
    #[arg(long, help = "Allow communication with an insecure registry")]
    pub(crate) insecure: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Inspect {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] NAME[:TAG|@DIGEST] [NAME...]",
        about: "Show the manifests of artifacts in registries",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
