//! Volumes with options are mounted with the first container that uses them and unmounted with the last.
//!
//! Nothing is remembered across a restart of the daemon: who runs is known from the containers, what is mounted from the
//! kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use havre_sys::mount;

use super::device::Device;
use super::{Volume, Volumes, lock};
use crate::{EngineError, Result};

/// Who has a volume mounted, by the volume's name. Its lock is held while it is mounted, which a server may delay.
#[derive(Debug, Default)]
pub(super) struct Mounted(Mutex<BTreeMap<String, Arc<Mutex<BTreeSet<String>>>>>);

impl Mounted {
    fn users(&self, volume: &str) -> Arc<Mutex<BTreeSet<String>>> {
        lock(&self.0).entry(volume.to_owned()).or_default().clone()
    }
}

impl Volumes {
    /// Makes a volume's data appear in its directory for a container, which holds it.
    pub(crate) fn mount(&self, name: &str, container: &str) -> Result<()> {
        // One that is gone is missed by whoever looks for its directory.
        let Some(volume) = self.find(name) else {
            return Ok(());
        };
        let Some(device) = Device::of(&volume.options) else {
            return Ok(());
        };
        let target = Path::new(&volume.mountpoint);
        let users = self.0.mounted.users(name);
        let mut users = lock(&users);
        let is_mounted = mount::is_mount_point(target)?;
        if users.is_empty() && is_mounted {
            unmount(target)?;
        }
        if users.is_empty() || !is_mounted {
            device.mount(target)?;
        }
        users.insert(container.to_owned());
        Ok(())
    }

    /// Whether something is mounted for it.
    pub(crate) fn has_device(&self, name: &str) -> bool {
        self.find(name)
            .is_some_and(|volume| Device::of(&volume.options).is_some())
    }

    /// A container does not use its volumes any more. Does what it can.
    pub(crate) fn unmount_all(&self, container: &str) {
        let all: Vec<_> = lock(&self.0.mounted.0)
            .iter()
            .map(|(name, users)| (name.clone(), users.clone()))
            .collect();
        for (name, users) in all {
            let mut users = lock(&users);
            if users.remove(container)
                && users.is_empty()
                && let Some(volume) = self.find(&name)
            {
                unmount_or_warn(&volume);
            }
        }
    }

    /// After a start of the daemon, when every container holds its volumes: those that run use them. What else is mounted is
    /// left over.
    pub(crate) fn recover_mounts(&self, is_live: impl Fn(&str) -> bool) {
        for entry in self.table().values() {
            if Device::of(&entry.volume.options).is_none() {
                continue;
            }
            let live: BTreeSet<String> = entry.users.iter().filter(|id| is_live(id)).cloned().collect();
            if live.is_empty() {
                unmount_or_warn(&entry.volume);
            }
            *lock(&self.0.mounted.users(&entry.volume.name)) = live;
        }
    }

    /// Before a volume that nobody uses goes: nothing is deleted through a mount. The caller holds the table.
    pub(super) fn detach(&self, volume: &Volume) -> Result<()> {
        if Device::of(&volume.options).is_some() {
            unmount(Path::new(&volume.mountpoint))?;
            lock(&self.0.mounted.0).remove(&volume.name);
        }
        Ok(())
    }
}

fn unmount_or_warn(volume: &Volume) {
    if let Err(error) = unmount(Path::new(&volume.mountpoint)) {
        tracing::warn!(volume = volume.name, %error, "a volume stays mounted");
    }
}

pub(super) fn unmount(target: &Path) -> Result<()> {
    mount::unmount(target, true)
        .map_err(|error| EngineError::system(format!("{error}: {}", error.source)).with_source(error))
}
