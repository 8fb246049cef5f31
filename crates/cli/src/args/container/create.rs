//! `docker container create`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use super::container_flags::{ContainerFlags, REFUSED};

#[derive(Args, Debug)]
pub(crate) struct Create {
    #[arg(long, value_name = "string", help = "Assign a name to the container")]
    pub(crate) name: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Set platform if server is multi-platform capable"
    )]
    pub(crate) platform: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Pull image before creating (\"always\", \"|missing\", \"never\") (default \"missing\")"
    )]
    pub(crate) pull: Option<String>,
    #[arg(short = 'q', long, help = "Suppress the pull output")]
    pub(crate) quiet: bool,
    #[arg(
        long,
        help = "Automatically remove the container and its associated anonymous volumes when it exits"
    )]
    pub(crate) rm: bool,
    #[command(flatten)]
    pub(crate) container: ContainerFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Create {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        about: "Create a new container",
        aliases: &["container create", "create"],
        interspersed: false,
        refused: REFUSED,
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
