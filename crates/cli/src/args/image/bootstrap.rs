//! `docker image bootstrap`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Bootstrap {
    #[arg(
        short = 't',
        long,
        value_name = "string",
        help = "Name and optionally a tag in the \"name:tag\" format"
    )]
    pub(crate) tag: Option<String>,
    #[arg(long, value_name = "string", help = "Package mirror to install from")]
    pub(crate) mirror: Option<String>,
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::values::parse_bool, help = "Add the certificate authorities of this machine to the image (default: when it has some of its own)")]
    pub(crate) with_host_ca: Option<bool>,
    #[arg(
        short = 'q',
        long,
        help = "Suppress the progress output and print the image ID"
    )]
    pub(crate) quiet: bool,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Bootstrap {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] NAME[:SUITE]",
        about: "Make a base image from a distribution's packages, without a registry",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
