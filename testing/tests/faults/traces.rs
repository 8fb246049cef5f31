//! What an engine and its containers leave on the machine: compared before and after.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use fs_err as fs;
use havre_testing::{Image, TestEngine, eventually};

/// An engine that has `busybox`, has run a container before, and keeps nothing of what is removed.
pub(crate) fn engine() -> TestEngine {
    let engine = TestEngine::with_config("[undo]\nwindow = \"0\"");
    engine.load(&Image::busybox(), "busybox");
    // What the first container leaves for good belongs to the engine: its bridge, the layers' mounts.
    engine.ok("run --rm -p 127.0.0.1::80 busybox true");
    engine
}

/// Counts of everything that could leak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traces {
    /// Mounts beneath the engine's directory that are not layers (which stay mounted while the daemon runs).
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<String>,
    interfaces: BTreeSet<String>,
    /// Lines of the firewall's table, for their number: addresses in them may be others.
    rules: Vec<String>,
    /// Descriptors of the daemon.
    descriptors: usize,
    /// Shims and what lives in containers.
    processes: BTreeSet<String>,
    /// Directories of containers.
    directories: BTreeSet<String>,
}

impl Traces {
    pub(crate) fn of(engine: &TestEngine, containers: &[String]) -> Self {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("the table of mounts");
        let dir = engine.dir().to_string_lossy().into_owned();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let mounts = points.filter(|point| point.starts_with(&dir) && !point.contains("/layers/"));
        let mut cgroups = BTreeSet::new();
        find_cgroups(Path::new("/sys/fs/cgroup"), 0, containers, &mut cgroups);
        let rules = Command::new("nft")
            .args(["list", "table", "inet", engine.table()])
            .output()
            .expect("nft");
        Self {
            mounts: mounts.map(str::to_owned).collect(),
            cgroups,
            interfaces: names("/sys/class/net")
                .into_iter()
                .filter(|name| {
                    fs::read_link(format!("/sys/class/net/{name}/master"))
                        .is_ok_and(|master| master.ends_with(engine.bridge()))
                })
                .collect(),
            rules: String::from_utf8_lossy(&rules.stdout)
                .lines()
                .map(str::to_owned)
                .collect(),
            descriptors: names(&format!("/proc/{}/fd", engine.daemon_pid())).len(),
            processes: names("/proc")
                .into_iter()
                .filter(|pid| pid.parse::<u32>().is_ok())
                .filter(|pid| {
                    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                    let text = [read("cmdline"), read("cgroup")].concat();
                    let text = String::from_utf8_lossy(&text).into_owned();
                    containers.iter().any(|id| text.contains(id))
                })
                .collect(),
            directories: names(&engine.root().join("containers").to_string_lossy()),
        }
    }

    /// How many descriptors the daemon has open.
    pub(crate) fn descriptors(&self) -> usize {
        self.descriptors
    }

    /// What was there before may be gone by now: cleaning goes on after the answer.
    fn is_within(&self, before: &Self) -> bool {
        self.mounts.is_subset(&before.mounts)
            && self.cgroups.is_subset(&before.cgroups)
            && self.interfaces.is_subset(&before.interfaces)
            && self.rules.len() <= before.rules.len()
            // Connections of clients come and go.
            && self.descriptors <= before.descriptors + 8
            && self.processes.is_subset(&before.processes)
            && self.directories.is_subset(&before.directories)
    }

    /// Waits until nothing more is there than before: some cleaning goes on after the answer.
    ///
    /// # Panics
    /// With the difference, when it stays.
    pub(crate) fn assert_same(&self, engine: &TestEngine, containers: &[String]) {
        let mut now = Self::default();
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while std::time::Instant::now() < patience {
            now = Self::of(engine, containers);
            if now.is_within(self) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("before: {self:#?}\nafter: {now:#?}");
    }
}

/// Whether a process is there (and not only its exit status).
pub(crate) fn is_alive(pid: u64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .starts_with('Z')
    })
}

/// Removes every container and waits until nothing of them is left.
pub(crate) fn remove_all(engine: &TestEngine, before: &Traces, seen: &[String]) {
    for id in engine.ok("ps -aq --no-trunc").lines() {
        engine.ok(["rm", "-f", "-v", id]);
    }
    before.assert_same(engine, seen);
    eventually("no process of a container is left", || {
        Traces::of(engine, seen).processes.is_empty()
    });
}

fn names(dir: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn find_cgroups(dir: &Path, depth: usize, containers: &[String], found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let name = path.to_string_lossy().into_owned();
        if containers.iter().any(|id| name.contains(id)) {
            found.insert(name);
        } else if depth < 4 {
            find_cgroups(&path, depth + 1, containers, found);
        }
    }
}
