//! The service: starts shims, finds them again, removes what they leave.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use havre_sys::seal::SealedProgram;

use crate::anticipation::Anticipation;
use crate::cgroup::{Abilities, Cgroup};
use crate::error::{RuntimeError, StartError};
use crate::external::ExternalRuntime;
use crate::protocol::{self, Reply, Setup};
use crate::shim_client::{ExitStatus, Shim};
use crate::spec::{self, ContainerSpec, Filter, Filters, NamespaceMode, SpecError};
use crate::timings::Timings;

/// Names, in the directory of a container, the cgroup that its own is in.
const CGROUP_PARENT: &str = "cgroup-parent";

/// Where a [`Runtime`] works.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Program that becomes the shim, and the arguments before the shim's own (`["shim"]` for the `havre` binary).
    /// `None` is the running program itself.
    pub shim_program: Option<PathBuf>,
    pub shim_args: Vec<String>,
    /// Directory of sockets and bundles, on a file system that a reboot empties (`/run/havre/<root hash>`).
    pub state_dir: PathBuf,
    /// Cgroup all containers are put under, without leading slash (`havre`); its last component must be ours alone.
    pub cgroup_parent: String,
}

/// Starts containers. Cheap to share between threads.
#[derive(Debug)]
pub struct Runtime {
    config: RuntimeConfig,
    program: SealedProgram,
    filters: Filters,
    anticipation: Anticipation,
}

/// What became of a container while the daemon was away.
#[derive(Debug)]
pub enum Reattached {
    /// Its shim is alive and the container is created or running; see [`Shim::state`].
    Running(Shim),
    /// It ended; the shim recorded how.
    Exited(ExitStatus),
    /// Neither shim nor exit status: the machine was rebooted, or the shim was killed.
    Gone,
}

impl Runtime {
    /// Makes the state directory (0700) and seals the shim program against being overwritten by a container.
    pub fn new(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        make_directory(&config.state_dir, true)?;
        let path = match &config.shim_program {
            Some(path) => path.clone(),
            None => std::env::current_exe().map_err(|source| RuntimeError::Io {
                action: "find the program of",
                path: "/proc/self/exe".into(),
                source,
            })?,
        };
        let program = SealedProgram::new(&path).map_err(|source| RuntimeError::Io {
            action: "seal the program",
            path,
            source,
        })?;
        Ok(Runtime {
            config,
            program,
            filters: Filters::default(),
            anticipation: Anticipation::default(),
        })
    }

    /// A container or a further process will probably be made within the next 100 ms: what takes the kernel a while,
    /// once, is begun. Returns at once.
    pub fn anticipate(&self) {
        self.anticipation.begin();
    }

    /// Starts a shim and creates the container in it: namespaces, mounts and cgroups exist, the program does not run
    /// until [`Shim::start`]. On failure nothing is left.
    pub fn create(&self, spec: &ContainerSpec) -> Result<Shim, StartError> {
        self.create_timed(spec, &Timings::off())
    }

    /// As [`create`](Self::create), and says where the time goes.
    pub fn create_timed(&self, spec: &ContainerSpec, timings: &Timings) -> Result<Shim, StartError> {
        self.anticipate();
        spec::check_id(&spec.id).map_err(RuntimeError::from)?;
        let directory = self.directory(&spec.id);
        let cgroup_path = match &spec.cgroup_parent {
            Some(parent) => beneath(parent, &spec.id),
            None => beneath(&self.config.cgroup_parent, &spec.id),
        };
        timings.stage("cgroups", || Cgroup::new(&*cgroup_path).prepare());
        let bundle = timings
            .stage("specification", || spec::bundle(spec, &cgroup_path, &directory))
            .map_err(start_error)?;
        let filter = match &bundle.seccomp {
            Some(profile) => Some(
                timings
                    .stage("seccomp filter", || self.filters.get(profile))
                    .map_err(start_error)?,
            ),
            None => None,
        };
        match make_directory(&directory, false) {
            Err(RuntimeError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                return Err(RuntimeError::Exists { id: spec.id.clone() }.into());
            }
            result => result?,
        }
        if let Some(parent) = &spec.cgroup_parent {
            let path = directory.join(CGROUP_PARENT);
            fs_err::write(&path, parent).map_err(|source| RuntimeError::Io {
                action: "write",
                path,
                source,
            })?;
        }
        let shim = self.shim(&spec.id);
        let setup = Setup {
            id: spec.id.clone(),
            directory: directory.clone(),
            cgroup: cgroup_path.clone(),
            tty: spec.tty,
            tty_size: spec.tty_size,
            stdin: spec.stdin,
            stdin_once: spec.stdin_once,
            init: spec.init,
            uid: bundle
                .stage
                .as_ref()
                .map_or(Some(bundle.user.uid), |stage| {
                    stage.map.uid_outside(bundle.user.uid)
                })
                .unwrap_or(bundle.user.uid),
            stage: bundle.stage,
            shared_pids: !matches!(spec.pid_mode, NamespaceMode::Private),
            device_rules: bundle.device_rules,
            capabilities: bundle.capabilities,
            no_new_privileges: spec.no_new_privileges,
            seccomp_flags: filter.as_ref().map(|filter| filter.flags),
            log: spec.log.clone(),
            runtime: spec.runtime.clone(),
        };
        if let Some(runtime) = &spec.runtime {
            runtime.note(&directory).map_err(|source| RuntimeError::Io {
                action: "note the runtime in",
                path: directory.clone(),
                source,
            })?;
        }
        let result = self
            .spawn(&setup, &bundle.config, filter.as_ref(), timings)
            .and_then(|()| {
                let cgroup = Cgroup::new(&*cgroup_path);
                Ok(cgroup.complete(&spec.resources)?)
            });
        if result.is_err()
            && let Err(error) = self.delete(&spec.id)
        {
            tracing::warn!(%error, "could not clean up after a container that was not created");
        }
        result.map(|()| shim)
    }

    /// Finds a container again after the daemon was restarted.
    pub fn reattach(&self, id: &str) -> Result<Reattached, RuntimeError> {
        spec::check_id(id)?;
        let shim = self.shim(id);
        match shim.state() {
            Ok(state) => match state.exit {
                Some(exit) => Ok(Reattached::Exited(exit)),
                None => Ok(Reattached::Running(shim)),
            },
            Err(RuntimeError::ShimGone { .. }) => Ok(Reattached::Gone),
            Err(error) => Err(error),
        }
    }

    /// What containers can be limited in here.
    pub fn abilities(&self) -> Abilities {
        Cgroup::new(self.cgroup_path("any")).abilities()
    }

    /// A handle on a container's shim; does no I/O.
    pub fn shim(&self, id: &str) -> Shim {
        Shim::new(id, self.directory(id), Cgroup::new(self.cgroup_path(id)))
    }

    /// Ids of all containers that have anything in the state directory.
    pub fn list(&self) -> Result<Vec<String>, RuntimeError> {
        let fail = |source| RuntimeError::Io {
            action: "list",
            path: self.config.state_dir.clone(),
            source,
        };
        let mut ids = Vec::new();
        for entry in fs_err::read_dir(&self.config.state_dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if let Ok(name) = entry.file_name().into_string()
                && entry.file_type().map_err(fail)?.is_dir()
                && spec::check_id(&name).is_ok()
            {
                ids.push(name);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes everything of a container: kills what still runs, ends the shim, removes cgroups, sockets and
    /// directories. Idempotent; goes on after a failure and reports all of them.
    pub fn delete(&self, id: &str) -> Result<(), RuntimeError> {
        spec::check_id(id)?;
        let mut failures = Vec::new();
        if let Err(error) = self.shim(id).shutdown() {
            failures.push(format!("end its shim: {error}"));
        }
        let directory = self.directory(id);
        if let Some(runtime) = ExternalRuntime::of(&directory) {
            failures.extend(runtime.delete(&directory, id).err());
        }
        failures.extend(Cgroup::new(self.cgroup_path(id)).remove());
        match fs_err::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => failures.push(error.to_string()),
            _ => {}
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(RuntimeError::Delete {
                id: id.to_owned(),
                failures,
            })
        }
    }

    fn directory(&self, id: &str) -> PathBuf {
        self.config.state_dir.join(id)
    }

    /// A container made with a parent of its own says so in its directory.
    fn cgroup_path(&self, id: &str) -> String {
        match fs_err::read_to_string(self.directory(id).join(CGROUP_PARENT)) {
            Ok(parent) => beneath(&parent, id),
            Err(_) => beneath(&self.config.cgroup_parent, id),
        }
    }

    fn spawn(
        &self,
        setup: &Setup,
        config: &serde_json::Value,
        filter: Option<&Filter>,
        timings: &Timings,
    ) -> Result<(), StartError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| RuntimeError::Io { action, path, source }
        };
        let directory = &setup.directory;
        let bundle = directory.join("bundle");
        make_directory(&bundle, false)?;
        let path = bundle.join("config.json");
        let text = serde_json::to_vec(config)
            .map_err(io::Error::from)
            .map_err(io("encode", &path))?;
        fs_err::write(&path, text).map_err(io("write", &path))?;
        if let Some(filter) = filter {
            let path = bundle.join("seccomp.bpf");
            fs_err::write(&path, &filter.program).map_err(io("write", &path))?;
        }
        let errors = directory.join("shim.err");
        let error_file = fs_err::File::create(&errors).map_err(io("create", &errors))?;

        let spawn_error = |source| RuntimeError::Spawn {
            id: setup.id.clone(),
            source,
        };
        let (ours, theirs) = UnixStream::pair().map_err(spawn_error)?;
        let mut command = Command::new(self.program.path());
        command
            .arg0("havre")
            .args(&self.config.shim_args)
            .arg(&setup.id)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(error_file.into_parts().0));
        let started = timings.stage("shim process", || {
            let mut child = command.spawn()?;
            let sent = protocol::send(&ours, setup);
            drop(command);
            Ok((child.wait()?, sent))
        });
        // The process we started ends at once; the shim is its child and answers for itself.
        let (status, sent) = started.map_err(spawn_error)?;
        let reply = timings.stage("namespaces and mounts", || {
            sent.and_then(|()| protocol::receive::<Reply>(&ours))
        });
        match reply {
            Ok(Reply::State(_)) => Ok(()),
            Ok(Reply::Failed(failure)) => Err(failure.into_start_error(&setup.id)),
            Ok(reply) => Err(RuntimeError::Protocol {
                id: setup.id.clone(),
                detail: format!("{reply:?}"),
            }
            .into()),
            Err(error) => {
                let said = fs_err::read_to_string(&errors).unwrap_or_default();
                let source = io::Error::other(format!("{error}; {status}; {}", said.trim()));
                Err(spawn_error(source).into())
            }
        }
    }
}

/// A missing user or a working directory that cannot be made stops the program, not the runtime.
fn start_error(error: SpecError) -> StartError {
    match error {
        SpecError::UnknownUser { .. }
        | SpecError::UnknownGroup { .. }
        | SpecError::IdRange
        | SpecError::NotMapped { .. } => StartError::Setup {
            message: error.to_string(),
        },
        SpecError::CreateWorkingDirectory { ref path, ref source } => {
            let reason = crate::error::errno_text(source);
            StartError::WorkingDirectory {
                path: path.clone(),
                message: format!("mkdir {path}: {reason}"),
            }
        }
        error => StartError::Runtime(error.into()),
    }
}

/// A directory for root alone. Parents that are missing can be passed through: the daemon's socket may be among them.
fn beneath(parent: &str, id: &str) -> String {
    match parent.trim_matches('/') {
        "" => format!("/{id}"),
        parent => format!("/{parent}/{id}"),
    }
}

fn make_directory(path: &Path, parents: bool) -> Result<(), RuntimeError> {
    let create = |path: &Path, mode, recursive| {
        std::fs::DirBuilder::new()
            .mode(mode)
            .recursive(recursive)
            .create(path)
            .map_err(|source| RuntimeError::Io {
                action: "create directory",
                path: path.to_owned(),
                source,
            })
    };
    if let (true, Some(parent)) = (parents, path.parent()) {
        create(parent, 0o711, true)?;
    }
    create(path, 0o700, parents)
}
