//! `image files`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use super::remote::RemoteFlags;

#[derive(Args, Debug)]
pub(crate) struct Files {
    #[arg(
        long,
        value_name = "string",
        help = "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template"
    )]
    pub(crate) format: Option<String>,
    #[arg(
        short = 'H',
        long,
        default_value_t = true,
        help = "Print sizes in human readable format (default true)"
    )]
    pub(crate) human: bool,
    #[arg(
        long,
        value_name = "int",
        help = "Show what this layer alone has and removes; layers count from 0, the lowest"
    )]
    pub(crate) layer: Option<i64>,
    #[arg(short = 'q', long, help = "Only show paths")]
    pub(crate) quiet: bool,
    #[arg(short = 'R', long, help = "List directories with all that is in them")]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) at: RemoteFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Files {
    const SHAPE: Shape = Shape {
        operands: Operands::Between(1, 2),
        usage: "[OPTIONS] IMAGE [PATH] | IMAGE:/PATH",
        about: "List the files of an image without running it\n\nWith --remote, or as registry://IMAGE, the image is looked at in its registry and not pulled: layers the engine has are read\nthere; layers with a table of contents (eStargz, zstd:chunked) and uncompressed ones in parts; others from their beginning\nto what is asked for, the uppermost first. Verified by their digests are layers that are read to\ntheir end, tables of contents and what is found by them; what is read of other layers is what the registry sends, and in a\ncompressed layer what its archive has first under the path.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
