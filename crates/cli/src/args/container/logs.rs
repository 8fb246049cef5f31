//! `docker container logs`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Logs {
    #[arg(long, help = "Show extra details provided to logs")]
    pub(crate) details: bool,
    #[arg(short = 'f', long, help = "Follow log output")]
    pub(crate) follow: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"
    )]
    pub(crate) since: Option<String>,
    #[arg(
        short = 'n',
        long,
        value_name = "string",
        help = "Number of lines to show from the end of the logs (default \"all\")"
    )]
    pub(crate) tail: Option<String>,
    #[arg(short = 't', long, help = "Show timestamps")]
    pub(crate) timestamps: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)"
    )]
    pub(crate) until: Option<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Logs {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] CONTAINER",
        about: "Fetch the logs of a container",
        aliases: &["container logs", "logs"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
