//! `docker image outdated`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Outdated {
    #[arg(short = 'a', long, help = "Show those that are up to date as well")]
    pub(crate) all: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Format output using a custom template: \"table\", \"table TEMPLATE\", \"json\", or a Go template"
    )]
    pub(crate) format: Option<String>,
    #[arg(long, help = "Do not truncate output")]
    pub(crate) no_trunc: bool,
    #[arg(short = 'q', long, help = "Only show the names")]
    pub(crate) quiet: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Outdated {
    const SHAPE: Shape = Shape {
        operands: Operands::Any,
        usage: "[OPTIONS] [NAME...]",
        about: "List local images whose registries have newer ones under the same names",
        aliases: &["image outdated", "outdated"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
