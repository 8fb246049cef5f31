//! The user namespace of a container: whether it has one, whose it is, and what it excludes.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use havre_sys::userns::{IdMap, Owner, is_same};

use super::record::Record;
use super::validate::{self, NetworkMode, Sharing};
use super::{HostConfig, Inner, Status, spec};
use crate::remap::{Remap, map_of};
use crate::{EngineError, Result};

/// The ids of a container; `None` if they are the host's.
pub(super) fn of<'a>(inner: &'a Inner, host: &HostConfig) -> Option<&'a Remap> {
    inner.remap.as_ref().filter(|_| host.userns_mode != "host")
}

/// The ids of a container that runs, whatever the engine's are now; `None` if they are the host's.
pub(super) fn live(record: &Record) -> Result<Option<IdMap>> {
    match record.state.status {
        Status::Running | Status::Paused => map_of(record.state.pid),
        _ => Ok(None),
    }
}

/// Refuses what would have rights over a namespace of the host.
pub(super) fn check(inner: &Inner, host: &HostConfig, mode: &NetworkMode) -> Result<()> {
    if of(inner, host).is_none() {
        return Ok(());
    }
    let refused = |text: &str| Err(EngineError::invalid(text));
    if host.privileged {
        return refused(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when \
             running privileged mode",
        );
    }
    if *mode == NetworkMode::Host {
        return refused("cannot share the host's network namespace when user namespaces are enabled");
    }
    if validate::pid_mode(host)? == Sharing::Host {
        return refused("cannot share the host PID namespace when user namespaces are enabled");
    }
    Ok(())
}

/// Makes the network namespace of a container, which its user namespace goes with. One that shares namespaces of another
/// container shares its user namespace, too: it could not enter them otherwise.
pub(super) fn make_network(inner: &Inner, record: &Record, mode: &NetworkMode) -> Result<PathBuf> {
    let Some(remap) = of(inner, &record.host_config) else {
        return Ok(inner.network.sandbox_create(&record.id)?);
    };
    let joined = joined(inner, remap, &record.host_config, mode)?;
    let owner = match &joined {
        Some(namespace) => Owner::Existing(namespace.as_fd()),
        None => Owner::New(&remap.map),
    };
    Ok(inner.network.sandbox_create_in(&record.id, Some(owner))?)
}

/// The user namespace of the containers that this one shares namespaces with.
pub(super) fn joined(
    inner: &Inner,
    remap: &Remap,
    host: &HostConfig,
    mode: &NetworkMode,
) -> Result<Option<OwnedFd>> {
    let mut shared = Vec::new();
    if let NetworkMode::Container(other) = mode {
        shared.push((other.clone(), "network"));
    }
    for (sharing, what) in [
        (validate::pid_mode(host)?, "PID"),
        (validate::ipc_mode(host)?, "IPC"),
    ] {
        if let Sharing::Container(other) = sharing {
            shared.push((other, what));
        }
    }
    let mut joined: Option<OwnedFd> = None;
    for (other, what) in shared {
        let refused = |reason: &str| {
            EngineError::conflict(format!(
                "cannot join {what} namespace of container {other}: {reason}"
            ))
        };
        let pid = spec::running_pid(inner, &other, what)?;
        match map_of(pid)? {
            Some(map) if map == remap.map => {}
            Some(_) => {
                return Err(refused(
                    "it was started with other ids of userns-remap; restart it first",
                ));
            }
            None => {
                return Err(refused(
                    "it is in the host's user namespace; use --userns host here, too",
                ));
            }
        }
        let namespace: OwnedFd = fs_err::File::open(format!("/proc/{pid}/ns/user"))?
            .into_file()
            .into();
        match &joined {
            Some(known) if !is_same(known, &namespace)? => {
                return Err(refused(
                    "namespaces of containers with different user namespaces cannot be shared at once",
                ));
            }
            _ => joined = Some(namespace),
        }
    }
    Ok(joined)
}
