//! `docker image save`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Save {
    #[arg(
        long,
        value_name = "format",
        help = "Compress the archive as a whole: gzip or zstd"
    )]
    pub(crate) compress: Option<String>,
    #[arg(
        long,
        value_name = "image",
        help = "Leave out the layers of this image, which must be there where the archive is loaded"
    )]
    pub(crate) since: Vec<String>,
    #[arg(
        long,
        value_name = "filter",
        help = "Save the images that these filters mean, as of 'images'"
    )]
    pub(crate) filter: Vec<String>,
    #[arg(
        short = 'o',
        long,
        value_name = "string",
        help = "Write to a file, instead of STDOUT"
    )]
    pub(crate) output: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"
    )]
    pub(crate) platform: Option<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Save {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeastUnless(1, "filter"),
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
        aliases: &["image save", "save"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
