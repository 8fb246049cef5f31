//! `docker container exec`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Exec {
    #[arg(short = 'd', long, help = "Detached mode: run command in the background")]
    pub(crate) detach: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Override the key sequence for detaching a container"
    )]
    pub(crate) detach_keys: Option<String>,
    #[arg(short = 'e', long, value_name = "list", help = "Set environment variables")]
    pub(crate) env: Vec<String>,
    #[arg(long, value_name = "list", help = "Read in a file of environment variables")]
    pub(crate) env_file: Vec<String>,
    #[arg(short = 'i', long, help = "Keep STDIN open even if not attached")]
    pub(crate) interactive: bool,
    #[arg(long, help = "Give extended privileges to the command")]
    pub(crate) privileged: bool,
    #[arg(short = 't', long, help = "Allocate a pseudo-TTY")]
    pub(crate) tty: bool,
    #[arg(
        short = 'u',
        long,
        value_name = "string",
        help = "Username or UID (format: \"<name|uid>[:<group|gid>]\")"
    )]
    pub(crate) user: Option<String>,
    #[arg(
        short = 'w',
        long,
        value_name = "string",
        help = "Working directory inside the container"
    )]
    pub(crate) workdir: Option<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Exec {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(2),
        usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
        about: "Execute a command in a running container",
        aliases: &["container exec", "exec"],
        interspersed: false,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
