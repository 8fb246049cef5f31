//! `docker container rm`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::args::plan::PlanFlags;

#[derive(Args, Debug)]
pub(crate) struct Rm {
    #[arg(
        long,
        value_name = "filter",
        help = "Remove the containers that these filters mean, as of 'ps'; running ones only with --force"
    )]
    pub(crate) filter: Vec<String>,
    #[arg(
        short = 'f',
        long,
        help = "Force the removal of a running container (uses SIGKILL)"
    )]
    pub(crate) force: bool,
    #[arg(short = 'l', long, help = "Remove the specified link")]
    pub(crate) link: bool,
    #[arg(
        short = 'v',
        long,
        help = "Remove anonymous volumes associated with the container"
    )]
    pub(crate) volumes: bool,
    #[command(flatten)]
    pub(crate) plan: PlanFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Rm {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeastUnless(1, "filter"),
        usage: "[OPTIONS] CONTAINER [CONTAINER...]",
        about: "Remove one or more containers",
        aliases: &["container rm", "container remove", "rm"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
