//! `docker container commit`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Commit {
    #[arg(
        short = 'a',
        long,
        value_name = "string",
        help = "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")"
    )]
    pub(crate) author: Option<String>,
    #[arg(
        short = 'c',
        long,
        value_name = "list",
        help = "Apply Dockerfile instruction to the created image"
    )]
    pub(crate) change: Vec<String>,
    #[arg(short = 'm', long, value_name = "string", help = "Commit message")]
    pub(crate) message: Option<String>,
    #[arg(
        short = 'p',
        long,
        default_value_t = true,
        help = "Pause container during commit (default true)"
    )]
    pub(crate) pause: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Commit {
    const SHAPE: Shape = Shape {
        operands: Operands::Between(1, 2),
        usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        about: "Create a new image from a container's changes",
        aliases: &["container commit", "commit"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
