//! The cgroup of a container, as files: `/sys/fs/cgroup/<controller>/<path>` on version 1 (and hybrid systems),
//! `/sys/fs/cgroup/<path>` on version 2. libcontainer makes and limits it; reading, killing and removing is here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use havre_sys::cgroup_device::{self, DeviceKind, DeviceRule};
use serde_json::Value;

mod limits;
mod usage;

pub use limits::Abilities;

pub(crate) const ROOT: &str = "/sys/fs/cgroup";
const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// How long a cgroup may stay busy after its last process was killed.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the system uses cgroup version 2 alone.
pub(crate) fn is_v2() -> bool {
    static V2: OnceLock<bool> = OnceLock::new();
    *V2.get_or_init(|| rustix::fs::statfs(ROOT).is_ok_and(|stat| stat.f_type as u64 == CGROUP2_MAGIC))
}

/// How long processes may take to freeze; one that waits for a disk in the kernel cannot.
const FREEZE_PATIENCE: Duration = Duration::from_secs(5);

/// One cgroup by its path, which begins with a slash.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup {
    path: String,
}

impl Cgroup {
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Cgroup { path: path.into() }
    }

    fn relative(&self) -> &str {
        self.path.trim_start_matches('/')
    }

    /// The directory of one version 1 controller, or of the unified hierarchy.
    fn directory(&self, controller: &str) -> PathBuf {
        if is_v2() {
            Path::new(ROOT).join(self.relative())
        } else {
            Path::new(ROOT).join(controller).join(self.relative())
        }
    }

    /// The directory it is or will be in.
    fn parent(&self, controller: &str) -> Option<PathBuf> {
        self.directory(controller).parent().map(Path::to_path_buf)
    }

    /// On version 2, makes the cgroup it will be in and gives that the controllers: the files there tell what a
    /// container can be limited in. What fails, fails again when the container is made, and is told then.
    pub(crate) fn prepare(&self) {
        let Some(parent) = self.parent("").filter(|parent| is_v2() && !parent.exists()) else {
            return;
        };
        let _ = fs_err::create_dir_all(&parent);
        let controllers =
            fs_err::read_to_string(Path::new(ROOT).join("cgroup.controllers")).unwrap_or_default();
        let mut above: Vec<_> = parent
            .ancestors()
            .take_while(|path| path.starts_with(ROOT))
            .collect();
        above.reverse();
        for directory in above {
            for controller in controllers.split_ascii_whitespace() {
                let _ = fs_err::write(directory.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
    }

    /// Whether the kernel accounts swap per cgroup.
    pub(crate) fn has_swap_accounting(&self) -> bool {
        let file = if is_v2() {
            // Not in the root cgroup, which has no limits.
            self.parent("").map(|parent| parent.join("memory.swap.max"))
        } else {
            Some(Path::new(ROOT).join("memory/memory.memsw.limit_in_bytes"))
        };
        file.is_some_and(|file| file.exists())
    }

    /// The file of version 2 that takes a weight of block I/O, and the weight in its terms: those of BFQ are the ones
    /// people give (10 to 1000), those of the kernel's own model are 1 to 10000.
    pub(crate) fn io_weight(&self, weight: u16) -> (&'static str, String) {
        let bfq = "io.bfq.weight";
        if self.parent("").is_some_and(|parent| parent.join(bfq).exists()) {
            (bfq, weight.to_string())
        } else {
            ("io.weight", io_weight(weight).to_string())
        }
    }

    /// Every directory that exists of it.
    fn directories(&self) -> Vec<PathBuf> {
        if is_v2() {
            return vec![Path::new(ROOT).join(self.relative())];
        }
        let Ok(controllers) = fs_err::read_dir(ROOT) else {
            return Vec::new();
        };
        // Controllers mounted together are links to one directory.
        controllers
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path().join(self.relative()))
            .filter(|directory| directory.is_dir())
            .collect()
    }

    /// Where beneath it further processes belong, if not in it: a container that gives controllers to cgroups of its own
    /// (a service manager, another engine) can have no processes beside them on version 2. `init` shows the place.
    pub(crate) fn beneath(&self, init: i32) -> Option<String> {
        let given = is_v2() && !self.read("", "cgroup.subtree_control").trim().is_empty();
        if !given {
            return None;
        }
        let cgroup = fs_err::read_to_string(format!("/proc/{init}/cgroup")).ok()?;
        let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
        let beneath = path.strip_prefix(&self.path)?.strip_prefix('/')?;
        Some(beneath.to_owned())
    }

    /// Process ids in it and in cgroups beneath.
    pub(crate) fn pids(&self) -> io::Result<Vec<i32>> {
        let directory = self.directory("devices");
        let mut pids = Vec::new();
        read_pids(&directory, &mut pids)?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Sends a signal to all processes; again and again for SIGKILL, until no new ones appear.
    pub(crate) fn kill(&self, signal: i32) -> io::Result<()> {
        let kill = rustix::process::Signal::KILL.as_raw();
        // All at once, so that nothing is forked in between (Linux 5.14 and later).
        if signal == kill && is_v2() && fs_err::write(self.directory("").join("cgroup.kill"), "1").is_ok() {
            return Ok(());
        }
        let rounds = if signal == kill { 10 } else { 1 };
        for _ in 0..rounds {
            let pids = match self.pids() {
                Ok(pids) => pids,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids {
                if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                    // A process that has ended meanwhile is what we want.
                    let _ = havre_sys::process::send_signal(pid, signal);
                }
            }
            if rounds > 1 {
                if !is_v2() {
                    // The frozen die when they are thawed.
                    let _ = fs_err::write(self.directory("freezer").join("freezer.state"), "THAWED");
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Stops every process in it where it stands, or lets them go on; returns when that is so.
    pub(crate) fn freeze(&self, frozen: bool) -> io::Result<()> {
        let directory = self.directory("freezer");
        let deadline = std::time::Instant::now() + FREEZE_PATIENCE;
        loop {
            let done = if is_v2() {
                fs_err::write(directory.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
                let events = fs_err::read_to_string(directory.join("cgroup.events"))?;
                keyed(&events, "frozen") == Some(u64::from(frozen))
            } else {
                let (file, state) = (
                    directory.join("freezer.state"),
                    if frozen { "FROZEN" } else { "THAWED" },
                );
                // Written again each round: a process that forked meanwhile holds the state at FREEZING.
                fs_err::write(&file, state)?;
                fs_err::read_to_string(&file)?.trim() == state
            };
            if done {
                return Ok(());
            }
            if std::time::Instant::now() > deadline {
                if frozen {
                    self.freeze(false)?;
                }
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the processes do not freeze",
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How many processes the kernel has killed in it for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = if is_v2() {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        fs_err::read_to_string(self.directory("memory").join(file))
            .ok()
            .and_then(|text| keyed(&text, "oom_kill"))
            .unwrap_or(0)
    }

    /// On version 2, restricts devices to the rules of an OCI specification; on version 1 libcontainer has done it.
    pub(crate) fn restrict_devices(&self, rules: &[Value]) -> io::Result<()> {
        if !is_v2() {
            return Ok(());
        }
        let rules: Vec<DeviceRule> = rules.iter().map(device_rule).collect();
        let directory = rustix::fs::open(
            self.directory(""),
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        cgroup_device::restrict(directory, &rules)
    }

    /// Kills what is left in it and removes it. Returns what could not be removed, in words.
    pub(crate) fn remove(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let deadline = Instant::now() + REMOVE_TIMEOUT;
        for directory in self.directories() {
            loop {
                match remove_tree(&directory) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(error)
                        if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
                    {
                        let _ = self.kill(rustix::process::Signal::KILL.as_raw());
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    Err(error) => {
                        failures.push(format!("remove cgroup {}: {error}", directory.display()));
                        break;
                    }
                }
            }
        }
        failures
    }

    fn read(&self, controller: &str, file: &str) -> String {
        fs_err::read_to_string(self.directory(controller).join(file)).unwrap_or_default()
    }
}

/// What 10 to 1000 is among 1 to 10000, as runc has it.
fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

/// The value after `key` in lines of `key value`.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

fn device_rule(rule: &Value) -> DeviceRule {
    let access = rule["access"].as_str().unwrap_or("rwm");
    let number = |key: &str| rule[key].as_u64().and_then(|number| u32::try_from(number).ok());
    DeviceRule {
        allow: rule["allow"].as_bool().unwrap_or(false),
        kind: match rule["type"].as_str() {
            Some("b") => DeviceKind::Block,
            Some("c") => DeviceKind::Char,
            _ => DeviceKind::All,
        },
        major: number("major"),
        minor: number("minor"),
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    }
}

fn read_pids(directory: &Path, pids: &mut Vec<i32>) -> io::Result<()> {
    let text = fs_err::read_to_string(directory.join("cgroup.procs"))?;
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for entry in fs_err::read_dir(directory)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            read_pids(&entry.path(), pids)?;
        }
    }
    Ok(())
}

/// Removes a cgroup and those beneath (a container with its own engine leaves some).
fn remove_tree(directory: &Path) -> io::Result<()> {
    for entry in fs_err::read_dir(directory)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    fs_err::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_weights_are_runcs() {
        // 17 and more do not fit 16 bits on the way.
        let all = [10, 17, 100, 500, 1000].map(io_weight);
        assert_eq!(all, [1, 71, 910, 4950, 10000]);
    }

    #[test]
    fn keyed_values() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(keyed(text, "oom_kill"), Some(3));
        assert_eq!(keyed(text, "oom"), None);
    }
}
