//! What a cgroup has used, as its files tell.

use std::collections::BTreeMap;

use super::{Cgroup, is_v2, keyed};
use crate::stats::{BlockCount, Stats};

impl Cgroup {
    /// All counters; zeros where there is no file.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats {
            read_at: jiff::Timestamp::now(),
            memory_limit: u64::MAX,
            ..Stats::default()
        };
        if is_v2() {
            self.stats_v2(&mut stats);
        } else {
            self.stats_v1(&mut stats);
        }
        stats
    }

    fn stats_v1(&self, stats: &mut Stats) {
        let number = |controller: &str, file: &str| self.read(controller, file).trim().parse::<u64>().ok();
        stats.cpu_total = number("cpuacct", "cpuacct.usage").unwrap_or(0);
        stats.cpu_user = number("cpuacct", "cpuacct.usage_user").unwrap_or(0);
        stats.cpu_system = number("cpuacct", "cpuacct.usage_sys").unwrap_or(0);
        stats.cpu_per_core = self
            .read("cpuacct", "cpuacct.usage_percpu")
            .split_ascii_whitespace()
            .filter_map(|value| value.parse().ok())
            .collect();
        let throttling = self.read("cpu", "cpu.stat");
        stats.periods = keyed(&throttling, "nr_periods").unwrap_or(0);
        stats.throttled_periods = keyed(&throttling, "nr_throttled").unwrap_or(0);
        stats.throttled_time = keyed(&throttling, "throttled_time").unwrap_or(0);
        stats.memory_usage = number("memory", "memory.usage_in_bytes").unwrap_or(0);
        stats.memory_max_usage = number("memory", "memory.max_usage_in_bytes");
        stats.memory_failures = number("memory", "memory.failcnt");
        // Without a limit the file holds the largest multiple of the page size.
        stats.memory_limit = number("memory", "memory.limit_in_bytes")
            .filter(|limit| (1..1 << 62).contains(limit))
            .unwrap_or(u64::MAX);
        stats.memory = table(&self.read("memory", "memory.stat"));
        stats.pids_current = number("pids", "pids.current").unwrap_or(0);
        stats.pids_limit = number("pids", "pids.max").unwrap_or(0);
        stats.block_bytes = counts_v1(&self.read("blkio", "blkio.throttle.io_service_bytes_recursive"));
        stats.block_operations = counts_v1(&self.read("blkio", "blkio.throttle.io_serviced_recursive"));
    }

    fn stats_v2(&self, stats: &mut Stats) {
        let cpu = self.read("", "cpu.stat");
        let nanos = |key: &str| keyed(&cpu, key).unwrap_or(0).saturating_mul(1000);
        stats.cpu_total = nanos("usage_usec");
        stats.cpu_user = nanos("user_usec");
        stats.cpu_system = nanos("system_usec");
        stats.periods = keyed(&cpu, "nr_periods").unwrap_or(0);
        stats.throttled_periods = keyed(&cpu, "nr_throttled").unwrap_or(0);
        stats.throttled_time = nanos("throttled_usec");
        let number = |file: &str| self.read("", file).trim().parse::<u64>().ok();
        stats.memory_usage = number("memory.current").unwrap_or(0);
        stats.memory_limit = number("memory.max").unwrap_or(u64::MAX);
        stats.memory = table(&self.read("", "memory.stat"));
        stats.pids_current = number("pids.current").unwrap_or(0);
        stats.pids_limit = number("pids.max").unwrap_or(0);
        stats.block_bytes = counts_v2(&self.read("", "io.stat"));
    }
}

/// Lines of `key value`.
fn table(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    });
    pairs.collect()
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines of `253:0 Read 4096`, and a sum without a device, which is left out.
fn counts_v1(text: &str) -> Vec<BlockCount> {
    let counts = text.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (major, minor) = device(fields.next()?)?;
        Some(BlockCount {
            major,
            minor,
            operation: fields.next()?.to_owned(),
            count: fields.next()?.parse().ok()?,
        })
    });
    counts.collect()
}

/// Lines of `253:0 rbytes=4096 wbytes=0 rios=1 …`.
fn counts_v2(text: &str) -> Vec<BlockCount> {
    let mut counts = Vec::new();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some((major, minor)) = fields.next().and_then(device) else {
            continue;
        };
        for (key, count) in fields.filter_map(|field| field.split_once('=')) {
            let operation = match key {
                "rbytes" => "read",
                "wbytes" => "write",
                _ => continue,
            };
            counts.push(BlockCount {
                major,
                minor,
                operation: operation.to_owned(),
                count: count.parse().unwrap_or(0),
            });
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(minor: u64, operation: &str, count: u64) -> BlockCount {
        BlockCount {
            major: 253,
            minor,
            operation: operation.to_owned(),
            count,
        }
    }

    #[test]
    fn devices_and_operations() {
        let v1 = "253:0 Read 4096\n253:0 Write 12\n253:0 Total 4108\nTotal 4108\n";
        assert_eq!(
            counts_v1(v1),
            [
                count(0, "Read", 4096),
                count(0, "Write", 12),
                count(0, "Total", 4108)
            ]
        );
        // The kernel writes a device without counts on a line of its own.
        let v2 = "253:16 \n253:0 rbytes=4096 wbytes=12 rios=1 wios=1 dbytes=0 dios=0\n";
        assert_eq!(counts_v2(v2), [count(0, "read", 4096), count(0, "write", 12)]);
    }

    #[test]
    fn tables() {
        let found = table("anon 4096\nfile x\ninactive_file 12\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found["inactive_file"], 12);
    }
}
