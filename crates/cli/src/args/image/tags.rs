//! `docker image tags`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Tags {
    #[arg(short = 'a', long, help = "Show all tags (default: the first 50)")]
    pub(crate) all: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Format output using a custom template: \"table\", \"table TEMPLATE\", \"json\", or a Go template"
    )]
    pub(crate) format: Option<String>,
    #[arg(long, help = "Allow communication with an insecure registry")]
    pub(crate) insecure: bool,
    #[arg(
        long,
        value_name = "pattern",
        help = "Show only tags that match, like \"1.*-alpine\""
    )]
    pub(crate) filter: Vec<String>,
    #[arg(short = 'n', long, value_name = "int", help = "Show so many tags")]
    pub(crate) limit: Option<i64>,
    #[arg(long, help = "Do not truncate output")]
    pub(crate) no_trunc: bool,
    #[arg(short = 'q', long, help = "Only show the tags: one request in all")]
    pub(crate) quiet: bool,
    #[arg(long, value_name = "int", help = "Pass over so many tags")]
    pub(crate) skip: Option<i64>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Tags {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] REPOSITORY",
        about: "List the tags of a repository in its registry, the newest version first",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
