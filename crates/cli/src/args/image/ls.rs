//! `docker image ls`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Ls {
    #[arg(
        short = 'a',
        long,
        help = "Show all images (default hides intermediate images)"
    )]
    pub(crate) all: bool,
    #[arg(long, help = "Show digests")]
    pub(crate) digests: bool,
    #[arg(
        short = 'f',
        long,
        value_name = "filter",
        help = "Filter output based on conditions provided"
    )]
    pub(crate) filter: Vec<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
    )]
    pub(crate) format: Option<String>,
    #[arg(long, help = "Don't truncate output")]
    pub(crate) no_trunc: bool,
    #[arg(short = 'q', long, help = "Only show image IDs")]
    pub(crate) quiet: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Sort by size (largest first), created (newest first), last-used (latest first) or name; ':asc' or ':desc' after it turns it round"
    )]
    pub(crate) sort: Option<String>,
    #[arg(long, help = "List multi-platform images as a tree")]
    pub(crate) tree: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Ls {
    const SHAPE: Shape = Shape {
        operands: Operands::AtMost(1),
        usage: "[OPTIONS] [REPOSITORY[:TAG]]",
        about: "List images\n\
                \n\
                'rmi', 'image prune' and 'save' take the same filters, all of which must hold:\n\
                \n\
                FILTER               IMAGES THAT\n\
                reference=GLOB       have a name that matches\n\
                label=KEY[=VALUE]    have the label (label!=: have it not)\n\
                platform=OS/ARCH     are for it\n\
                before=IMAGE         were made before it (since=: after it)\n\
                until=TIME           were made before a day (2026-11-20) or so long ago (30d, 2h)\n\
                last-used=TIME       were not pulled, built upon or in a container since then, nor are\n\
                \x20                    in one now; what was never used counts from when it came\n\
                size>BYTES           are larger, in units as shown (1.5GB) or of 1024 (1GiB);\n\
                \x20                    also with >=, < and <=\n\
                dangling=true        have no tag\n\
                unused=true          are in no container\n\
                keep=N               are not among the newest N of their repository, counting those\n\
                \x20                    that reference, label and platform mean",
        aliases: &["image ls", "image list", "images"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
