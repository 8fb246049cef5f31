//! Limits written to the cgroup of a container that exists: those of an update, and those by device.

use std::io;
use std::path::Path;

use super::{Cgroup, is_v2};
use crate::error::RuntimeError;
use crate::spec::{BlockLimit, BlockLimits, Resources};

/// Microseconds; what a number of CPUs is counted in.
const PERIOD: u64 = 100_000;

const RT_RUNTIME: &str = "cpu.rt_runtime_us";
/// Microseconds of a second that the kernel leaves to the real-time classes altogether, and in which steps less is tried.
const RT_MOST: i64 = 950_000;
const RT_STEP: i64 = 50_000;

/// What the kernel of this machine can limit a container in, by its cgroup files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Memory and swap together.
    pub swap: bool,
    pub swappiness: bool,
    /// The OOM killer can be told to leave a container alone.
    pub oom_kill_disable: bool,
    /// Shares of block I/O, for all devices and for each.
    pub io_weight: bool,
    pub io_weight_device: bool,
    /// Bytes and operations a second by device.
    pub io_throttle: bool,
    /// Time for programs of the real-time classes.
    pub realtime: bool,
}

impl Cgroup {
    /// What can be limited in cgroups beside this one, which need not exist; its parent is made.
    pub(crate) fn abilities(&self) -> Abilities {
        let has = |controller: &str, file: &str| {
            let Some(parent) = self.parent(controller) else {
                return false;
            };
            if !is_v2() {
                let _ = fs_err::create_dir_all(&parent);
            }
            parent.join(file).exists()
        };
        if is_v2() {
            self.prepare();
            return Abilities {
                swap: has("", "memory.swap.max"),
                swappiness: false,
                oom_kill_disable: false,
                io_weight: has("", "io.weight") || has("", "io.bfq.weight"),
                io_weight_device: has("", "io.weight") || has("", "io.bfq.weight"),
                io_throttle: has("", "io.max"),
                realtime: false,
            };
        }
        Abilities {
            swap: has("memory", "memory.memsw.limit_in_bytes"),
            swappiness: has("memory", "memory.swappiness"),
            oom_kill_disable: has("memory", "memory.oom_control"),
            io_weight: has("blkio", "blkio.weight") || has("blkio", "blkio.bfq.weight"),
            io_weight_device: has("blkio", "blkio.weight_device") || has("blkio", "blkio.bfq.weight_device"),
            io_throttle: has("blkio", "blkio.throttle.read_bps_device"),
            realtime: has("cpu", RT_RUNTIME),
        }
    }

    /// Limits of a new container that libcontainer does not set.
    pub(crate) fn complete(&self, resources: &Resources) -> Result<(), RuntimeError> {
        if resources.oom_kill_disable && !is_v2() {
            self.limit("memory", "memory.oom_control", "1")?;
        }
        self.limit_realtime(resources)?;
        self.limit_block(&resources.block)
    }

    /// Changes every limit that is given, and leaves the others. Memory and swap have to be given together.
    pub(crate) fn update(&self, resources: &Resources) -> Result<(), RuntimeError> {
        self.update_memory(resources)?;
        self.update_cpu(resources)?;
        let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        for (file, value) in [
            ("cpuset.cpus", text(&resources.cpuset_cpus)),
            ("cpuset.mems", text(&resources.cpuset_mems)),
        ] {
            if let Some(value) = value {
                self.limit("cpuset", file, &value)?;
            }
        }
        match resources.pids {
            Some(limit) if limit > 0 => self.limit("pids", "pids.max", &limit.to_string())?,
            Some(_) => self.limit("pids", "pids.max", "max")?,
            None => {}
        }
        if let Some(weight) = resources.blkio_weight.filter(|weight| *weight != 0) {
            if is_v2() {
                let (file, weight) = self.io_weight(weight);
                self.limit("", file, &weight)?;
            } else {
                let file = self.present("blkio", &["blkio.weight", "blkio.bfq.weight"]);
                self.limit("blkio", file, &weight.to_string())?;
            }
        }
        self.limit_block(&resources.block)
    }

    /// The two depend on each other: swap, which on version 1 includes memory, may never be the lesser.
    fn update_memory(&self, resources: &Resources) -> Result<(), RuntimeError> {
        let amount = |value: i64| match value {
            value if value > 0 => value.to_string(),
            _ if is_v2() => "max".to_owned(),
            _ => "-1".to_owned(),
        };
        let memory = resources.memory.filter(|memory| *memory != 0);
        let accounted = self.has_swap_accounting();
        let swap = resources.memory_swap.filter(|swap| *swap != 0 && accounted);
        if is_v2() {
            if let Some(memory) = memory {
                self.limit("", "memory.max", &amount(memory))?;
            }
            if let Some(swap) = swap {
                let alone = match (swap, memory) {
                    (swap, Some(memory)) if swap > 0 && memory > 0 => (swap - memory).max(0).to_string(),
                    _ => "max".to_owned(),
                };
                self.limit("", "memory.swap.max", &alone)?;
            }
        } else {
            let (limit, both) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
            let set_memory = || memory.map_or(Ok(()), |memory| self.limit("memory", limit, &amount(memory)));
            let set_swap = || swap.map_or(Ok(()), |swap| self.limit("memory", both, &amount(swap)));
            let now = self
                .read("memory", limit)
                .trim()
                .parse::<u64>()
                .unwrap_or(u64::MAX);
            let grows = swap.is_some_and(|swap| swap < 0 || now < swap as u64);
            if grows {
                set_swap().and_then(|()| set_memory())?;
            } else {
                set_memory().and_then(|()| set_swap())?;
            }
        }
        if let Some(soft) = resources.memory_reservation.filter(|soft| *soft != 0) {
            let file = if is_v2() {
                "memory.low"
            } else {
                "memory.soft_limit_in_bytes"
            };
            self.limit("memory", file, &amount(soft))?;
        }
        if let Some(swappiness) = resources.memory_swappiness.filter(|_| !is_v2()) {
            self.limit("memory", "memory.swappiness", &swappiness.to_string())?;
        }
        Ok(())
    }

    fn update_cpu(&self, resources: &Resources) -> Result<(), RuntimeError> {
        if let Some(shares) = resources.cpu_shares.filter(|shares| *shares != 0) {
            if is_v2() {
                self.limit("", "cpu.weight", &cpu_weight(shares).to_string())?;
            } else {
                self.limit("cpu", "cpu.shares", &shares.to_string())?;
            }
        }
        let (mut quota, mut period) = (
            resources.cpu_quota.filter(|quota| *quota != 0),
            resources.cpu_period.filter(|period| *period != 0),
        );
        if let Some(nano) = resources.nano_cpus.filter(|nano| *nano != 0) {
            (quota, period) = (Some(nano / 10_000), Some(PERIOD));
        }
        self.limit_realtime(resources)?;
        if quota.is_none() && period.is_none() {
            return Ok(());
        }
        let quota_text = |quota: i64, none: &str| match quota {
            quota if quota > 0 => quota.to_string(),
            _ => none.to_owned(),
        };
        if is_v2() {
            let now = self.read("", "cpu.max");
            let mut now = now.split_ascii_whitespace();
            let (old_quota, old_period) = (now.next().unwrap_or("max"), now.next().unwrap_or("100000"));
            let quota = quota.map_or_else(|| old_quota.to_owned(), |quota| quota_text(quota, "max"));
            let period = period.map_or_else(|| old_period.to_owned(), |period| period.to_string());
            return self.limit("", "cpu.max", &format!("{quota} {period}"));
        }
        let set_quota = || {
            quota.map_or(Ok(()), |quota| {
                self.limit("cpu", "cpu.cfs_quota_us", &quota_text(quota, "-1"))
            })
        };
        let Some(period) = period else {
            return set_quota();
        };
        // A period may be refused for the quota that stands there still.
        let set_period = || self.limit("cpu", "cpu.cfs_period_us", &period.to_string());
        match set_period() {
            Ok(()) => set_quota(),
            Err(_) => set_quota().and_then(|()| set_period()),
        }
    }

    /// Time for programs of the real-time classes. The cgroups above need it first, for what is beneath them.
    fn limit_realtime(&self, resources: &Resources) -> Result<(), RuntimeError> {
        let runtime = resources.cpu_rt_runtime.filter(|runtime| *runtime != 0);
        let period = resources.cpu_rt_period.filter(|period| *period != 0);
        if runtime.is_none() && period.is_none() {
            return Ok(());
        }
        if runtime.is_some_and(|runtime| runtime > 0) {
            self.raise_realtime();
        }
        let set_runtime = || {
            runtime.map_or(Ok(()), |runtime| {
                self.limit("cpu", RT_RUNTIME, &runtime.to_string())
            })
        };
        let set_period = || {
            period.map_or(Ok(()), |period| {
                self.limit("cpu", "cpu.rt_period_us", &period.to_string())
            })
        };
        // A period may be refused for the time that stands there still.
        match set_period() {
            Ok(()) => set_runtime(),
            Err(_) => set_runtime().and_then(|()| set_period()),
        }
    }

    /// Gives the cgroups above as much time for the real-time classes as those beside them leave. What fails, fails again
    /// with the container's own limit, and is told then.
    fn raise_realtime(&self) {
        let Some(parent) = self.parent("cpu") else { return };
        let root = Path::new(super::ROOT).join("cpu");
        let mut above: Vec<_> = parent
            .ancestors()
            .take_while(|path| *path != root && path.starts_with(&root))
            .collect();
        above.reverse();
        for directory in above {
            let file = directory.join(RT_RUNTIME);
            let now = fs_err::read_to_string(&file).unwrap_or_default();
            let now = now.trim().parse::<i64>().unwrap_or(0);
            let more = (1..=RT_MOST / RT_STEP).rev().map(|steps| steps * RT_STEP);
            let _ = more
                .take_while(|more| *more > now)
                .find(|more| fs_err::write(&file, more.to_string()).is_ok());
        }
    }

    /// Limits of block devices.
    fn limit_block(&self, limits: &BlockLimits) -> Result<(), RuntimeError> {
        for limit in &limits.weight {
            let weight = u16::try_from(limit.value).unwrap_or(u16::MAX);
            let (file, weight) = if is_v2() {
                self.io_weight(weight)
            } else {
                let files = ["blkio.weight_device", "blkio.bfq.weight_device"];
                (self.present("blkio", &files), weight.to_string())
            };
            self.limit_device(file, limit, &weight)?;
        }
        for (list, v1, v2) in [
            (&limits.read_bps, "read_bps", "rbps"),
            (&limits.write_bps, "write_bps", "wbps"),
            (&limits.read_iops, "read_iops", "riops"),
            (&limits.write_iops, "write_iops", "wiops"),
        ] {
            for limit in list {
                if is_v2() {
                    self.limit_device("io.max", limit, &format!("{v2}={}", limit.value))?;
                } else {
                    let file = format!("blkio.throttle.{v1}_device");
                    self.limit_device(&file, limit, &limit.value.to_string())?;
                }
            }
        }
        Ok(())
    }

    fn limit_device(&self, file: &str, limit: &BlockLimit, value: &str) -> Result<(), RuntimeError> {
        let (major, minor) = block_device(&limit.path).map_err(|source| RuntimeError::Io {
            action: "find the block device",
            path: limit.path.clone(),
            source,
        })?;
        self.limit("blkio", file, &format!("{major}:{minor} {value}"))
    }

    /// The first of the files that exists, or the first.
    fn present(&self, controller: &str, files: &[&'static str]) -> &'static str {
        let directory = self.directory(controller);
        let found = files.iter().find(|file| directory.join(file).exists());
        found.or(files.first()).copied().unwrap_or_default()
    }

    fn limit(&self, controller: &str, file: &str, value: &str) -> Result<(), RuntimeError> {
        let path = self.directory(controller).join(file);
        fs_err::write(&path, value).map_err(|source| {
            let busy = source.kind() == io::ErrorKind::ResourceBusy && file.starts_with("memory.");
            let hint = match busy {
                true => format!(" (current usage: {})", self.stats().memory_usage),
                false => String::new(),
            };
            RuntimeError::Limit {
                file: file.to_owned(),
                value: value.to_owned(),
                hint,
                source,
            }
        })
    }
}

/// Major and minor number of a block device.
fn block_device(path: &Path) -> io::Result<(u32, u32)> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let metadata = fs_err::metadata(path)?;
    if !metadata.file_type().is_block_device() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a block device",
        ));
    }
    let device = metadata.rdev();
    Ok((rustix::fs::major(device), rustix::fs::minor(device)))
}

/// What shares of 2 to 262144 are among weights of 1 to 10000: 1024, the usual shares, are the usual weight of 100, as
/// runc 1.3 and crun 1.23 have it.
fn cpu_weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            (10f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_weights() {
        assert_eq!(
            [1, 2, 512, 1024, 2048, 262_144, 1 << 40].map(cpu_weight),
            [1, 1, 59, 100, 174, 10_000, 10_000]
        );
    }

    #[test]
    fn only_block_devices_have_block_limits() {
        let error = block_device(Path::new("/dev/null")).unwrap_err();
        assert!(error.to_string().contains("not a block device"), "{error}");
    }
}
