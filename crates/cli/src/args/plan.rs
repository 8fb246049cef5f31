//! Flags of commands that remove: what `rm` and `prune` share.

use clap::Args;

/// The plan is all that is wanted.
#[derive(Args, Debug)]
pub(crate) struct PlanFlags {
    #[arg(long, help = "Show what would be removed and change nothing")]
    pub(crate) dry_run: bool,
    #[arg(
        long,
        value_name = "string",
        help = "Format the plan of --dry-run: 'table', 'json', or a Go template for each object"
    )]
    pub(crate) format: Option<String>,
}

/// Of commands that remove images.
#[derive(Args, Debug)]
pub(crate) struct KeepFlag {
    #[arg(
        long,
        help = "Let 'undo' bring removed images back; their space comes back when its window ends"
    )]
    pub(crate) keep: bool,
}

/// What every `prune` with a plan takes; its filters are described by each.
#[derive(Args, Debug)]
pub(crate) struct PruneFlags {
    #[arg(short = 'f', long, help = "Do not prompt for confirmation")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) plan: PlanFlags,
}
