//! `docker image import`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Import {
    #[arg(
        short = 'c',
        long,
        value_name = "list",
        help = "Apply Dockerfile instruction to the created image"
    )]
    pub(crate) change: Vec<String>,
    #[arg(
        short = 'm',
        long,
        value_name = "string",
        help = "Set commit message for imported image"
    )]
    pub(crate) message: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Set platform if server is multi-platform capable"
    )]
    pub(crate) platform: Option<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Import {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        about: "Import the contents from a tarball to create a filesystem image",
        aliases: &["image import", "import"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
