//! `docker manifest create`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Create {
    #[arg(short = 'a', long, help = "Amend an existing manifest list")]
    pub(crate) amend: bool,
    #[arg(long, help = "Allow communication with an insecure registry")]
    pub(crate) insecure: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Create {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(2),
        usage: "MANIFEST_LIST MANIFEST [MANIFEST...]",
        about: "Create a local manifest list for annotating and pushing to a registry",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
