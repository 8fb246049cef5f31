//! `havre registry webhook`: what may be typed.

use clap::Args;

use super::Place;
use crate::args::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Webhook {
    #[arg(
        long,
        value_name = "list",
        value_delimiter = ',',
        help = "Tell of these alone: push, pull, mount, delete"
    )]
    pub(crate) action: Vec<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Tell of this repository alone, and of those beneath it"
    )]
    pub(crate) repository: Option<String>,
    #[arg(long, help = "Let the address be one that only this network has")]
    pub(crate) private: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Webhook {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] add NAME URL | rm NAME | ls | log [NAME] | again DELIVERY",
        about: "Tell others what happens in a registry\n\nWhat is sent is what Docker's registry sends to its notification endpoints, with a signature of the body by the\nsecret that 'add' prints: X-Havre-Signature-256: sha256=HMAC. What is not taken is sent again, later and later, for\nthree days; 'log' shows what became of everything for a week, and 'again' sends something once more. Addresses\nthat only this network has are refused without --private.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
