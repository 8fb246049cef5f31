//! Declarations of the `buildx` commands, one file each.

pub(crate) mod build;
pub(crate) mod create;
pub(crate) mod du;
pub(crate) mod imagetools;
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod prune;
pub(crate) mod rm;
pub(crate) mod r#use;
pub(crate) mod version;

use clap::Args;

/// Whose engine.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct BuilderFlag {
    #[arg(
        long,
        value_name = "string",
        help = "Override the configured builder instance"
    )]
    pub(crate) builder: Option<String>,
}
