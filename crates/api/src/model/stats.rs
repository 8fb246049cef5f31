//! The answer of `GET /containers/{id}/stats`.

use std::collections::BTreeMap;

use havre_engine::{BlockCount, InterfaceStats, Reading, StatsView};
use serde::Serialize;

use crate::time::{NEVER, or_never};

/// One line of the answer. A container that does not run has the same fields with zeros.
#[derive(Debug, Serialize)]
pub(crate) struct StatsBody {
    name: String,
    id: String,
    read: String,
    preread: String,
    pids_stats: Pids,
    blkio_stats: BlockIo,
    num_procs: u32,
    storage_stats: super::Empty,
    cpu_stats: Cpu,
    precpu_stats: Cpu,
    memory_stats: Memory,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    networks: BTreeMap<String, Interface>,
}

#[derive(Debug, Default, Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    limit: u64,
}

#[derive(Debug, Default, Serialize)]
struct BlockIo {
    io_service_bytes_recursive: Option<Vec<BlockEntry>>,
    io_serviced_recursive: Option<Vec<BlockEntry>>,
    io_queue_recursive: Option<()>,
    io_service_time_recursive: Option<()>,
    io_wait_time_recursive: Option<()>,
    io_merged_recursive: Option<()>,
    io_time_recursive: Option<()>,
    sectors_recursive: Option<()>,
}

#[derive(Debug, Serialize)]
struct BlockEntry {
    major: u64,
    minor: u64,
    op: String,
    value: u64,
}

#[derive(Debug, Default, Serialize)]
struct Cpu {
    cpu_usage: CpuUsage,
    #[serde(skip_serializing_if = "is_zero")]
    system_cpu_usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    online_cpus: u64,
    throttling_data: Throttling,
}

#[derive(Debug, Default, Serialize)]
struct CpuUsage {
    total_usage: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_usage: Vec<u64>,
    usage_in_kernelmode: u64,
    usage_in_usermode: u64,
}

#[derive(Debug, Default, Serialize)]
struct Throttling {
    periods: u64,
    throttled_periods: u64,
    throttled_time: u64,
}

#[derive(Debug, Default, Serialize)]
struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max_usage: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stats: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "is_zero")]
    failcnt: u64,
    #[serde(skip_serializing_if = "is_zero")]
    limit: u64,
}

#[derive(Debug, Serialize)]
struct Interface {
    rx_bytes: u64,
    rx_packets: u64,
    rx_errors: u64,
    rx_dropped: u64,
    tx_bytes: u64,
    tx_packets: u64,
    tx_errors: u64,
    tx_dropped: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The form serde asks for.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<StatsView> for StatsBody {
    fn from(view: StatsView) -> Self {
        let read = |reading: Option<&Reading>| or_never(reading.map(|reading| reading.container.read_at));
        let mut body = Self {
            name: view.name,
            id: view.id,
            read: read(view.now.as_ref()),
            preread: NEVER.to_owned(),
            pids_stats: Pids::default(),
            blkio_stats: BlockIo::default(),
            num_procs: 0,
            storage_stats: super::Empty {},
            cpu_stats: Cpu::default(),
            precpu_stats: Cpu::default(),
            memory_stats: Memory::default(),
            networks: BTreeMap::new(),
        };
        if let Some(before) = &view.before {
            body.preread = read(Some(before));
            body.precpu_stats = before.into();
        }
        if let Some(now) = view.now {
            body.cpu_stats = (&now).into();
            let stats = now.container;
            body.pids_stats = Pids {
                current: stats.pids_current,
                // None is written as the largest number.
                limit: match stats.pids_limit {
                    0 => u64::MAX,
                    limit => limit,
                },
            };
            body.blkio_stats.io_service_bytes_recursive = Some(entries(stats.block_bytes));
            body.blkio_stats.io_serviced_recursive =
                Some(entries(stats.block_operations)).filter(|list| !list.is_empty());
            body.memory_stats = Memory {
                usage: stats.memory_usage,
                max_usage: stats.memory_max_usage.unwrap_or(0),
                failcnt: stats.memory_failures.unwrap_or(0),
                limit: now.memory_limit,
                stats: stats.memory,
            };
            body.networks = now
                .networks
                .into_iter()
                .map(|(name, interface)| (name, interface.into()))
                .collect();
        }
        body
    }
}

fn entries(counts: Vec<BlockCount>) -> Vec<BlockEntry> {
    let entry = |count: BlockCount| BlockEntry {
        major: count.major,
        minor: count.minor,
        op: count.operation,
        value: count.count,
    };
    counts.into_iter().map(entry).collect()
}

impl From<&Reading> for Cpu {
    fn from(reading: &Reading) -> Self {
        let stats = &reading.container;
        Self {
            cpu_usage: CpuUsage {
                total_usage: stats.cpu_total,
                percpu_usage: stats.cpu_per_core.clone(),
                usage_in_kernelmode: stats.cpu_system,
                usage_in_usermode: stats.cpu_user,
            },
            system_cpu_usage: reading.host.total,
            online_cpus: u64::from(reading.host.online),
            throttling_data: Throttling {
                periods: stats.periods,
                throttled_periods: stats.throttled_periods,
                throttled_time: stats.throttled_time,
            },
        }
    }
}

impl From<InterfaceStats> for Interface {
    fn from(stats: InterfaceStats) -> Self {
        Self {
            rx_bytes: stats.rx_bytes,
            rx_packets: stats.rx_packets,
            rx_errors: stats.rx_errors,
            rx_dropped: stats.rx_dropped,
            tx_bytes: stats.tx_bytes,
            tx_packets: stats.tx_packets,
            tx_errors: stats.tx_errors,
            tx_dropped: stats.tx_dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_run_has_zeros() {
        let body = StatsBody::from(StatsView {
            id: "abc".into(),
            name: "/box".into(),
            now: None,
            before: None,
        });
        let json = serde_json::to_value(body).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "name": "/box", "id": "abc", "read": "0001-01-01T00:00:00Z", "preread": "0001-01-01T00:00:00Z",
                "pids_stats": {}, "num_procs": 0, "storage_stats": {}, "memory_stats": {},
                "blkio_stats": {
                    "io_service_bytes_recursive": null, "io_serviced_recursive": null, "io_queue_recursive": null,
                    "io_service_time_recursive": null, "io_wait_time_recursive": null, "io_merged_recursive": null,
                    "io_time_recursive": null, "sectors_recursive": null,
                },
                "cpu_stats": {
                    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
                    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
                },
                "precpu_stats": {
                    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
                    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
                },
            })
        );
    }
}
