//! `havre registry account`: what may be typed.

use clap::Args;

use super::Place;
use crate::args::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Account {
    #[arg(long, help = "Let the new account run the whole registry")]
    pub(crate) admin: bool,
    #[arg(long, value_name = "string", help = "Address for mail of the new account")]
    pub(crate) email: Option<String>,
    #[arg(long, help = "Take the password from stdin")]
    pub(crate) password_stdin: bool,
    #[arg(long, value_name = "string", help = "A longer name of the new account")]
    pub(crate) title: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Account {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(2),
        usage: "[OPTIONS] add|password NAME",
        about: "Make an account of a registry, or give one another password\n\nFor who may write to what the registry holds, also beside one that serves. It has accounts if it is started\nwith --accounts or its configuration has them; the first is made so, or by the invitation it prints.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
