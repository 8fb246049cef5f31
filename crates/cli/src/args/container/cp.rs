//! `docker container cp`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Cp {
    #[arg(short = 'a', long, help = "Archive mode (copy all uid/gid information)")]
    pub(crate) archive: bool,
    #[arg(short = 'L', long, help = "Always follow symbol link in SRC_PATH")]
    pub(crate) follow_link: bool,
    #[arg(
        short = 'q',
        long,
        help = "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached"
    )]
    pub(crate) quiet: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Cp {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(2),
        usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\t{path} [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
        about: "Copy files/folders between a container and the local filesystem\n\n\
                Use '-' as the source to read a tar archive from stdin\n\
                and extract it to a directory destination in a container.\n\
                Use '-' as the destination to stream a tar archive of a\n\
                container source to stdout.",
        aliases: &["container cp", "cp"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
