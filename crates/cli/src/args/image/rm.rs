//! `docker image rm`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::args::plan::{KeepFlag, PlanFlags};

#[derive(Args, Debug)]
pub(crate) struct Rm {
    #[arg(
        long,
        value_name = "filter",
        help = "Remove the images that these filters mean, as of 'images'; without those that containers use"
    )]
    pub(crate) filter: Vec<String>,
    #[arg(short = 'f', long, help = "Force removal of the image")]
    pub(crate) force: bool,
    #[arg(long, help = "Do not delete untagged parents")]
    pub(crate) no_prune: bool,
    #[arg(
        long,
        value_name = "strings",
        value_delimiter = ',',
        help = "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"
    )]
    pub(crate) platform: Vec<String>,
    #[command(flatten)]
    pub(crate) keep: KeepFlag,
    #[command(flatten)]
    pub(crate) plan: PlanFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Rm {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeastUnless(1, "filter"),
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Remove one or more images",
        aliases: &["image rm", "image remove", "rmi"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
