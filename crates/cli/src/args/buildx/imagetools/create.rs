//! `docker buildx imagetools create`: what may be typed.

use clap::Args;

use super::super::super::{Declaration, Operands, Shape};
use super::super::BuilderFlag;

#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) builder: BuilderFlag,
    #[arg(
        long,
        value_name = "stringArray",
        help = "Add annotation to the image (\"[index:]KEY=VALUE\")"
    )]
    pub(crate) annotation: Vec<String>,
    #[arg(long, help = "Append to existing manifest")]
    pub(crate) append: bool,
    #[arg(long, help = "Show final image instead of pushing")]
    pub(crate) dry_run: bool,
    #[arg(
        short = 'f',
        long,
        value_name = "stringArray",
        help = "Read source descriptor from file"
    )]
    pub(crate) file: Vec<String>,
    #[arg(
        long,
        default_value_t = true,
        help = "Prefer outputting an index over a plain copy when only a single image is the source (default true)"
    )]
    pub(crate) prefer_index: bool,
    #[arg(
        short = 't',
        long,
        value_name = "stringArray",
        help = "Set reference for new image"
    )]
    pub(crate) tag: Vec<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Create {
    const SHAPE: Shape = Shape {
        operands: Operands::Any,
        usage: "[OPTIONS] [SOURCE...]",
        about: "Create a new image based on source images",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
