//! `docker image inspect`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use super::remote::RegistryFlags;

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    #[arg(
        short = 'f',
        long,
        value_name = "string",
        help = "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
    )]
    pub(crate) format: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Inspect a specific platform of the multi-platform image. If the image or the server is not multi-platform capable, the command will error out if the platform does not match. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"
    )]
    pub(crate) platform: Option<String>,
    #[command(flatten)]
    pub(crate) registry: RegistryFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Inspect {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] IMAGE [IMAGE...]",
        about: "Display detailed information on one or more images\n\nWith --remote, or as registry://IMAGE, of images in their registries, which are not pulled; the size is that of a download then.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
