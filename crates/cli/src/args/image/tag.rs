//! `docker image tag`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Tag {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Tag {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(2),
        usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        aliases: &["image tag", "tag"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
