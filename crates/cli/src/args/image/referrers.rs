//! `docker image referrers`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Referrers {
    #[arg(
        long,
        value_name = "string",
        help = "Format output using a custom template: \"table\", \"table TEMPLATE\", \"json\", or a Go template"
    )]
    pub(crate) format: Option<String>,
    #[arg(long, help = "Allow communication with an insecure registry")]
    pub(crate) insecure: bool,
    #[arg(long, help = "Do not truncate output")]
    pub(crate) no_trunc: bool,
    #[arg(short = 'q', long, help = "Only show digests")]
    pub(crate) quiet: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Referrers {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
        about: "List what refers to an image in its registry: signatures, SBOMs and the like",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
