//! `artifact attach`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};

#[derive(Args, Debug)]
pub(crate) struct Attach {
    #[arg(
        short = 'a',
        long,
        value_name = "key=value",
        help = "Annotations of the manifest"
    )]
    pub(crate) annotation: Vec<String>,
    #[arg(
        long,
        value_name = "string",
        help = "What kind of artifact it is, as a media type (default \"application/vnd.unknown.artifact.v1\")"
    )]
    pub(crate) artifact_type: Option<String>,
    #[arg(long, help = "Allow communication with an insecure registry")]
    pub(crate) insecure: bool,
    #[arg(short = 'q', long, help = "Only print the digest")]
    pub(crate) quiet: bool,
    #[arg(
        long,
        value_name = "name",
        help = "The image or artifact that the files are about"
    )]
    pub(crate) subject: String,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

impl Declaration for Attach {
    const SHAPE: Shape = Shape {
        operands: Operands::AtLeast(1),
        usage: "[OPTIONS] --subject NAME[:TAG|@DIGEST] FILE[:MEDIATYPE] [FILE...]",
        about: "Put files into a registry that are about an image or artifact there: what 'image referrers' lists\n\nA file is kept under its path as it is written, or under its name where that is absolute or leads upwards. Behind a colon\nits media type can be said (default \"application/vnd.oci.image.layer.v1.tar\", as oras has it).",
        aliases: &[],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
