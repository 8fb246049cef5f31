//! `docker buildx create`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Create {
    #[arg(long, help = "Append a node to builder instead of changing it")]
    pub(crate) append: bool,
    #[arg(long, help = "Boot builder after creation")]
    pub(crate) bootstrap: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Driver to use: the engine builds (\"docker\" or \"docker-container\")"
    )]
    pub(crate) driver: Option<String>,
    #[arg(long, help = "Remove a node from builder instead of changing it")]
    pub(crate) leave: bool,
    #[arg(long, value_name = "string", help = "Builder instance name")]
    pub(crate) name: Option<String>,
    #[arg(long, value_name = "string", help = "Create/modify node with given name")]
    pub(crate) node: Option<String>,
    #[arg(
        long,
        value_name = "stringArray",
        value_delimiter = ',',
        help = "Fixed platforms for current node"
    )]
    pub(crate) platform: Vec<String>,
    #[arg(long = "use", help = "Set the current builder instance")]
    pub(crate) choose: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Create {
    const SHAPE: Shape = Shape {
        operands: Operands::AtMost(1),
        usage: "[OPTIONS] [CONTEXT|ENDPOINT]",
        about: "Create a new builder instance",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
