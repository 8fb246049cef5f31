//! `docker image push`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::args::trust::TrustFlags;

#[derive(Args, Debug)]
pub(crate) struct Push {
    #[arg(short = 'a', long, help = "Push all tags of an image to the repository")]
    pub(crate) all_tags: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Push a platform-specific manifest as a single-platform image to the registry. Image index won't be pushed, meaning that other manifests, including attestations won't be preserved. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"
    )]
    pub(crate) platform: Option<String>,
    #[arg(short = 'q', long, help = "Suppress verbose output")]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) trust: TrustFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Push {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] NAME[:TAG]",
        about: "Upload an image to a registry",
        aliases: &["image push", "push"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
