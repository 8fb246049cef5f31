//! `docker context update`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::values::Pairs;

#[derive(Args, Debug)]
pub(crate) struct Update {
    #[arg(long, value_name = "string", help = "Description of the context")]
    pub(crate) description: Option<String>,
    #[arg(
        long,
        value_name = "stringToString",
        help = "set the docker endpoint (default [])"
    )]
    pub(crate) docker: Vec<Pairs>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Update {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] CONTEXT",
        about: "Update a context\n\nDocker endpoint config:\n\nNAME                DESCRIPTION\nfrom                Copy named context's Docker endpoint configuration\nhost                Docker endpoint on which to connect\nca                  Trust certs signed only by this CA\ncert                Path to TLS certificate file\nkey                 Path to TLS key file\nskip-tls-verify     Skip TLS certificate validation\n\nExample:\n\n$ docker context update my-context --description \"some description\" --docker \"host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file\"",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
