//! `docker search`: what may be typed.

use clap::Args;

use super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Search {
    #[arg(
        short = 'f',
        long,
        value_name = "filter",
        help = "Filter output based on conditions provided"
    )]
    pub(crate) filter: Vec<String>,
    #[arg(long, value_name = "string", help = "Pretty-print search using a Go template")]
    pub(crate) format: Option<String>,
    #[arg(long, value_name = "int", help = "Max number of search results")]
    pub(crate) limit: Option<i64>,
    #[arg(long, help = "Don't truncate output")]
    pub(crate) no_trunc: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Search {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] TERM",
        about: "Search Docker Hub for images",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
