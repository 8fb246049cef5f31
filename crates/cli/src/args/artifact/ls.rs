//! `artifact ls`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Ls {
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
    #[arg(short = 'q', long, help = "Only show the names of files")]
    pub(crate) quiet: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Ls {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
        about: "List the files of an artifact in a registry",
        aliases: &["artifact ls", "artifact list"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
