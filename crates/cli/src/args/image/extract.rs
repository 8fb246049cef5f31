//! `image extract`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use super::remote::RemoteFlags;

#[derive(Args, Debug)]
pub(crate) struct Extract {
    #[arg(short = 'a', long, help = "Archive mode (copy all uid/gid information)")]
    pub(crate) archive: bool,
    #[arg(
        long,
        value_name = "int",
        help = "Take what this layer alone has; layers count from 0, the lowest"
    )]
    pub(crate) layer: Option<i64>,
    #[arg(
        short = 'o',
        long,
        value_name = "string",
        default_value = ".",
        help = "Where to: a directory, a new name, or '-' for a tar archive on standard output"
    )]
    pub(crate) output: String,
    #[arg(short = 'q', long, help = "Do not say what was copied")]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) at: RemoteFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Extract {
    const SHAPE: Shape = Shape {
        operands: Operands::Between(1, 2),
        usage: "[OPTIONS] IMAGE PATH | IMAGE:/PATH",
        about: "Copy a file or directory out of an image without running it\n\nWith --remote, or as registry://IMAGE, the image is looked at in its registry and not pulled: layers the engine has are read\nthere; layers with a table of contents (eStargz, zstd:chunked) and uncompressed ones in parts; others from their beginning\nto what is asked for, the uppermost first. Verified by their digests are layers that are read to\ntheir end, tables of contents and what is found by them; what is read of other layers is what the registry sends, and in a\ncompressed layer what its archive has first under the path.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
