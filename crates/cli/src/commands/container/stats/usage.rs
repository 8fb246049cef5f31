//! The numbers of one container, and how they are shown.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::format::listing::Layout;
use crate::format::{short_id, size};
use crate::template::{Cells, Value};

/// What is read of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    id: String,
    name: String,
    cpu_stats: Cpu,
    precpu_stats: Cpu,
    memory_stats: Memory,
    blkio_stats: BlockIo,
    pids_stats: Pids,
    networks: Option<BTreeMap<String, Interface>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    cpu_usage: CpuUsage,
    system_cpu_usage: u64,
    online_cpus: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CpuUsage {
    total_usage: u64,
    percpu_usage: Option<Vec<u64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    usage: u64,
    limit: u64,
    stats: Option<BTreeMap<String, u64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BlockIo {
    io_service_bytes_recursive: Option<Vec<BlockEntry>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BlockEntry {
    op: String,
    value: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pids {
    current: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Interface {
    rx_bytes: u64,
    tx_bytes: u64,
}

/// The numbers of a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Usage {
    id: String,
    name: String,
    /// Percent of one processor.
    cpu: f64,
    /// Bytes.
    memory: u64,
    memory_limit: u64,
    received: u64,
    sent: u64,
    read: u64,
    written: u64,
    pids: u64,
}

impl From<Answer> for Usage {
    fn from(answer: Answer) -> Self {
        let block = |letter: char| {
            let entries = answer.blkio_stats.io_service_bytes_recursive.iter().flatten();
            entries
                .filter(|entry| entry.op.to_ascii_lowercase().starts_with(letter))
                .map(|entry| entry.value)
                .sum()
        };
        let interfaces = || answer.networks.iter().flat_map(BTreeMap::values);
        Self {
            cpu: cpu_percent(&answer.cpu_stats, &answer.precpu_stats),
            memory: memory_used(&answer.memory_stats),
            memory_limit: answer.memory_stats.limit,
            received: interfaces().map(|interface| interface.rx_bytes).sum(),
            sent: interfaces().map(|interface| interface.tx_bytes).sum(),
            read: block('r'),
            written: block('w'),
            pids: answer.pids_stats.current,
            id: answer.id,
            name: answer.name,
        }
    }
}

/// The share of the machine's time between two readings, times its processors.
fn cpu_percent(now: &Cpu, before: &Cpu) -> f64 {
    // Without a reading before there is nothing to compare with.
    if before.system_cpu_usage == 0 {
        return 0.0;
    }
    let used = now
        .cpu_usage
        .total_usage
        .saturating_sub(before.cpu_usage.total_usage);
    let passed = now.system_cpu_usage.saturating_sub(before.system_cpu_usage);
    let cpus = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.as_ref().map_or(0, Vec::len) as u64,
        online => online,
    };
    if used == 0 || passed == 0 {
        return 0.0;
    }
    used as f64 / passed as f64 * cpus as f64 * 100.0
}

/// Without the file cache that the kernel takes back first.
fn memory_used(memory: &Memory) -> u64 {
    let cache = memory.stats.as_ref().and_then(|stats| {
        // The first on cgroup version 1, the second on version 2.
        stats
            .get("total_inactive_file")
            .or_else(|| stats.get("inactive_file"))
    });
    match cache {
        Some(cache) if *cache < memory.usage => memory.usage - cache,
        _ => memory.usage,
    }
}

const HEADERS: [(&str, &str); 9] = [
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

pub(super) const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "ID",
    headers: &HEADERS,
};

/// A row of the table; without numbers its cells are dashes.
pub(super) struct Row {
    /// As asked for.
    pub(super) container: String,
    pub(super) usage: Option<Usage>,
    pub(super) trunc: bool,
}

impl Cells for Row {
    fn names(&self) -> Vec<&'static str> {
        HEADERS.iter().map(|(name, _)| *name).collect()
    }

    fn cell(&self, name: &str) -> Option<Value> {
        let binary = |bytes: u64| size::binary(i64::try_from(bytes).unwrap_or(i64::MAX));
        let decimal = |bytes: u64| size::short(i64::try_from(bytes).unwrap_or(i64::MAX));
        let text = match (name, &self.usage) {
            ("Container", _) => self.container.clone(),
            ("ID", usage) => {
                let id = usage.as_ref().map_or(&self.container, |usage| &usage.id);
                if self.trunc { short_id(id) } else { id.clone() }
            }
            ("MemUsage", None) => "-- / --".to_owned(),
            ("Name" | "CPUPerc" | "MemPerc" | "NetIO" | "BlockIO" | "PIDs", None) => "--".to_owned(),
            ("Name", Some(usage)) => usage.name.trim_start_matches('/').to_owned(),
            ("CPUPerc", Some(usage)) => format!("{:.2}%", usage.cpu),
            ("MemUsage", Some(usage)) => {
                format!("{} / {}", binary(usage.memory), binary(usage.memory_limit))
            }
            ("MemPerc", Some(usage)) if usage.memory_limit == 0 => "0.00%".to_owned(),
            ("MemPerc", Some(usage)) => {
                format!("{:.2}%", usage.memory as f64 / usage.memory_limit as f64 * 100.0)
            }
            ("NetIO", Some(usage)) => format!("{} / {}", decimal(usage.received), decimal(usage.sent)),
            ("BlockIO", Some(usage)) => format!("{} / {}", decimal(usage.read), decimal(usage.written)),
            ("PIDs", Some(usage)) => usage.pids.to_string(),
            _ => return None,
        };
        Some(text.into())
    }

    fn label(&self, _: &str) -> Option<&str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(json: &str) -> Usage {
        serde_json::from_str::<Answer>(json).unwrap().into()
    }

    fn rows() -> Vec<Value> {
        let running = usage(
            r#"{"id":"8b1a9953c4611296a827abf8c47804d7","name":"/web",
            "cpu_stats":{"cpu_usage":{"total_usage":300000000},"system_cpu_usage":6000000000,"online_cpus":2},
            "precpu_stats":{"cpu_usage":{"total_usage":100000000},"system_cpu_usage":4000000000,"online_cpus":2},
            "memory_stats":{"usage":3145728,"limit":67108864,"stats":{"total_inactive_file":1048576}},
            "blkio_stats":{"io_service_bytes_recursive":[{"major":253,"minor":0,"op":"Read","value":4096},
              {"major":253,"minor":0,"op":"Write","value":12000000},{"major":253,"minor":0,"op":"Total","value":9}]},
            "pids_stats":{"current":3},"networks":{"eth0":{"rx_bytes":1000,"tx_bytes":20},"eth1":{"rx_bytes":500,"tx_bytes":2}}}"#,
        );
        let row = |container: &str, usage| {
            Value::cells(Row {
                container: container.to_owned(),
                usage,
                trunc: true,
            })
        };
        vec![row("web", Some(running)), row("lost", None)]
    }

    #[test]
    fn the_table_is_dockers() {
        assert_eq!(
            LAYOUT.render(None, false, &rows()).unwrap(),
            "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O       BLOCK I/O      PIDS\n\
             8b1a9953c461   web       20.00%    2MiB / 64MiB        3.12%     1.5kB / 22B   4.1kB / 12MB   3\n\
             lost           --        --        -- / --             --        --            --             --\n"
        );
    }

    #[test]
    fn every_placeholder() {
        let json = LAYOUT.render(Some("json"), false, &rows()[..1]).unwrap();
        assert_eq!(
            json.trim(),
            r#"{"BlockIO":"4.1kB / 12MB","CPUPerc":"20.00%","Container":"web","ID":"8b1a9953c461","MemPerc":"3.12%","MemUsage":"2MiB / 64MiB","Name":"web","NetIO":"1.5kB / 22B","PIDs":"3"}"#
        );
    }

    #[test]
    fn zeros_are_zeros() {
        let stopped = usage(r#"{"id":"ab","name":"/x","memory_stats":{},"networks":null}"#);
        assert_eq!((stopped.cpu, stopped.memory, stopped.pids), (0.0, 0, 0));
        // Version 2 has one key, and the percentage needs a reading before.
        let v2 = usage(
            r#"{"cpu_stats":{"cpu_usage":{"total_usage":5},"system_cpu_usage":10,"online_cpus":1},
            "memory_stats":{"usage":10,"limit":100,"stats":{"inactive_file":4}}}"#,
        );
        assert_eq!((v2.cpu, v2.memory), (0.0, 6));
    }
}
