//! `explore`: what may be typed.

use clap::Args;

use super::image::remote::RemoteFlags;
use super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Explore {
    #[arg(
        long,
        help = "Compare the image with thresholds, show the outcome, and end with status 1 if one is not kept (same as CI=true in the environment)"
    )]
    pub(crate) ci: bool,
    #[arg(
        long,
        value_name = "string",
        help = "File with the thresholds of --ci (default \".dive-ci\", if it is there)"
    )]
    pub(crate) ci_config: Option<String>,
    #[arg(
        long,
        alias = "highestUserWastedPercent",
        value_name = "string",
        help = "Most that may be wasted, as a share (from 0 to 1) of what the layers above the lowest store (default \"0.1\")"
    )]
    pub(crate) highest_user_wasted_percent: Option<String>,
    #[arg(
        long,
        alias = "highestWastedBytes",
        value_name = "string",
        help = "Most that may be wasted, as 20MB (default \"disabled\")"
    )]
    pub(crate) highest_wasted_bytes: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Write a page for a browser: one file, with a map of what fills the image"
    )]
    pub(crate) html: Option<String>,
    #[arg(
        short = 'j',
        long,
        value_name = "string",
        help = "Write layers, files and waste as JSON to a file, or '-'"
    )]
    pub(crate) json: Option<String>,
    #[arg(
        long,
        alias = "lowestEfficiency",
        value_name = "string",
        help = "Least efficiency, from 0 to 1 (default \"0.9\")"
    )]
    pub(crate) lowest_efficiency: Option<String>,
    #[command(flatten)]
    pub(crate) at: RemoteFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Explore {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] IMAGE|ARCHIVE",
        about: "Look into the layers of an image: files, changes, contents, waste\n\nAn archive is what 'save' writes or an OCI image layout, as a file or a directory: a path that begins with\n'/', './' or '../', the name of a tar file, or archive:PATH; archive:PATH:NAME if it holds several images.\n\nAn image that is not here can be looked into in its registry, with --remote or as registry://IMAGE: of layers with a table of\ncontents (eStargz, zstd:chunked) that is read, of uncompressed ones the headers, others are read whole and verified.",
        aliases: &["explore", "dive"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
