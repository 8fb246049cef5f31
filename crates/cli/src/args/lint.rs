//! `havre lint`: what may be typed.

use clap::Args;

use super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Lint {
    #[arg(
        long,
        value_name = "string",
        help = "End with status 1 if there is a finding of this weight or more: \"info\", \"warning\", \"error\" or \"never\" (default \"error\")"
    )]
    pub(crate) fail_on: Option<String>,
    #[arg(
        short = 'f',
        long,
        value_name = "string",
        help = "Name of the Dockerfile, where PATH is the directory it is built from"
    )]
    pub(crate) file: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Format of the output: \"text\", \"json\" or \"sarif\" (default \"text\")"
    )]
    pub(crate) format: Option<String>,
    #[arg(long, value_name = "strings", help = "Rules to leave out")]
    pub(crate) ignore: Vec<String>,
    #[arg(
        short = 'o',
        long,
        value_name = "string",
        help = "Write to a file instead of standard output"
    )]
    pub(crate) output: Option<String>,
    #[arg(long, help = "Show all rules, and look at nothing")]
    pub(crate) rules: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Lint {
    const SHAPE: Shape = Shape {
        operands: Operands::Any,
        usage: "[OPTIONS] [PATH|IMAGE...]",
        about: "Advice on Dockerfiles and images: what is wrong, where, and what to write instead\n\nA PATH that exists is a Dockerfile, an archive of an image (as for 'explore'), or the directory that a Dockerfile is\nbuilt from; '-' is a Dockerfile on standard input, and everything else is an image of the engine. Without PATH: this\ndirectory. A Dockerfile may leave rules out by itself: '# check=skip=RULE,RULE;error=true' at its top.",
        aliases: &["lint", "image lint"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
