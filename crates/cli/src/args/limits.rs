//! Flags of limits, which `run`, `create`, `update` and `build` share.

use clap::Args;

use crate::values::{NanoCpus, Size};

/// What limits any process: a container's, or that of a build's `RUN`.
#[derive(Args, Debug, Default)]
pub(crate) struct ProcessLimits {
    #[arg(
        long,
        value_name = "int",
        help = "Limit CPU CFS (Completely Fair Scheduler) period"
    )]
    pub(crate) cpu_period: Option<i64>,
    #[arg(
        long,
        value_name = "int",
        help = "Limit CPU CFS (Completely Fair Scheduler) quota"
    )]
    pub(crate) cpu_quota: Option<i64>,
    #[arg(short = 'c', long, value_name = "int", help = "CPU shares (relative weight)")]
    pub(crate) cpu_shares: Option<i64>,
    #[arg(
        long,
        value_name = "string",
        help = "CPUs in which to allow execution (0-3, 0,1)"
    )]
    pub(crate) cpuset_cpus: Option<String>,
    #[arg(
        long,
        value_name = "string",
        help = "MEMs in which to allow execution (0-3, 0,1)"
    )]
    pub(crate) cpuset_mems: Option<String>,
    #[arg(short = 'm', long, value_name = "bytes", help = "Memory limit")]
    pub(crate) memory: Option<Size>,
    #[arg(
        long,
        value_name = "bytes",
        help = "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"
    )]
    pub(crate) memory_swap: Option<Size>,
}

/// What limits a container, from its creation or later on.
#[derive(Args, Debug, Default)]
pub(crate) struct LimitFlags {
    #[command(flatten)]
    pub(crate) process: ProcessLimits,
    #[arg(
        long,
        value_name = "uint16",
        help = "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)"
    )]
    pub(crate) blkio_weight: Option<u16>,
    #[arg(long, value_name = "int", help = "Limit CPU real-time period in microseconds")]
    pub(crate) cpu_rt_period: Option<i64>,
    #[arg(
        long,
        value_name = "int",
        help = "Limit CPU real-time runtime in microseconds"
    )]
    pub(crate) cpu_rt_runtime: Option<i64>,
    #[arg(long, value_name = "decimal", help = "Number of CPUs")]
    pub(crate) cpus: Option<NanoCpus>,
    #[arg(long, value_name = "bytes", help = "Memory soft limit")]
    pub(crate) memory_reservation: Option<Size>,
    #[arg(
        long,
        value_name = "int",
        help = "Tune container pids limit (set -1 for unlimited)"
    )]
    pub(crate) pids_limit: Option<i64>,
}
