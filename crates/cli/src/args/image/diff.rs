//! `image diff`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use super::remote::RemoteFlags;

/// What is compared of two images, and how it is told.
#[derive(Args, Debug)]
pub(crate) struct DiffFlags {
    #[arg(long, help = "Compare the configurations of images")]
    pub(crate) config: bool,
    #[arg(long, help = "Compare the files of images")]
    pub(crate) files: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Format the comparison of images: 'table' (default) or 'json'"
    )]
    pub(crate) format: Option<String>,
    #[arg(long, help = "Compare the layers of images")]
    pub(crate) layers: bool,
    #[arg(long, help = "Compare the packages of dpkg, apk and RPM in images")]
    pub(crate) packages: bool,
    #[arg(
        long,
        help = "Do not read contents: files of the same size, owner, permissions and time count as the same"
    )]
    pub(crate) quick: bool,
    #[command(flatten)]
    pub(crate) at: RemoteFlags,
}

impl DiffFlags {
    /// The first flag that is set.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let flags = [
            (self.config, "config"),
            (self.files, "files"),
            (self.format.is_some(), "format"),
            (self.layers, "layers"),
            (self.packages, "packages"),
            (self.quick, "quick"),
            (self.at.registry.insecure, "insecure"),
            (self.at.platform.is_some(), "platform"),
            (self.at.registry.remote, "remote"),
        ];
        flags.iter().find(|(set, _)| *set).map(|(_, name)| *name)
    }
}

#[derive(Args, Debug)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) flags: DiffFlags,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Diff {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(2),
        usage: "[OPTIONS] IMAGE|ARCHIVE IMAGE|ARCHIVE",
        about: "Compare two images: layers, configuration, packages, files\n\nWithout --layers, --config, --packages and --files all of it is compared. Archives are named as for 'explore', and images in a\nregistry as registry://IMAGE; with --remote both are.",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
