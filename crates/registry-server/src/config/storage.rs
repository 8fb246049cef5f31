//! `storage`: where bytes lie, and how long what nobody needs.

use std::path::PathBuf;
use std::time::Duration;

use havre_bucket::BucketSettings;
use havre_registry_store::Patience;
use serde::Deserialize;
use serde_json::Value;

use super::{ConfigError, bucket, duration, refuse};

/// As it is written. What is `Value` is accepted without a word on it, as everywhere in the file.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Storage {
    filesystem: Option<Filesystem>,
    s3: Option<bucket::S3>,
    delete: Switch,
    cache: Value,
    redirect: Redirect,
    maintenance: Maintenance,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Filesystem {
    rootdirectory: Option<PathBuf>,
    maxthreads: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Redirect {
    disable: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Switch {
    enabled: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Maintenance {
    uploadpurging: Purging,
    readonly: Switch,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Purging {
    enabled: Option<bool>,
    /// `168h`
    age: Option<Value>,
    interval: Value,
    dryrun: Option<bool>,
}

/// What is configured.
pub(super) struct Checked {
    pub(super) root: Option<PathBuf>,
    pub(super) bucket: Option<BucketSettings>,
    /// Whether anything may be deleted, if that is said.
    pub(super) deletes: Option<bool>,
    pub(super) patience: Patience,
}

impl Storage {
    pub(super) fn checked(self) -> Result<Checked, ConfigError> {
        if self.maintenance.readonly.enabled == Some(true) {
            return refuse(
                "storage.maintenance.readonly.enabled",
                "true",
                "there is no read-only mode",
            );
        }
        let root = self.filesystem.and_then(|folder| folder.rootdirectory);
        let bucket = match self.s3 {
            None => None,
            Some(_) if root.is_some() => return refuse("storage", "filesystem and s3", "use one of them"),
            Some(s3) => Some(s3.checked(!self.redirect.disable)?),
        };
        Ok(Checked {
            root,
            bucket,
            deletes: self.delete.enabled,
            patience: self.maintenance.uploadpurging.checked()?,
        })
    }
}

impl Purging {
    fn checked(self) -> Result<Patience, ConfigError> {
        if self.dryrun == Some(true) {
            return refuse(
                "storage.maintenance.uploadpurging.dryrun",
                "true",
                "uploads are purged or not",
            );
        }
        let mut patience = Patience::default();
        if let Some(age) = &self.age {
            match duration::read(age) {
                Some(age) => patience.uploads = age,
                None => {
                    let age = duration::shown(age);
                    return refuse(
                        "storage.maintenance.uploadpurging.age",
                        &age,
                        "use 168h, 90m or 30s",
                    );
                }
            }
        }
        if self.enabled == Some(false) {
            patience.uploads = Duration::MAX;
        }
        Ok(patience)
    }
}
