//! The composition root.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{ConfigFile, Containers, Events, Networks, Result, System, Volumes};

/// Where and how an engine runs.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Persistent data, such as `/var/lib/havre`.
    pub root: PathBuf,
    /// Sockets, namespaces and process state, such as `/run/havre`; gone after a reboot.
    pub state: PathBuf,
    /// The havre binary, re-executed as the shim; `None`: this process's own.
    pub shim_exe: Option<PathBuf>,
    pub config: ConfigFile,
}

/// A running engine; clones share it.
#[derive(Clone)]
pub struct Engine(Arc<()>);

#[allow(clippy::todo, unused_variables)]
impl Engine {
    /// Opens the root, recovers what an earlier engine left, and serves.
    pub async fn start(options: EngineOptions) -> Result<Engine> {
        todo!()
    }
    /// Stops working: containers go on unless `live_restore` is off… they always go on.
    pub async fn shutdown(&self) {
        todo!()
    }
    pub fn containers(&self) -> &Containers {
        todo!()
    }
    pub fn volumes(&self) -> &Volumes {
        todo!()
    }
    pub fn networks(&self) -> &Networks {
        todo!()
    }
    pub fn events(&self) -> &Events {
        todo!()
    }
    pub fn images(&self) -> &crate::Images {
        todo!()
    }
    pub fn builds(&self) -> &crate::Builds {
        todo!()
    }
    pub fn system(&self) -> &System {
        todo!()
    }
}
