//! `havre image squash`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Squash {
    #[arg(
        long,
        value_name = "string",
        help = "Keep what is below: the number of a layer (0 is the lowest), or the image that this one begins with"
    )]
    pub(crate) from: Option<String>,
    #[arg(short = 'q', long, help = "Show the image ID alone")]
    pub(crate) quiet: bool,
    #[arg(
        short = 't',
        long,
        value_name = "list",
        help = "Name and optionally a tag in the \"name:tag\" format"
    )]
    pub(crate) tag: Vec<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Squash {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] IMAGE",
        about: "Make one layer of an image's layers, without what they delete and overwrite\n\nThe image stays as it is: what is made is a new one, with the same files and settings, under the names of --tag.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
