//! `docker buildx du`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use super::BuilderFlag;
#[derive(Args, Debug)]
pub(crate) struct Du {
    #[command(flatten)]
    pub(crate) builder: BuilderFlag,
    #[arg(long, value_name = "string", help = "Format the output")]
    pub(crate) format: Option<String>,
    #[arg(long, help = "Provide a more verbose output")]
    pub(crate) verbose: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Du {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "Disk usage",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
