//! Cleaning up after an engine that was killed: everything is found by the engine's own directory and names.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

/// Ends every process whose command line names the directory or a container, or that lives in a container's cgroup.
pub(crate) fn processes(dir: &Path, containers: &[String]) {
    let marker = dir.to_string_lossy().into_owned();
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        let found = matching(&marker, containers);
        if found.is_empty() || Instant::now() > patience {
            return;
        }
        for pid in found {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn matching(marker: &str, containers: &[String]) -> Vec<Pid> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != own)
        .filter(|pid| {
            let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let contains = |bytes: &[u8], text: &str| String::from_utf8_lossy(bytes).contains(text);
            let (cmdline, cgroup) = (read("cmdline"), read("cgroup"));
            let of_engine = contains(&cmdline, marker) && !contains(&read("comm"), "cargo");
            of_engine
                || containers
                    .iter()
                    .any(|id| contains(&cgroup, id) || contains(&cmdline, id))
        })
        .filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
        .collect()
}

/// Lets go of everything mounted at or below the directory.
pub(crate) fn mounts(dir: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(point.replace("\\040", " ")))
        .filter(|point| point.starts_with(dir))
        .collect();
    for point in points.iter().rev() {
        let _ = unmount(point, UnmountFlags::DETACH);
    }
}

/// Removes the cgroups of containers, whichever hierarchy they are in.
pub(crate) fn cgroups(containers: &[String]) {
    fn visit(dir: &Path, depth: usize, containers: &[String]) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for path in entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
        {
            if depth < 4 {
                visit(&path, depth + 1, containers);
            }
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if containers.iter().any(|id| name.contains(id.as_str())) {
                let _ = fs::remove_dir(&path);
            }
        }
    }
    visit(Path::new("/sys/fs/cgroup"), 0, containers);
}

/// Removes the bridge and what else was made for networks, the firewall table, and exceptions in others. `state` is the engine's state directory.
pub(crate) fn network(bridge: &str, table: &str, state: &Path) {
    let quietly = |program: &str, arguments: &[&str]| {
        let _ = Command::new(program).args(arguments).output();
    };
    let named = |directory: &str| {
        let entries = fs::read_dir(state.join("network").join(directory));
        let names = entries.into_iter().flatten().flatten();
        names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect::<Vec<_>>()
    };
    for interface in named("bridges")
        .into_iter()
        .chain(named("parents"))
        .chain([bridge.to_owned()])
    {
        quietly("ip", &["link", "delete", &interface]);
    }
    for bridge in named("admitted") {
        for (program, chain) in [
            ("iptables", "DOCKER-USER"),
            ("iptables", "FORWARD"),
            ("ip6tables", "DOCKER-USER"),
            ("ip6tables", "FORWARD"),
        ] {
            for direction in ["-i", "-o"] {
                quietly(
                    program,
                    &["-w", "5", "-D", chain, direction, &bridge, "-j", "ACCEPT"],
                );
            }
        }
    }
    quietly("nft", &["delete", "table", "inet", table]);
}
