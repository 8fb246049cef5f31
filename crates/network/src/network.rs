//! The engine's network: sandboxes and endpoints on the default bridge.

use std::path::{Path, PathBuf};

use crate::config::NetworkConfig;
use crate::endpoint::{BridgeInfo, Endpoint, EndpointRequest};
use crate::error::NetworkError;

/// One engine's default bridge with its sandboxes and endpoints. Cheap to share behind an `Arc`.
///
/// The daemon may die at any moment: namespaces, addresses and firewall rules stay as they are and the next daemon
/// takes them over with [`Network::recover`]. Nothing is removed when a `Network` is dropped.
pub struct Network {
    config: NetworkConfig,
}

impl Network {
    /// Reads the state of an earlier daemon. Touches neither interfaces nor firewall: the bridge appears with the first
    /// endpoint, or with [`Network::ensure_bridge`].
    pub fn open(config: NetworkConfig) -> Result<Self, NetworkError> {
        Ok(Self { config })
    }

    /// Makes the bridge, its address, its firewall table, and turns forwarding on. Idempotent and cheap when all is there.
    pub fn ensure_bridge(&self) -> Result<(), NetworkError> {
        todo!()
    }

    /// Makes a network namespace with only `lo`, which is up, and returns the path that names it. For `--network none`
    /// nothing more is needed; host and `container:` networks need no sandbox at all.
    pub fn sandbox_create(&self, container: &str) -> Result<PathBuf, NetworkError> {
        let _ = container;
        todo!()
    }

    /// The path of a container's namespace, whether it exists or not.
    pub fn sandbox_path(&self, container: &str) -> PathBuf {
        self.config.state_dir.join("netns").join(container)
    }

    /// Connects a container's sandbox to the default bridge: addresses, routes, published ports. On failure nothing
    /// of the endpoint remains.
    pub fn connect(&self, request: &EndpointRequest) -> Result<Endpoint, NetworkError> {
        let _ = request;
        todo!()
    }

    /// Takes a container off the bridge. Its ports are free when this returns; interface and address follow in the
    /// background. Having no endpoint is no error.
    pub fn disconnect(&self, container: &str) -> Result<(), NetworkError> {
        let _ = container;
        todo!()
    }

    /// Lets go of a container's namespace (and disconnects it first, if it still is connected). Having none is no error.
    pub fn sandbox_remove(&self, container: &str) -> Result<(), NetworkError> {
        let _ = container;
        todo!()
    }

    /// Takes over from an earlier daemon: endpoints of the `live` containers get their ports, addresses and rules back
    /// without being touched; everything else of this engine (interfaces, namespaces, rules) is removed. Returns the
    /// ids of live containers whose namespace or endpoint was found gone.
    pub fn recover(&self, live: &[String]) -> Result<Vec<String>, NetworkError> {
        let _ = live;
        todo!()
    }

    /// A container's endpoint.
    pub fn endpoint(&self, container: &str) -> Option<Endpoint> {
        let _ = container;
        todo!()
    }

    /// The default bridge and who is on it. Makes the bridge when it isn't there yet.
    pub fn inspect(&self) -> Result<BridgeInfo, NetworkError> {
        todo!()
    }

    /// Waits until everything handed to the background is gone.
    pub fn flush(&self) {
        todo!()
    }

    /// Removes every endpoint, sandbox, the firewall table and the bridge: the machine is as before. Goes on after a
    /// failure and reports them all.
    pub fn destroy(&self) -> Result<(), NetworkError> {
        todo!()
    }

    /// Directory of this network's state.
    pub fn state_dir(&self) -> &Path {
        &self.config.state_dir
    }
}
