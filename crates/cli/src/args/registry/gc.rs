//! `havre registry gc`: what may be typed.

use clap::Args;

use super::Place;
use crate::args::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Gc {
    #[arg(long, help = "Show what would be removed and change nothing")]
    pub(crate) dry_run: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Format each object by a Go template, or as 'json'"
    )]
    pub(crate) format: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Gc {
    const SHAPE: Shape = Shape {
        operands: Operands::None,
        usage: "[OPTIONS]",
        about: "Remove what no image of a registry needs\n\nA registry does so itself, every hour, while it serves; this does it now, also beside one that serves. What\nwas pushed or asked for within a day stays, so that an image whose parts come one by one is not taken apart,\nand so do uploads that somebody went on with within a week (storage.maintenance.uploadpurging.age).",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
