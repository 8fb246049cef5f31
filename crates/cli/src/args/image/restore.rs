//! `havre image restore`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Restore {
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Restore {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "NAME[:TAG][@{ENTRY}]",
        about: "Put a tag back to what it stood for before\n\
                \n\
                ENTRY is a line of 'image log' or a time: NAME@{2}, NAME@{yesterday}. Without it the last\n\
                change of the tag is taken back. An image that was removed comes back if 'undo' could\n\
                bring it back. This is a change like any other, which 'image restore NAME' takes back.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
