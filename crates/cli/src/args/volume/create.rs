//! `docker volume create`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Create {
    #[arg(
        short = 'd',
        long,
        value_name = "string",
        help = "Specify volume driver name (default \"local\")"
    )]
    pub(crate) driver: Option<String>,
    #[arg(long, value_name = "list", help = "Set metadata for a volume")]
    pub(crate) label: Vec<String>,
    #[arg(
        short = 'o',
        long,
        value_name = "map",
        help = "Set driver specific options (default map[])"
    )]
    pub(crate) opt: Vec<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Create {
    const SHAPE: Shape = Shape {
        operands: Operands::AtMost(1),
        usage: "[OPTIONS] [VOLUME]",
        about: "Create a volume",
        aliases: &[],
        interspersed: true,
        refused: &[
            "availability",
            "group",
            "limit-bytes",
            "required-bytes",
            "scope",
            "secret",
            "sharing",
            "topology-preferred",
            "topology-required",
            "type",
        ],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
