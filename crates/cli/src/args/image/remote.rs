//! Flags of commands that look at images in their registries, too.

use clap::Args;

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RegistryFlags {
    #[arg(long, help = "Allow communication with an insecure registry")]
    pub(crate) insecure: bool,
    #[arg(
        long,
        help = "Look at the image in its registry, without pulling it: the same as registry://IMAGE"
    )]
    pub(crate) remote: bool,
}

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RemoteFlags {
    #[arg(
        long,
        value_name = "string",
        help = "Of an image in a registry: the platform to look at, like \"linux/arm64\" (default: this machine's)"
    )]
    pub(crate) platform: Option<String>,
    #[command(flatten)]
    pub(crate) registry: RegistryFlags,
}
