//! The volume service: the `local` driver.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Filters, Result};

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

/// Named and anonymous volumes.
#[derive(Clone)]
pub struct Volumes(Arc<()>);

#[allow(clippy::todo, unused_variables)]
impl Volumes {
    /// An existing volume of that name is returned as it is.
    pub async fn create(&self, request: CreateVolume) -> Result<Volume> {
        todo!()
    }
    /// dangling driver label name
    pub async fn list(&self, filters: Filters) -> Result<Vec<Volume>> {
        todo!()
    }
    pub async fn inspect(&self, name: &str) -> Result<Volume> {
        todo!()
    }
    /// Conflict while a container uses it. `force`: a missing one is no error.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        todo!()
    }
    /// all label
    pub async fn prune(&self, filters: Filters) -> Result<VolumesPruned> {
        todo!()
    }
}
