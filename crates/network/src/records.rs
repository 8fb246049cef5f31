//! What the next daemon needs to know, in the state directory:
//!
//! ```text
//! bridge.json                            {"subnet": "172.17.0.0/16"}: taken again when it is still free
//! bridges/<interface>                    a bridge of a user-defined network: nobody else's is ever removed
//! parents/<interface>                    an interface made to be shared: nobody else's is ever removed
//! admitted/<bridge>                      a bridge for which somebody else's firewall got exceptions
//! endpoints/<container>.json             its endpoint on the default bridge
//! endpoints/<container>@<network>.json   its endpoint on another network
//! netns/<container>                      the container's namespace (bind mount)
//! ```
//!
//! A record is written before anything is made, and removed after everything is gone, so nothing made is forgotten.
//! Records are replaced by rename but not synced: after a power cut nothing they speak of exists any more.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::endpoint::{DEFAULT_NETWORK, Endpoint};
use crate::error::NetworkError;

#[derive(Serialize, Deserialize)]
struct BridgeRecord {
    subnet: Ipv4Net,
}

#[derive(Clone)]
pub(crate) struct Records {
    dir: PathBuf,
}

impl Records {
    /// Makes the directories where missing.
    pub(crate) fn open(dir: &Path) -> Result<Self, NetworkError> {
        for part in ["admitted", "bridges", "endpoints", "netns", "parents"] {
            fs::create_dir_all(dir.join(part)).map_err(NetworkError::State)?;
        }
        Ok(Self {
            dir: dir.to_path_buf(),
        })
    }

    /// The subnet of an earlier life; unreadable records count as none.
    pub(crate) fn subnet(&self) -> Option<Ipv4Net> {
        let text = fs::read_to_string(self.dir.join("bridge.json")).ok()?;
        serde_json::from_str::<BridgeRecord>(&text)
            .ok()
            .map(|record| record.subnet)
    }

    pub(crate) fn set_subnet(&self, subnet: Ipv4Net) -> Result<(), NetworkError> {
        self.write(&self.dir.join("bridge.json"), &BridgeRecord { subnet })
    }

    pub(crate) fn forget_subnet(&self) -> Result<(), NetworkError> {
        remove(&self.dir.join("bridge.json"))
    }

    pub(crate) fn save(&self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        self.write(
            &self.endpoint_path(&endpoint.container, &endpoint.network),
            endpoint,
        )
    }

    pub(crate) fn forget(&self, container: &str, network: &str) -> Result<(), NetworkError> {
        remove(&self.endpoint_path(container, network))
    }

    /// Notes that a bridge is about to be ours.
    pub(crate) fn own_bridge(&self, interface: &str) -> Result<(), NetworkError> {
        fs::write(self.dir.join("bridges").join(interface), "").map_err(NetworkError::State)
    }

    pub(crate) fn disown_bridge(&self, interface: &str) -> Result<(), NetworkError> {
        remove(&self.dir.join("bridges").join(interface))
    }

    /// The interfaces that are bridges of ours.
    pub(crate) fn bridges(&self) -> Result<Vec<String>, NetworkError> {
        names_in(&self.dir.join("bridges"))
    }

    /// Notes that an interface is about to be made for containers to share.
    pub(crate) fn own_parent(&self, interface: &str) -> Result<(), NetworkError> {
        fs::write(self.dir.join("parents").join(interface), "").map_err(NetworkError::State)
    }

    pub(crate) fn disown_parent(&self, interface: &str) -> Result<(), NetworkError> {
        remove(&self.dir.join("parents").join(interface))
    }

    /// The interfaces that were made to be shared.
    pub(crate) fn parents(&self) -> Result<Vec<String>, NetworkError> {
        names_in(&self.dir.join("parents"))
    }

    /// Notes that somebody else's firewall is about to get exceptions for a bridge.
    pub(crate) fn admit(&self, bridge: &str) -> Result<(), NetworkError> {
        fs::write(self.dir.join("admitted").join(bridge), "").map_err(NetworkError::State)
    }

    /// Forgets that; whether it was known.
    pub(crate) fn withdraw(&self, bridge: &str) -> Result<bool, NetworkError> {
        let path = self.dir.join("admitted").join(bridge);
        let known = path.exists();
        remove(&path).map(|()| known)
    }

    pub(crate) fn is_admitted(&self, bridge: &str) -> bool {
        self.dir.join("admitted").join(bridge).exists()
    }

    /// The bridges for which there are exceptions.
    pub(crate) fn admitted(&self) -> Result<Vec<String>, NetworkError> {
        names_in(&self.dir.join("admitted"))
    }

    /// All endpoints. A file that cannot be read as one (torn by a power cut) is removed, and said so in the log.
    pub(crate) fn endpoints(&self) -> Result<Vec<Endpoint>, NetworkError> {
        let mut endpoints = Vec::new();
        for entry in fs::read_dir(self.dir.join("endpoints")).map_err(NetworkError::State)? {
            let path = entry.map_err(NetworkError::State)?.path();
            let bytes = fs::read(&path).map_err(NetworkError::State)?;
            match serde_json::from_slice::<Endpoint>(&bytes) {
                Ok(endpoint) if path == self.endpoint_path(&endpoint.container, &endpoint.network) => {
                    endpoints.push(endpoint);
                }
                outcome => {
                    let reason = outcome.err().map(|error| error.to_string());
                    tracing::warn!(path = %path.display(), reason, "removed an endpoint record that makes no sense");
                    remove(&path)?;
                }
            }
        }
        Ok(endpoints)
    }

    /// Where a container's namespace is kept.
    pub(crate) fn namespace_path(&self, container: &str) -> PathBuf {
        self.dir.join("netns").join(container)
    }

    /// The containers whose namespaces are kept, or were before a reboot.
    pub(crate) fn namespaces(&self) -> Result<Vec<String>, NetworkError> {
        names_in(&self.dir.join("netns"))
    }

    fn endpoint_path(&self, container: &str, network: &str) -> PathBuf {
        let name = match network {
            DEFAULT_NETWORK => format!("{container}.json"),
            network => format!("{container}@{network}.json"),
        };
        self.dir.join("endpoints").join(name)
    }

    fn write(&self, path: &Path, value: &impl Serialize) -> Result<(), NetworkError> {
        let bytes = serde_json::to_vec(value).map_err(|source| NetworkError::StateFormat {
            path: path.to_path_buf(),
            source,
        })?;
        // Two writers of one name have the same to say, or are kept apart by the caller.
        let aside = self.dir.join(format!(
            ".{}",
            path.file_name().unwrap_or_default().to_string_lossy()
        ));
        fs::write(&aside, bytes)
            .and_then(|()| fs::rename(&aside, path))
            .map_err(NetworkError::State)
    }
}

fn names_in(directory: &Path) -> Result<Vec<String>, NetworkError> {
    let entries = fs::read_dir(directory).map_err(NetworkError::State)?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map_err(NetworkError::State)
}

fn remove(path: &Path) -> Result<(), NetworkError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(NetworkError::State(error)),
        _ => Ok(()),
    }
}

/// Whether a container's id can be part of a file's name.
pub(crate) fn is_container_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.starts_with(|first: char| first.is_ascii_alphanumeric())
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::endpoint::{MacAddress, Place};

    fn endpoint(container: &str) -> Endpoint {
        let ip = Ipv4Addr::new(172, 17, 0, 2);
        Endpoint {
            id: "e".repeat(64),
            container: container.to_owned(),
            ipv4: Some(Place {
                ip,
                prefix: 16,
                gateway: Ipv4Addr::new(172, 17, 0, 1),
            }),
            ipv6: None,
            mac: MacAddress::from_ip(ip),
            host_interface: "hv01234567".to_owned(),
            network: DEFAULT_NETWORK.to_owned(),
            interface: "eth0".to_owned(),
            priority: 0,
            ports: Vec::new(),
        }
    }

    #[test]
    fn endpoints_are_found_again_and_torn_records_are_not() {
        let dir = tempfile::tempdir().expect("directory");
        let records = Records::open(dir.path()).expect("open");
        records.save(&endpoint("one")).expect("save");
        fs::write(dir.path().join("endpoints/torn.json"), "{\"id\":").expect("write");
        fs::write(
            dir.path().join("endpoints/other.json"),
            serde_json::to_vec(&endpoint("one")).expect("json"),
        )
        .expect("write");

        assert_eq!(records.endpoints().expect("read"), [endpoint("one")]);
        assert!(!dir.path().join("endpoints/torn.json").exists());
        assert!(
            !dir.path().join("endpoints/other.json").exists(),
            "a record under a foreign name"
        );
        let text = fs::read_to_string(dir.path().join("endpoints/one.json")).expect("read");
        assert!(
            text.contains(r#""ip":"172.17.0.2","prefix":16,"gateway":"172.17.0.1""#),
            "as earlier daemons wrote it: {text}"
        );
        let six = Endpoint {
            network: "six".to_owned(),
            ipv4: None,
            ipv6: Some(Place {
                ip: "fd00::2".parse().expect("an address"),
                prefix: 64,
                gateway: "fd00::1".parse().expect("an address"),
            }),
            ..endpoint("one")
        };
        records.save(&six).expect("save");
        assert!(records.endpoints().expect("read").contains(&six));
        records.forget("one", "six").expect("forget");
        let elsewhere = Endpoint {
            network: "f00".to_owned(),
            ..endpoint("one")
        };
        records.save(&elsewhere).expect("save");
        records.forget("one", DEFAULT_NETWORK).expect("forget");
        assert_eq!(records.endpoints().expect("read"), [elsewhere]);
        records.forget("one", "f00").expect("forget");
        records.forget("one", "f00").expect("forget again");
        assert_eq!(records.endpoints().expect("read"), []);
    }

    #[test]
    fn the_subnet_is_remembered() {
        let dir = tempfile::tempdir().expect("directory");
        let records = Records::open(dir.path()).expect("open");
        assert_eq!(records.subnet(), None);
        let subnet = "172.20.0.0/16".parse().expect("subnet");
        records.set_subnet(subnet).expect("set");
        assert_eq!(Records::open(dir.path()).expect("open").subnet(), Some(subnet));
    }

    #[test]
    fn an_id_that_leads_elsewhere_is_none() {
        for id in ["", ".", "..", "../x", "a/b", ".hidden", "a\0b", &"a".repeat(129)] {
            assert!(!is_container_id(id), "{id:?}");
        }
        assert!(is_container_id(&"0f".repeat(32)));
        assert!(is_container_id("build-step.1"));
    }
}
