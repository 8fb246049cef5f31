//! `havre registry check`: what may be typed.

use clap::Args;

use super::Place;
use crate::args::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Check {
    #[arg(
        long,
        help = "Forget what is damaged, so that clients push it again; tags whose manifest is damaged go with it"
    )]
    pub(crate) repair: bool,
    #[arg(
        long,
        help = "First make the database know whatever the storage has, as after the loss of the database"
    )]
    pub(crate) rebuild: bool,
    #[arg(
        long,
        help = "Look whether everything is there in its size, without reading it"
    )]
    pub(crate) quick: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Format each problem by a Go template, or as 'json'"
    )]
    pub(crate) format: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Check {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "Check everything a registry holds\n\nReads and hashes every blob and manifest, and compares the database with the storage, also beside a registry\nthat serves. Exit status 1 says that something is damaged, and was not repaired.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
