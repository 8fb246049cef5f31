//! The volume service: the `local` driver.
//!
//! A volume is a directory of the store. With a type and a device, something else is mounted there while containers use it: then neither
//! its bytes nor their fate are the store's, so `system df` leaves it out and `prune` leaves it alone, as Docker's do.

mod device;
mod mounted;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use device::Device;
use fs_err as fs;
use havre_store::{Operation, Store, Taken};
use jiff::Timestamp;
use mounted::Mounted;
use serde::{Deserialize, Serialize};

use crate::error::blocking;
use crate::{EngineError, ErrorKind, Event, EventType, Events, Filters, Result};

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub name: String,
    pub driver: String,
    /// Path of its data on the host.
    pub mountpoint: String,
    pub created: Timestamp,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    /// Made for one container without a name.
    pub anonymous: bool,
}

/// With its usage, for `system df -v`.
#[derive(Debug, Clone)]
pub struct VolumeUsage {
    pub volume: Volume,
    pub size: u64,
    /// Containers that refer to it.
    pub references: u64,
}

#[derive(Debug, Clone, Default)]
pub struct CreateVolume {
    /// Empty: a random 64-digit name, anonymous.
    pub name: String,
    /// Empty or `local`.
    pub driver: String,
    pub driver_options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default)]
pub struct VolumesPruned {
    pub names: Vec<String>,
    pub reclaimed: u64,
}

/// Kind of the documents in the store's database.
pub(crate) const KIND: &str = "volume";

/// Named and anonymous volumes: directories `volumes/<name>/_data` of the store and a document each.
#[derive(Clone)]
pub struct Volumes(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    events: Events,
    table: Mutex<BTreeMap<String, Entry>>,
    mounted: Mounted,
}

struct Entry {
    volume: Volume,
    /// Ids of the containers that refer to it.
    users: BTreeSet<String>,
    /// Made without a name for this container, since the engine started.
    made_for: Option<String>,
}

impl Volumes {
    /// Reads the documents; removes directories that never became volumes.
    pub(crate) fn open(store: Arc<Store>, events: Events) -> Result<Self> {
        let mut table = BTreeMap::new();
        for document in store.meta().documents(KIND)? {
            let volume = read(&document.body)
                .map_err(|error| error.context(format!("the record of volume {}", document.id)))?;
            table.insert(
                volume.name.clone(),
                Entry {
                    volume,
                    users: BTreeSet::new(),
                    made_for: None,
                },
            );
        }
        let volumes = Volumes(Arc::new(Inner {
            store,
            events,
            table: Mutex::new(table),
            mounted: Mounted::default(),
        }));
        volumes.sweep()?;
        Ok(volumes)
    }

    /// An existing volume of that name is returned as it is.
    pub async fn create(&self, request: CreateVolume) -> Result<Volume> {
        let volumes = self.clone();
        blocking(move || volumes.ensure(request, None)).await
    }

    /// dangling driver label name
    pub async fn list(&self, filters: Filters) -> Result<Vec<Volume>> {
        filters.only(&["dangling", "driver", "label", "label!", "name"])?;
        let dangling = filters.boolean("dangling")?;
        let shown = |entry: &&Entry| {
            dangling.is_none_or(|dangling| entry.users.is_empty() == dangling)
                && filters.exact("driver", &entry.volume.driver)
                && filters.any("name", |part| entry.volume.name.contains(part))
                && filters.labels(&entry.volume.labels)
        };
        Ok(self
            .table()
            .values()
            .filter(shown)
            .map(|entry| entry.volume.clone())
            .collect())
    }

    pub async fn inspect(&self, name: &str) -> Result<Volume> {
        self.find(name).ok_or_else(|| no_such_volume(name))
    }

    /// Conflict while a container uses it. `force`: a missing one is no error. It can be brought back as part of `operation`,
    /// if there is one.
    pub async fn remove(&self, name: &str, force: bool, operation: Option<Operation>) -> Result<()> {
        let (volumes, name) = (self.clone(), name.to_owned());
        blocking(move || match volumes.take(&name, operation.as_ref()) {
            Err(error) if force && error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        })
        .await
    }

    /// Filters: all label, and those of a list.
    pub async fn prune(&self, filters: Filters, operation: Option<Operation>) -> Result<VolumesPruned> {
        let unused = self.prunable(&filters)?;
        let volumes = self.clone();
        blocking(move || {
            let mut pruned = VolumesPruned::default();
            for volume in unused {
                let size = size_of(Path::new(&volume.mountpoint));
                // One that came into use meanwhile stays.
                if volumes.take(&volume.name, operation.as_ref()).is_ok() {
                    pruned.reclaimed += size;
                    pruned.names.push(volume.name);
                }
            }
            volumes
                .0
                .events
                .publish(Event::new(EventType::Volume, "prune", "").with("reclaimed", pruned.reclaimed));
            Ok(pruned)
        })
        .await
    }

    /// The volumes a prune with these filters removes.
    pub(crate) fn prunable(&self, filters: &Filters) -> Result<Vec<Volume>> {
        self.prunable_after(filters, &BTreeSet::new())
    }

    /// Those once these containers are gone.
    pub(crate) fn prunable_after(&self, filters: &Filters, gone: &BTreeSet<&str>) -> Result<Vec<Volume>> {
        filters.only(&["all", "driver", "label", "label!", "name"])?;
        let all = filters.boolean("all")?.unwrap_or(false);
        let table = self.table();
        let unused = table.values().filter(|entry| {
            let mut users = entry.users.iter();
            users.all(|user| gone.contains(user.as_str()))
                && (all || entry.volume.anonymous)
                && Device::of(&entry.volume.options).is_none()
        });
        let wanted = unused.map(|entry| &entry.volume).filter(|volume| {
            filters.exact("driver", &volume.driver)
                && filters.any("name", |part| volume.name.contains(part))
                && filters.labels(&volume.labels)
        });
        Ok(wanted.cloned().collect())
    }

    /// Bytes of the store that a volume takes. Walks the directory.
    pub(crate) fn size(&self, volume: &Volume) -> u64 {
        match Device::of(&volume.options) {
            None => size_of(Path::new(&volume.mountpoint)),
            Some(_) => 0,
        }
    }

    /// The containers that refer to a volume.
    pub(crate) fn users(&self, name: &str) -> Vec<String> {
        let table = self.table();
        let users = table.get(name).into_iter().flat_map(|entry| &entry.users);
        users.cloned().collect()
    }

    /// Every volume whose data lie in the store, with its size on disk. Walks the directories.
    pub(crate) fn usage(&self) -> Vec<VolumeUsage> {
        let all: Vec<_> = self
            .table()
            .values()
            .filter(|entry| Device::of(&entry.volume.options).is_none())
            .map(|entry| (entry.volume.clone(), entry.users.len() as u64))
            .collect();
        all.into_iter()
            .map(|(volume, references)| VolumeUsage {
                size: size_of(Path::new(&volume.mountpoint)),
                volume,
                references,
            })
            .collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Volume> {
        self.table().get(name).map(|entry| entry.volume.clone())
    }

    /// Notes that a container refers to a volume, so that nobody removes it.
    pub(crate) fn hold(&self, name: &str, container: &str) {
        if let Some(entry) = self.table().get_mut(name) {
            entry.users.insert(container.to_owned());
        }
    }

    /// The container is gone (or never was).
    pub(crate) fn release(&self, container: &str) {
        for entry in self.table().values_mut() {
            entry.users.remove(container);
        }
    }

    /// As [`Volumes::release`], for a container that was not created after all; the volumes made for it alone.
    pub(crate) fn release_made_for(&self, container: &str) -> Vec<String> {
        let mut free = Vec::new();
        for entry in self.table().values_mut() {
            let held = entry.users.remove(container);
            if held && entry.users.is_empty() && entry.made_for.as_deref() == Some(container) {
                free.push(entry.volume.name.clone());
            }
        }
        free
    }

    #[cfg(test)]
    pub(crate) fn inspect_users(&self, name: &str) -> Vec<String> {
        self.table()
            .get(name)
            .map(|entry| entry.users.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Finds or makes a volume; `user` holds it from its first moment.
    pub(crate) fn ensure(&self, request: CreateVolume, user: Option<&str>) -> Result<Volume> {
        if !matches!(request.driver.as_str(), "" | "local") {
            return Err(EngineError::not_found(format!(
                "error looking up volume plugin {0}: plugin \"{0}\" not found",
                request.driver
            )));
        }
        let anonymous = request.name.is_empty();
        let name = if anonymous {
            crate::containers::new_id()
        } else {
            request.name
        };
        check_name(&name)?;
        let mut table = self.table();
        if let Some(entry) = table.get_mut(&name) {
            entry.users.extend(user.map(str::to_owned));
            return Ok(entry.volume.clone());
        }
        let limit = device::check(&name, &request.driver_options, || self.0.store.has_quotas())?;
        if anonymous && let Some(container) = user {
            note_unconfirmed(&self.0.store, container, &name)?;
        }
        let directory = self.0.store.layout().volumes().join(&name);
        let data = directory.join("_data");
        fs::create_dir_all(&data)?;
        if let Some(bytes) = limit
            && let Err(error) = self.0.store.limit(&[&data], bytes)
        {
            let _ = self.0.store.discard(&directory);
            return Err(error.into());
        }
        let volume = Volume {
            name: name.clone(),
            driver: "local".to_owned(),
            mountpoint: data.to_string_lossy().into_owned(),
            created: Timestamp::now(),
            labels: request.labels,
            options: request.driver_options,
            anonymous,
        };
        let body = serde_json::to_string(&volume)
            .map_err(|error| EngineError::system("cannot write the volume's record").with_source(error))?;
        if let Err(error) = self.0.store.meta().put_document(KIND, &name, Some(&name), &body) {
            let _ = self.0.store.discard(&directory);
            return Err(error.into());
        }
        let user = user.map(str::to_owned);
        let made_for = user.clone().filter(|_| anonymous);
        table.insert(
            name.clone(),
            Entry {
                volume: volume.clone(),
                users: user.into_iter().collect(),
                made_for,
            },
        );
        drop(table);
        self.0
            .events
            .publish(Event::new(EventType::Volume, "create", name).with("driver", "local"));
        Ok(volume)
    }

    /// A container exists with its anonymous volumes.
    pub(crate) fn confirm(&self, container: &str) -> Result<()> {
        match fs::remove_dir_all(unconfirmed(&self.0.store, container)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The creation of a container was interrupted: its anonymous volumes go.
    pub(crate) fn drop_unconfirmed(&self, container: &str) -> Result<()> {
        for entry in fs::read_dir(unconfirmed(&self.0.store, container))
            .into_iter()
            .flatten()
        {
            if let Some(name) = entry?.file_name().to_str() {
                match self.delete(name) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Removes a volume nobody uses, for good.
    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        self.take(name, None)
    }

    /// Removes a volume nobody uses; with an operation, so that it can be brought back.
    fn take(&self, name: &str, operation: Option<&Operation>) -> Result<()> {
        let mut table = self.table();
        let entry = table.get(name).ok_or_else(|| no_such_volume(name))?;
        if !entry.users.is_empty() {
            let users = entry.users.iter().cloned().collect::<Vec<_>>().join(", ");
            return Err(EngineError::conflict(format!(
                "remove {name}: volume is in use - [{users}]"
            )));
        }
        let store = &self.0.store;
        let directory = store.layout().volumes().join(name);
        self.detach(&entry.volume)?;
        if let Some(operation) = operation {
            store.removals().take(operation, &[taken(name)])?;
            table.remove(name);
        } else {
            store.meta().delete_document(KIND, name)?;
            table.remove(name);
            store.discard(&directory)?;
        }
        drop(table);
        self.0
            .events
            .publish(Event::new(EventType::Volume, "destroy", name).with("driver", "local"));
        Ok(())
    }

    /// Removes a container's document, and at the same moment those of the volumes that only it used, so that all of it can
    /// be brought back. The container refers to no volume any more.
    pub(crate) fn take_with(
        &self,
        operation: &Operation,
        container: Taken<'_>,
        user: &str,
        names: &[&str],
    ) -> Result<()> {
        let mut table = self.table();
        let only_used = |name: &&str| {
            table
                .get(*name)
                .is_some_and(|entry| entry.users.iter().all(|other| other == user))
        };
        let names: Vec<&str> = names.iter().copied().filter(only_used).collect();
        for name in &names {
            self.detach(&table[*name].volume)?;
        }
        let mut all = vec![container];
        all.extend(names.iter().map(|name| taken(name)));
        self.0.store.removals().take(operation, &all)?;
        for entry in table.values_mut() {
            entry.users.remove(user);
        }
        for name in &names {
            table.remove(*name);
        }
        drop(table);
        for name in names {
            self.0
                .events
                .publish(Event::new(EventType::Volume, "destroy", name).with("driver", "local"));
        }
        Ok(())
    }

    /// Volumes come back by `commit`, which brings their documents and data back. Nobody makes others of their names meanwhile.
    pub(crate) fn restore<'a>(
        &self,
        bodies: impl Iterator<Item = &'a str>,
        removal: u64,
        commit: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let volumes = bodies.map(read).collect::<Result<Vec<_>>>()?;
        let mut table = self.table();
        if let Some(taken) = volumes.iter().find(|volume| table.contains_key(&volume.name)) {
            return Err(EngineError::conflict(format!(
                "volume {}: another volume has its name: remove that first",
                taken.name
            )));
        }
        commit()?;
        for volume in &volumes {
            let entry = Entry {
                volume: volume.clone(),
                users: BTreeSet::new(),
                made_for: None,
            };
            table.insert(volume.name.clone(), entry);
        }
        drop(table);
        for volume in volumes {
            let event = Event::new(EventType::Volume, "create", volume.name);
            let event = event.with("driver", "local").with("undo", removal);
            self.0.events.publish(event);
        }
        Ok(())
    }

    fn sweep(&self) -> Result<()> {
        let directory = self.0.store.layout().volumes();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let table = self.table();
        for entry in entries {
            let entry = entry?;
            let known = entry
                .file_name()
                .to_str()
                .is_some_and(|name| table.contains_key(name));
            if !known {
                tracing::info!(path = %entry.path().display(), "removing a directory that never became a volume");
                self.0.store.discard(&entry.path())?;
            }
        }
        Ok(())
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        lock(&self.0.table)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names of anonymous volumes made for a container that is still being created, as empty files beside its snapshot.
fn unconfirmed(store: &Store, container: &str) -> std::path::PathBuf {
    store.layout().container(container).join("volumes")
}

fn note_unconfirmed(store: &Store, container: &str, volume: &str) -> Result<()> {
    let directory = unconfirmed(store, container);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(volume), "")?;
    Ok(())
}

fn read(body: &str) -> Result<Volume> {
    serde_json::from_str(body).map_err(|error| EngineError::system("it is damaged").with_source(error))
}

fn taken(name: &str) -> Taken<'_> {
    Taken {
        kind: KIND,
        id: name,
        snapshot: None,
        data: Some(Path::new("volumes").join(name)),
    }
}

fn no_such_volume(name: &str) -> EngineError {
    EngineError::not_found(format!("get {name}: no such volume"))
}

fn check_name(name: &str) -> Result<()> {
    if name.len() < 2 {
        return Err(EngineError::invalid(
            "volume name is too short, names should be at least two alphanumeric characters",
        ));
    }
    if name.len() > 255 || !crate::containers::is_valid_name(name) {
        return Err(EngineError::invalid(format!(
            "create {name}: {name:?} includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        )));
    }
    Ok(())
}

/// Bytes of the regular files beneath a directory; hard links count each. What vanishes meanwhile counts nothing.
fn size_of(directory: &Path) -> u64 {
    let mut total = 0;
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => open.push(entry.path()),
                Ok(metadata) if metadata.is_file() => total += metadata.len(),
                _ => {}
            }
        }
    }
    total
}

#[cfg(test)]
mod tests;
