//! `image cat`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use super::remote::RemoteFlags;

#[derive(Args, Debug)]
pub(crate) struct Cat {
    #[arg(
        long,
        value_name = "int",
        help = "Print the file as this layer has it; layers count from 0, the lowest"
    )]
    pub(crate) layer: Option<i64>,
    #[command(flatten)]
    pub(crate) at: RemoteFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Cat {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] IMAGE PATH [PATH...] | IMAGE:/PATH [PATH...]",
        about: "Print files of an image without running it\n\nWith --remote, or as registry://IMAGE, the image is looked at in its registry and not pulled: layers the engine has are read\nthere; layers with a table of contents (eStargz, zstd:chunked) and uncompressed ones in parts; others from their beginning\nto what is asked for, the uppermost first. Verified by their digests are layers that are read to\ntheir end, tables of contents and what is found by them; what is read of other layers is what the registry sends, and in a\ncompressed layer what its archive has first under the path.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
