//! `havre image log`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Log {
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
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Log {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] NAME[:TAG]",
        about: "Show what a tag stood for before\n\
                \n\
                Every change of a tag is a line, newest first, up to fifty: pull, tag, build, load,\n\
                import, commit, rmi, prune, undo and restore make them. NAME[:TAG]@{1} is what the tag\n\
                stood for before the last of them. It can be used wherever an image that is here is\n\
                named, as can NAME[:TAG]@{2h}, @{yesterday}, @{30d} and @{2026-11-20}, the beginning of\n\
                that day (UTC). The history keeps no image: one that was removed is gone, unless 'undo'\n\
                could bring it back.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
