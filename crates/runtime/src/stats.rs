//! What a container uses: counters of its cgroup and its network interfaces, and of the machine beside them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Nanoseconds of a tick of `/proc/stat`; the kernel shows 100 a second to programs on every machine Linux runs
/// containers on.
const TICK: u64 = 10_000_000;

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
    /// Periods of a CPU quota that have passed, those in which it was used up, and the nanoseconds waited then.
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
    /// Bytes, file cache included.
    pub memory_usage: u64,
    /// Bytes; cgroup v1 only.
    pub memory_max_usage: Option<u64>,
    /// How often the limit was met; cgroup v1 only.
    pub memory_failures: Option<u64>,
    /// Bytes; `u64::MAX` without a limit.
    pub memory_limit: u64,
    /// `memory.stat` of the cgroup: other keys on v1 than on v2.
    pub memory: BTreeMap<String, u64>,
    pub pids_current: u64,
    /// 0 without a limit.
    pub pids_limit: u64,
    /// Bytes by device and operation.
    pub block_bytes: Vec<BlockCount>,
    /// Operations by device and kind; empty on cgroup v2.
    pub block_operations: Vec<BlockCount>,
}

impl Stats {
    /// File cache the kernel can take back at once: subtracted from the usage by Docker's client.
    pub fn inactive_file(&self) -> u64 {
        let found = self.memory.get("total_inactive_file");
        found
            .or_else(|| self.memory.get("inactive_file"))
            .copied()
            .unwrap_or(0)
    }
}

/// One counter of block I/O.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCount {
    pub major: u64,
    pub minor: u64,
    /// `Read`, `Write`, `Sync`, `Async`, `Discard`, `Total` on cgroup v1; `read`, `write` on v2.
    pub operation: String,
    pub count: u64,
}

/// What went through one network interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStats {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// Interfaces in the network namespace of a process, without its loopback; none once it has ended.
pub fn interfaces(pid: i32) -> BTreeMap<String, InterfaceStats> {
    let text = fs_err::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    parse_interfaces(&text)
}

fn parse_interfaces(text: &str) -> BTreeMap<String, InterfaceStats> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some((name, counters)) = line.rsplit_once(':') else {
            continue;
        };
        let counters: Vec<u64> = counters
            .split_ascii_whitespace()
            .filter_map(|counter| counter.parse().ok())
            .collect();
        if let [
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            _,
            _,
            _,
            _,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
            ..,
        ] = counters[..]
            && name.trim() != "lo"
        {
            let stats = InterfaceStats {
                rx_bytes,
                rx_packets,
                rx_errors,
                rx_dropped,
                tx_bytes,
                tx_packets,
                tx_errors,
                tx_dropped,
            };
            found.insert(name.trim().to_owned(), stats);
        }
    }
    found
}

/// The machine's processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCpu {
    /// Nanoseconds that all processors together have passed, idle ones included.
    pub total: u64,
    pub online: u32,
}

impl HostCpu {
    /// As `/proc/stat` tells now; zeros if it cannot be read.
    pub fn now() -> Self {
        Self::parse(&fs_err::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut host = Self::default();
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("cpu") else {
                break;
            };
            if let Some(all) = rest.strip_prefix(' ') {
                // The time of guests, which comes last, is in that of their hosts already.
                let ticks = all
                    .split_ascii_whitespace()
                    .take(8)
                    .filter_map(|ticks| ticks.parse::<u64>().ok());
                host.total = ticks.sum::<u64>().saturating_mul(TICK);
            } else {
                host.online += 1;
            }
        }
        host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors() {
        let text = "cpu  10 20 30 40 5 6 7 8 9 10\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nintr 5 6\ncpufoo\n";
        let host = HostCpu::parse(text);
        assert_eq!((host.total, host.online), (1_260_000_000, 2));
        let now = HostCpu::now();
        assert!(now.total > 0 && now.online > 0);
    }

    #[test]
    fn interfaces_without_the_loopback() {
        let text = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo: 10 1 0 0 0 0 0 0 10 1 0 0 0 0 0 0\n  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\n";
        let found = parse_interfaces(text);
        assert_eq!(found.len(), 1);
        let eth0 = found["eth0"];
        assert_eq!(
            (eth0.rx_bytes, eth0.rx_dropped, eth0.tx_bytes, eth0.tx_errors),
            (1000, 2, 2000, 3)
        );
    }
}
