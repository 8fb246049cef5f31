//! `docker image pull`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::args::trust::TrustFlags;

#[derive(Args, Debug)]
pub(crate) struct Pull {
    #[arg(short = 'a', long, help = "Download all tagged images in the repository")]
    pub(crate) all_tags: bool,
    #[arg(long, help = "Show what would be downloaded, and download nothing")]
    pub(crate) dry_run: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Set platform if server is multi-platform capable"
    )]
    pub(crate) platform: Option<String>,
    #[arg(short = 'q', long, help = "Suppress verbose output")]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) trust: TrustFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Pull {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
        about: "Download an image from a registry",
        aliases: &["image pull", "pull"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
