//! What is known, in files:
//!
//! ```text
//! networks/<network>.json       the names on a network: Names
//! containers/<container>.json   whom a container asks: Resolver
//! ```
//!
//! Files are replaced by rename, so a reader sees an old or a new one, whole.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Who is on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Names {
    /// The network's own name: `db.shop` is `db` on the network `shop`.
    pub network: String,
    pub hosts: Vec<Host>,
}

/// One container on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    /// In lower case. The first one is the answer to a reverse lookup.
    pub names: Vec<String>,
}

/// What a container's server knows and whom it asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resolver {
    /// Ids of the networks it is on, in the order they are looked through.
    pub networks: Vec<String>,
    /// Who is asked for all other names, in this order; nobody is when the list is empty.
    pub servers: Vec<Upstream>,
    /// Names that are others' for this container alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

/// What a container calls another one on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The network's id.
    pub network: String,
    /// In lower case.
    pub alias: String,
    /// The name the network knows, in lower case.
    pub name: String,
}

/// A server for other names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub address: IpAddr,
    /// Asked from the host's network namespace: its own loopback addresses are meant.
    pub from_host: bool,
}

/// The directory of all these files.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes it when it is missing.
    pub fn open(path: &Path) -> io::Result<Self> {
        for part in ["networks", "containers"] {
            fs::create_dir_all(path.join(part))?;
        }
        Ok(Self(path.to_path_buf()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn set_names(&self, network: &str, names: &Names) -> io::Result<()> {
        write(&self.names_path(network), names)
    }

    /// Forgetting what isn't known is no error.
    pub fn forget_names(&self, network: &str) -> io::Result<()> {
        remove(&self.names_path(network))
    }

    pub fn set_resolver(&self, container: &str, resolver: &Resolver) -> io::Result<()> {
        write(&self.resolver_path(container), resolver)
    }

    /// Forgetting what isn't known is no error.
    pub fn forget_resolver(&self, container: &str) -> io::Result<()> {
        remove(&self.resolver_path(container))
    }

    /// The containers that have a resolver.
    pub fn resolvers(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.0.join("containers"))?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let names: io::Result<Vec<String>> = names.collect();
        Ok(names?
            .iter()
            .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
            .collect())
    }

    pub(crate) fn names_path(&self, network: &str) -> PathBuf {
        self.0.join("networks").join(format!("{network}.json"))
    }

    pub(crate) fn resolver_path(&self, container: &str) -> PathBuf {
        self.0.join("containers").join(format!("{container}.json"))
    }
}

fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let aside = path.with_extension("new");
    fs::write(&aside, serde_json::to_vec(value)?)?;
    fs::rename(&aside, path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file's content, read again only when the file has changed.
#[derive(Debug)]
pub(crate) struct Cached<T> {
    path: PathBuf,
    /// Inode, and seconds and nanoseconds of its last change.
    version: Option<(u64, i64, i64)>,
    value: T,
}

impl<T: Default + DeserializeOwned> Cached<T> {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            version: None,
            value: T::default(),
        }
    }

    /// A file that is missing or torn has nothing to say.
    pub(crate) fn get(&mut self) -> &T {
        let version = fs::metadata(&self.path)
            .ok()
            .map(|found| (found.ino(), found.mtime(), found.mtime_nsec()));
        if version.is_none() || version != self.version {
            self.value = fs::read(&self.path)
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default();
            self.version = version;
        }
        &self.value
    }

    /// As it was read last.
    pub(crate) fn last(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again() {
        let dir = tempfile::tempdir().expect("directory");
        let directory = Directory::open(dir.path()).expect("open");
        let mut cached = Cached::<Names>::new(directory.names_path("n"));
        assert_eq!(*cached.get(), Names::default());
        for name in ["one", "two"] {
            let names = Names {
                network: name.to_owned(),
                hosts: Vec::new(),
            };
            directory.set_names("n", &names).expect("set");
            assert_eq!(*cached.get(), names);
        }
        directory.forget_names("n").expect("forget");
        directory.forget_names("n").expect("again");
        assert_eq!(*cached.get(), Names::default());
        assert_eq!(directory.resolvers().expect("list"), Vec::<String>::new());
        directory.set_resolver("c", &Resolver::default()).expect("set");
        assert_eq!(directory.resolvers().expect("list"), ["c"]);
    }
}
