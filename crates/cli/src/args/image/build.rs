//! `docker image build`: what may be typed.

use clap::Args;

use super::super::{Declaration, Operands, Shape};
use crate::args::limits::ProcessLimits;
use crate::args::trust::TrustFlags;
use crate::values::Size;

#[derive(Args, Debug)]
pub(crate) struct Build {
    #[arg(
        long,
        value_name = "list",
        help = "Add a custom host-to-IP mapping (\"host:ip\")"
    )]
    pub(crate) add_host: Vec<String>,
    #[arg(long, value_name = "strings", help = "Images to consider as cache sources")]
    pub(crate) cache_from: Vec<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Set the parent cgroup for the \"RUN\" instructions during build"
    )]
    pub(crate) cgroup_parent: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Set method for evaluating build (\"build\", \"check\") (default \"build\")"
    )]
    pub(crate) call: Option<String>,
    #[arg(long, help = "Shorthand for \"--call=check\"")]
    pub(crate) check: bool,
    #[arg(long, help = "Compress the build context using gzip")]
    pub(crate) compress: bool,
    #[arg(long, help = "Always remove intermediate containers")]
    pub(crate) force_rm: bool,
    #[arg(long, value_name = "string", help = "Container isolation technology")]
    pub(crate) isolation: Option<String>,
    #[arg(
        long,
        default_value_t = true,
        help = "Remove intermediate containers after a successful build (default true)"
    )]
    pub(crate) rm: bool,
    #[arg(long, value_name = "strings", help = "Security options")]
    pub(crate) security_opt: Vec<String>,
    #[arg(long, value_name = "bytes", help = "Size of \"/dev/shm\"")]
    pub(crate) shm_size: Option<Size>,
    #[arg(long, value_name = "ulimit", help = "Ulimit options (default [])")]
    pub(crate) ulimit: Vec<String>,
    #[command(flatten)]
    pub(crate) limits: ProcessLimits,
    #[command(flatten)]
    pub(crate) trust: TrustFlags,
    #[arg(long, value_name = "list", help = "Set build-time variables")]
    pub(crate) build_arg: Vec<String>,
    #[arg(
        short = 'f',
        long,
        value_name = "string",
        help = "Name of the Dockerfile (Default is \"PATH/Dockerfile\")"
    )]
    pub(crate) file: Option<String>,
    #[arg(long, value_name = "string", help = "Write the image ID to the file")]
    pub(crate) iidfile: Option<String>,
    #[arg(long, value_name = "list", help = "Set metadata for an image")]
    pub(crate) label: Vec<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Set the networking mode for the RUN instructions during build (default \"default\")"
    )]
    pub(crate) network: Option<String>,
    #[arg(long, help = "Do not use cache when building the image")]
    pub(crate) no_cache: bool,
    #[command(flatten)]
    pub(crate) outputs: OutputFlags,
    #[arg(
        long,
        value_name = "string",
        help = "Set platform if server is multi-platform capable"
    )]
    pub(crate) platform: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Override the configured builder instance"
    )]
    pub(crate) builder: Option<String>,
    #[arg(long, help = "Always attempt to pull a newer version of the image")]
    pub(crate) pull: bool,
    #[arg(
        short = 'q',
        long,
        help = "Suppress the build output and print image ID on success"
    )]
    pub(crate) quiet: bool,
    #[arg(long, help = "Squash newly built layers into a single new layer")]
    pub(crate) squash: bool,
    #[arg(
        short = 't',
        long,
        value_name = "list",
        help = "Name and optionally a tag in the \"name:tag\" format"
    )]
    pub(crate) tag: Vec<String>,
    #[arg(long, value_name = "string", help = "Set the target build stage to build.")]
    pub(crate) target: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Set type of progress output (\"auto\", \"plain\", \"tty\") (default \"auto\")"
    )]
    pub(crate) progress: Option<String>,
    #[arg(hide = true)]
    pub(crate) operands: Vec<String>,
}

/// Where the result goes besides the engine's images.
#[derive(Args, Debug, Default)]
pub(crate) struct OutputFlags {
    #[arg(
        short = 'o',
        long,
        value_name = "stringArray",
        help = "Output destination (format: \"type=local,dest=path\")"
    )]
    pub(crate) output: Vec<String>,
    #[arg(
        long,
        help = "Keep the result among the engine's images, whatever --output says"
    )]
    pub(crate) load: bool,
    #[arg(long, help = "Push the result under its names: \"--output=type=registry\"")]
    pub(crate) push: bool,
    #[arg(long, value_name = "string", help = "Write build result metadata to a file")]
    pub(crate) metadata_file: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "Provenance attestations are not made: \"false\" only"
    )]
    pub(crate) provenance: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "SBOM attestations are not made: \"false\" only"
    )]
    pub(crate) sbom: Option<String>,
}

impl Declaration for Build {
    const SHAPE: Shape = Shape {
        operands: Operands::Exactly(1),
        usage: "[OPTIONS] PATH | URL | -",
        about: "Build an image from a Dockerfile",
        aliases: &["image build", "build", "builder build"],
        interspersed: true,
        refused: &[],
    };

    fn operands(&self) -> &[String] {
        &self.operands
    }
}
