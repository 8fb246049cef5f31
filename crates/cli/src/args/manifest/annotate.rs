//! `docker manifest annotate`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Annotate {
    #[arg(long, value_name = "string", help = "Set architecture")]
    pub(crate) arch: Option<String>,
    #[arg(long, value_name = "string", help = "Set operating system")]
    pub(crate) os: Option<String>,
    #[arg(
        long,
        value_name = "strings",
        value_delimiter = ',',
        help = "Set operating system feature"
    )]
    pub(crate) os_features: Vec<String>,
    #[arg(long, value_name = "string", help = "Set operating system version")]
    pub(crate) os_version: Option<String>,
    #[arg(long, value_name = "string", help = "Set architecture variant")]
    pub(crate) variant: Option<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Annotate {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(2),
        usage: "[OPTIONS] MANIFEST_LIST MANIFEST",
        about: "Add additional information to a local image manifest",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
