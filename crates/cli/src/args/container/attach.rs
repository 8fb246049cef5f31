//! `docker container attach`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Attach {
    #[arg(
        long,
        value_name = "string",
        help = "Override the key sequence for detaching a container"
    )]
    pub(crate) detach_keys: Option<String>,
    #[arg(long, help = "Do not attach STDIN")]
    pub(crate) no_stdin: bool,
    #[arg(
        long,
        default_value_t = true,
        help = "Proxy all received signals to the process (default true)"
    )]
    pub(crate) sig_proxy: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Attach {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] CONTAINER",
        about: "Attach local standard input, output, and error streams to a running container",
        aliases: &["container attach", "attach"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
