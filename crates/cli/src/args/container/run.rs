//! `docker container run`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use super::container_flags::{ContainerFlags, REFUSED};

#[derive(Args, Debug)]
pub(crate) struct Run {
    #[arg(
        short = 'd',
        long,
        help = "Run container in background and print container ID"
    )]
    pub(crate) detach: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Override the key sequence for detaching a container"
    )]
    pub(crate) detach_keys: Option<String>,
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
        help = "Pull image before running (\"always\", \"missing\", \"never\") (default \"missing\")"
    )]
    pub(crate) pull: Option<String>,
    #[arg(short = 'q', long, help = "Suppress the pull output")]
    pub(crate) quiet: bool,
    #[arg(
        long,
        help = "Automatically remove the container and its associated anonymous volumes when it exits"
    )]
    pub(crate) rm: bool,
    #[arg(
        long,
        default_value_t = true,
        help = "Proxy received signals to the process (default true)"
    )]
    pub(crate) sig_proxy: bool,
    #[arg(long, help = "Print the stages of the command and their times")]
    pub(crate) timings: bool,
    #[command(flatten)]
    pub(crate) container: ContainerFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Run {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        about: "Create and run a new container from an image",
        aliases: &["container run", "run"],
        interspersed: false,
        refused: REFUSED,
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
