//! What a container in a user namespace is made of, gathered where its root can reach it.
//!
//! Its processes are nobody on the host long before they are in their root file system: they may not pass the engine's
//! directories, nor those of others that something is mounted from. So the specification names places in one directory, and the
//! shim puts there, where only it and its children see them, what belongs to them.

use std::path::{Path, PathBuf};

use havre_sys::userns::{IdMap, IdRange};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ContainerSpec, NetworkNamespace, SpecError, User};

/// What is to be where.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stage {
    /// In the container's directory.
    directory: PathBuf,
    /// The mounted root file system.
    pub(crate) rootfs: PathBuf,
    /// The network namespace, which belongs to the user namespace.
    pub(crate) network: PathBuf,
    /// What is bound, in the order of their places.
    pub(crate) sources: Vec<Source>,
    pub(crate) map: IdMap,
}

/// Something of the host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// With what is mounted beneath.
    pub(crate) recursive: bool,
    /// With its owners shifted.
    pub(crate) shifted: bool,
}

impl Stage {
    /// `None` for a container without a user namespace.
    pub(super) fn of(spec: &ContainerSpec, directory: &Path, user: &User) -> Result<Option<Self>, SpecError> {
        let Some(map) = &spec.user_namespace else {
            return Ok(None);
        };
        let NetworkNamespace::Path(network) = &spec.network else {
            return Err(SpecError::Unsupported {
                what: "a user namespace without a network namespace of its own",
            });
        };
        if map.uid_outside(user.uid).is_none() {
            let (what, id) = ("uid", user.uid);
            return Err(SpecError::NotMapped { what, id });
        }
        let mut gids = user.additional_gids.iter().copied().chain([user.gid]);
        if let Some(id) = gids.find(|gid| map.gid_outside(*gid).is_none()) {
            return Err(SpecError::NotMapped { what: "gid", id });
        }
        Ok(Some(Self {
            directory: directory.join("stage"),
            rootfs: spec.rootfs.clone(),
            network: network.clone(),
            sources: Vec::new(),
            map: map.clone(),
        }))
    }

    /// Where everything is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the root file system is.
    pub(crate) fn rootfs_place(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    /// Where a namespace is, by its type.
    pub(crate) fn namespace_place(&self, kind: &str) -> PathBuf {
        self.directory.join(kind)
    }

    /// Where a source is, by its number.
    pub(crate) fn source_place(&self, number: usize) -> PathBuf {
        self.directory.join(number.to_string())
    }

    /// One more source, and its place.
    pub(super) fn add(&mut self, source: Source) -> PathBuf {
        self.sources.push(source);
        self.source_place(self.sources.len() - 1)
    }

    /// Makes a specification one of a user namespace.
    pub(super) fn apply(&self, config: &mut Value) {
        config["root"]["path"] = json!(self.rootfs_place());
        let linux = &mut config["linux"];
        linux["uidMappings"] = mappings(&self.map.uids);
        linux["gidMappings"] = mappings(&self.map.gids);
        if let Some(namespaces) = linux["namespaces"].as_array_mut() {
            namespaces.retain(|namespace| namespace["type"] != "network");
            for kind in ["user", "network"] {
                namespaces.push(json!({"type": kind, "path": self.namespace_place(kind)}));
            }
        }
        // The group of terminals, where there is none.
        let terminals = self.map.gid_outside(5).is_some();
        for mount in config["mounts"].as_array_mut().into_iter().flatten() {
            if !terminals
                && mount["type"] == "devpts"
                && let Some(options) = mount["options"].as_array_mut()
            {
                options.retain(|option| option != "gid=5");
            }
        }
    }
}

fn mappings(ranges: &[IdRange]) -> Value {
    let mapping =
        |range: &IdRange| json!({"containerID": range.inside, "hostID": range.outside, "size": range.count});
    ranges.iter().map(mapping).collect()
}
