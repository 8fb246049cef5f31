//! The three engines, each with a root of its own on the volume it was given.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use fs_err as fs;

use super::volume::{Volume, done};
use crate::Outcome;

pub(super) struct Engine {
    pub(super) name: String,
    client: Vec<String>,
    environment: Vec<(String, String)>,
    daemon: Option<Child>,
    folder: PathBuf,
    /// Docker only: whether client and daemon speak BuildKit, too.
    buildkit: bool,
}

/// Environment of a builder, and what it adds to the names of rows.
pub(super) type Builder = (Vec<(String, String)>, &'static str);
/// Behind the name of a row.
const WITH_BUILDKIT: &str = "; docker with BuildKit";

impl Engine {
    pub(super) fn start(name: &str, havre: &Path, volume: &Volume) -> Outcome<Self> {
        let folder = volume.path().to_owned();
        let socket = folder.join("engine.sock");
        let host = ("DOCKER_HOST".to_owned(), format!("unix://{}", socket.display()));
        let log = || fs::File::create(folder.join("daemon.log")).map(|file| Stdio::from(file.into_file()));
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut engine = match name {
            "havre" => {
                let config = folder.join("config.toml");
                fs::write(
                    &config,
                    "[network]\nbridge = \"havre-bench\"\ntable = \"havre-bench\"\n",
                )?;
                let daemon = Command::new(havre)
                    .args([
                        "daemon",
                        "--root",
                        &text(&folder.join("root")),
                        "--socket",
                        &text(&socket),
                    ])
                    .args(["--config", &text(&config)])
                    .stdout(log()?)
                    .stderr(log()?)
                    .spawn()?;
                Self {
                    name: name.into(),
                    client: vec![text(havre)],
                    environment: vec![host],
                    daemon: Some(daemon),
                    folder,
                    buildkit: false,
                }
            }
            "docker" => {
                let daemon = Command::new("dockerd")
                    .args([
                        "--data-root",
                        &text(&folder.join("root")),
                        "--exec-root",
                        &text(&folder.join("exec")),
                    ])
                    .args([
                        "--pidfile",
                        &text(&folder.join("pid")),
                        "-H",
                        &host.1,
                        "--storage-driver",
                        "overlay2",
                    ])
                    .stdout(log()?)
                    .stderr(log()?)
                    .spawn()?;
                // Its default; builds are measured with BuildKit as well.
                let environment = vec![host, ("DOCKER_BUILDKIT".into(), "0".into())];
                Self {
                    name: name.into(),
                    client: vec![official_client()?],
                    environment,
                    daemon: Some(daemon),
                    folder,
                    buildkit: false,
                }
            }
            "podman" => {
                let client = [
                    "podman",
                    "--root",
                    &text(&folder.join("root")),
                    "--runroot",
                    &text(&folder.join("run")),
                ]
                .iter()
                .map(|word| (*word).to_owned())
                .chain(
                    [
                        "--storage-driver",
                        "overlay",
                        "--cgroup-manager",
                        "cgroupfs",
                        "--runtime",
                        podmans_runtime(),
                    ]
                    .map(str::to_owned),
                )
                .collect();
                // Podman asks for more open files than a process without CAP_SYS_RESOURCE may have.
                let settings = folder.join("containers.conf");
                fs::write(
                    &settings,
                    "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n",
                )?;
                let environment = vec![("CONTAINERS_CONF".to_owned(), text(&settings))];
                Self {
                    name: name.into(),
                    client,
                    environment,
                    daemon: None,
                    folder,
                    buildkit: false,
                }
            }
            _ => return Err(format!("no engine called {name}").into()),
        };
        if engine.daemon.is_some() {
            engine.wait_until_ready()?;
        }
        if name == "docker" {
            engine.buildkit = engine.has_buildkit()?;
        }
        Ok(engine)
    }

    fn has_buildkit(&self) -> Outcome<bool> {
        let context = self.folder.join("empty");
        fs::create_dir_all(&context)?;
        fs::write(context.join("Dockerfile"), "FROM scratch\nLABEL a=b\n")?;
        let mut command = self.command(&["build", "-q", &context.to_string_lossy()]);
        let status = command.env("DOCKER_BUILDKIT", "1").output()?.status;
        if !status.success() {
            eprintln!("docker: this client has no BuildKit: the rows with it show the others' times alone");
        }
        Ok(status.success())
    }

    /// Its builders.
    pub(super) fn builders(&self) -> Vec<Builder> {
        let buildkit = vec![("DOCKER_BUILDKIT".to_owned(), "1".to_owned())];
        let mut builders = vec![(Vec::new(), "")];
        if self.buildkit {
            builders.push((buildkit, WITH_BUILDKIT));
        }
        builders
    }

    fn wait_until_ready(&mut self) -> Outcome {
        let patience = Instant::now() + Duration::from_secs(60);
        while Instant::now() < patience {
            if self.command(&["version"]).output()?.status.success() {
                return Ok(());
            }
            if let Some(daemon) = &mut self.daemon
                && let Some(status) = daemon.try_wait()?
            {
                break_with_log(&self.folder, &format!("{} ended: {status}", self.name))?;
            }
            thread::sleep(Duration::from_millis(50));
        }
        break_with_log(&self.folder, &format!("{} does not answer", self.name))
    }

    /// The rows that a measured build belongs to: those of an engine with one builder stand beside both of Docker's.
    pub(super) fn rows_of(&self, row: &str, note: &str) -> Vec<String> {
        match self.name.as_str() {
            "docker" => vec![format!("{row}{note}")],
            _ => vec![row.to_owned(), format!("{row}{WITH_BUILDKIT}")],
        }
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.client[0]);
        command
            .args(&self.client[1..])
            .args(args)
            .envs(self.environment.clone())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the client to its end.
    pub(super) fn run(&self, args: &[&str]) -> Outcome<String> {
        done(&mut self.command(args))
    }

    /// The same, timed.
    pub(super) fn time(&self, args: &[&str]) -> Outcome<Duration> {
        self.time_with(args, &[])
    }

    /// The same in another environment.
    pub(super) fn time_with(&self, args: &[&str], environment: &[(String, String)]) -> Outcome<Duration> {
        let mut command = self.command(args);
        command.envs(environment.iter().cloned());
        let started = Instant::now();
        done(&mut command)?;
        Ok(started.elapsed())
    }

    pub(super) fn pull_args<'a>(&self, reference: &'a str) -> Vec<&'a str> {
        match self.name.as_str() {
            "podman" => vec!["pull", "-q", "--tls-verify=false", reference],
            _ => vec!["pull", "-q", reference],
        }
    }

    pub(super) fn push_args<'a>(&self, reference: &'a str) -> Vec<&'a str> {
        match self.name.as_str() {
            "podman" => vec!["push", "-q", "--tls-verify=false", reference],
            _ => vec!["push", "-q", reference],
        }
    }

    /// What its client finds the daemon by.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        self.environment.clone()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Proportional set size in bytes of the daemon (with what it started beside containers), and what on average stays
    /// behind for each of these running containers.
    pub(super) fn memory(&self, containers: &[String]) -> Outcome<(Option<u64>, u64)> {
        let mut processes = BTreeMap::new();
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            let Some(pid) = path
                .file_name()
                .and_then(|name| name.to_str()?.parse::<u32>().ok())
            else {
                continue;
            };
            let (Ok(line), Ok(stat)) = (
                fs::read(path.join("cmdline")),
                fs::read_to_string(path.join("stat")),
            ) else {
                continue;
            };
            let parent = stat
                .rsplit_once(')')
                .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
            processes.insert(
                pid,
                (
                    String::from_utf8_lossy(&line).into_owned(),
                    parent.unwrap_or(0_u32),
                    path,
                ),
            );
        }
        // Shims and monitors carry the full ID of their container among their arguments; so may what it runs, which is
        // their child.
        let names = |line: &str| containers.iter().any(|id| line.contains(id.as_str()));
        let shims = processes.values().filter(|(line, parent, _)| {
            names(line)
                && !processes
                    .get(parent)
                    .is_some_and(|(parent_line, ..)| names(parent_line))
        });
        let shims: u64 = shims.map(|(.., path)| proportional_set(path)).sum();
        let daemon = self.daemon.as_ref().map(|daemon| {
            let own = |pid: &u32, parent: u32| *pid == daemon.id() || parent == daemon.id();
            let all = processes
                .iter()
                .filter(|(pid, (line, parent, _))| own(pid, *parent) && !names(line));
            all.map(|(_, (.., path))| proportional_set(path)).sum()
        });
        Ok((daemon, shims / (containers.len() as u64).max(1)))
    }

    pub(super) fn stop(mut self) {
        let ids = self.run(&["ps", "-aq"]).unwrap_or_default();
        let ids: Vec<&str> = ids.lines().collect();
        if !ids.is_empty() {
            let _ = self.run(&[&["rm", "-f"], ids.as_slice()].concat());
        }
        if let Some(mut daemon) = self.daemon.take() {
            if let Some(pid) = rustix::process::Pid::from_raw(daemon.id() as i32) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let _ = daemon.wait();
        }
        if self.name == "havre" {
            // Its bridge and rules stay for the next daemon, of which there may be none.
            let _ = Command::new("ip")
                .args(["link", "delete", "havre-bench"])
                .output();
            let _ = Command::new("nft")
                .args(["delete", "table", "inet", "havre-bench"])
                .output();
        }
    }
}

/// The real docker client: what PATH offers that is not this project's binary under that name; among several the one of the
/// daemon's version, which has the daemon's BuildKit.
pub(super) fn official_client() -> Outcome<String> {
    let mut found = Vec::new();
    for folder in std::env::var("PATH").unwrap_or_default().split(':') {
        let candidate = Path::new(folder).join("docker");
        if candidate.exists() && !fs::canonicalize(&candidate)?.ends_with("havre") {
            found.push(candidate.to_string_lossy().into_owned());
        }
    }
    let version = |program: &str| {
        let said = done(Command::new(program).arg("--version")).unwrap_or_default();
        said.split([' ', ',']).nth(2).map(str::to_owned)
    };
    let daemon = version("dockerd");
    let same = found.iter().position(|client| version(client) == daemon);
    if found.is_empty() {
        return Err("no docker client on PATH".into());
    }
    Ok(found.swap_remove(same.unwrap_or(0)))
}

/// The faster crun where it works: Debian 12's refuses machines with both versions of cgroups.
fn podmans_runtime() -> &'static str {
    let hybrid = Path::new("/sys/fs/cgroup/unified").exists();
    let installed = done(Command::new("crun").arg("--version")).is_ok();
    if installed && !hybrid { "crun" } else { "runc" }
}

fn break_with_log(folder: &Path, what: &str) -> Outcome {
    let log = fs::read_to_string(folder.join("daemon.log")).unwrap_or_default();
    let tail: Vec<&str> = log.lines().rev().take(15).collect();
    Err(format!(
        "{what}\n{}",
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    )
    .into())
}

/// Memory of a process (its folder in `/proc`) in bytes, what it shares divided among those who share it.
pub(super) fn proportional_set(process: &Path) -> u64 {
    let rollup = fs::read_to_string(process.join("smaps_rollup")).unwrap_or_default();
    let kilobytes = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok());
    kilobytes.unwrap_or(0_u64) * 1024
}
