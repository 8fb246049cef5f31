//! `docker image copy`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Copy {
    #[arg(long, help = "Allow communication with an insecure registry")]
    pub(crate) insecure: bool,
    #[arg(
        long,
        help = "Leave out what refers to the image: signatures, SBOMs and the like"
    )]
    pub(crate) no_referrers: bool,
    #[arg(long, value_name = "string", help = "Copy the image of one platform only")]
    pub(crate) platform: Option<String>,
    #[arg(short = 'q', long, help = "Suppress verbose output")]
    pub(crate) quiet: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Copy {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(2),
        usage: "[OPTIONS] SOURCE TARGET",
        about: "Copy an image from registry to registry, with all its platforms and what refers to it\n\nNothing is pulled: what the target's registry has already, or can take from another of its repositories, is not sent.",
        aliases: &["image copy", "copy"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
