//! `docker buildx build`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape, image};

#[derive(Args, Debug)]
pub(crate) struct StartBuild {
    #[command(flatten)]
    pub(crate) build: image::build::Build,
}

impl Declaration for StartBuild {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] PATH | URL | -",
        about: "Start a build",
        aliases: &["buildx build", "buildx b"],
        interspersed: true,
        refused: image::build::Build::SHAPE.refused,
    };

    fn operands(&self) -> &[String] {
        self.build.operands()
    }
}
