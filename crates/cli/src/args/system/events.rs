//! `docker system events`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Events {
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
        help = "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
    )]
    pub(crate) format: Option<String>,
    #[arg(long, value_name = "string", help = "Show all events created since timestamp")]
    pub(crate) since: Option<String>,
    #[arg(long, value_name = "string", help = "Stream events until this timestamp")]
    pub(crate) until: Option<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Events {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "Get real time events from the server",
        aliases: &["system events", "events"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
