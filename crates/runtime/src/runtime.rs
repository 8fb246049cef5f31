//! The service: starts shims, finds them again, removes what they leave.

use std::path::PathBuf;

use crate::error::{RuntimeError, StartError};
use crate::shim_client::{ExitStatus, Shim};
use crate::spec::ContainerSpec;

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
    /// Makes the state directory (0700) and seals a copy of the shim program.
    pub fn new(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        Ok(Runtime { config })
    }

    /// Starts a shim and creates the container in it: namespaces, mounts and cgroups exist, the program does not run
    /// until [`Shim::start`]. On failure nothing is left.
    pub fn create(&self, _spec: &ContainerSpec) -> Result<Shim, StartError> {
        let _ = &self.config;
        todo!()
    }

    /// Finds a container again after the daemon was restarted.
    pub fn reattach(&self, _id: &str) -> Result<Reattached, RuntimeError> {
        todo!()
    }

    /// A handle on a container's shim; does no I/O.
    pub fn shim(&self, _id: &str) -> Shim {
        todo!()
    }

    /// Ids of all containers that have anything in the state directory.
    pub fn list(&self) -> Result<Vec<String>, RuntimeError> {
        todo!()
    }

    /// Removes everything of a container: kills what still runs, ends the shim, removes cgroups, sockets and
    /// directories. Idempotent; goes on after a failure and reports all of them.
    pub fn delete(&self, _id: &str) -> Result<(), RuntimeError> {
        todo!()
    }
}
