//! What a container uses, from its cgroup.

use serde::{Deserialize, Serialize};

/// Counters of one container at one moment. Zero where the kernel does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub read_at: jiff::Timestamp,
    /// Nanoseconds of CPU time.
    pub cpu_total: u64,
    pub cpu_user: u64,
    pub cpu_system: u64,
    /// Nanoseconds of each CPU; empty on cgroup v2.
    pub cpu_per_core: Vec<u64>,
    pub throttled_periods: u64,
    pub throttled_time: u64,
    /// Bytes.
    pub memory_usage: u64,
    pub memory_max_usage: u64,
    /// Bytes; `u64::MAX` without a limit.
    pub memory_limit: u64,
    /// File cache the kernel can take back at once (`inactive_file`): subtract from usage as Docker's client does.
    pub memory_inactive_file: u64,
    pub pids_current: u64,
    /// 0 without a limit.
    pub pids_limit: u64,
    pub block_read: u64,
    pub block_write: u64,
}
