//! Devices of a container and its device cgroup rules.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{ContainerSpec, Device, SpecError};

/// Devices below a directory given with `--device`, or in `/dev` of the host for privileged containers.
const MAX_DEVICES: usize = 4096;

/// Entries of `/dev` that are no devices of the host to hand on: mounts and what every container has of its own.
const PRIVATE_ENTRIES: [&str; 11] = [
    "pts",
    "shm",
    "fd",
    "mqueue",
    ".lxc",
    ".lxd-mounts",
    ".udev",
    "console",
    "ptmx",
    "tty",
    "core",
];

/// Those of `linux.devices`, and `linux.resources.devices`.
pub(super) fn devices(spec: &ContainerSpec) -> Result<(Vec<Node>, Vec<Value>), SpecError> {
    if spec.privileged {
        let mut nodes = Vec::new();
        collect(Path::new("/dev"), Path::new("/dev"), &mut nodes, true)?;
        return Ok((nodes, vec![json!({"allow": true, "access": "rwm"})]));
    }
    let mut rules = default_rules();
    let mut nodes = Vec::new();
    for device in &spec.devices {
        let found = find(device)?;
        rules.extend(found.iter().map(|node| node.to_rule(&device.permissions)));
        nodes.extend(found);
    }
    for rule in &spec.device_cgroup_rules {
        rules.push(parse_rule(rule)?);
    }
    Ok((nodes, rules))
}

/// Docker's: nothing, except making nodes, the harmless devices and terminals.
fn default_rules() -> Vec<Value> {
    let mut rules = vec![
        json!({"allow": false, "access": "rwm"}),
        json!({"allow": true, "type": "c", "access": "m"}),
        json!({"allow": true, "type": "b", "access": "m"}),
    ];
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)] {
        rules.push(json!({"allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm"}));
    }
    rules.push(json!({"allow": true, "type": "c", "major": 136, "access": "rwm"}));
    rules
}

/// A device of the host.
pub(super) struct Node {
    pub(super) host: PathBuf,
    /// In the container.
    pub(super) path: PathBuf,
    block: bool,
    major: u32,
    minor: u32,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Node {
    /// The device at `host`, named `path` in the container; `None` if it is none.
    fn read(host: &Path, path: PathBuf) -> Option<Node> {
        let metadata = fs_err::metadata(host).ok()?;
        let kind = metadata.file_type();
        if !kind.is_block_device() && !kind.is_char_device() {
            return None;
        }
        let number = metadata.rdev();
        Some(Node {
            host: host.to_owned(),
            path,
            block: kind.is_block_device(),
            major: rustix::fs::major(number),
            minor: rustix::fs::minor(number),
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
        })
    }

    fn kind(&self) -> &'static str {
        if self.block { "b" } else { "c" }
    }

    /// An entry of `linux.devices`.
    pub(super) fn to_oci(&self) -> Value {
        json!({
            "path": self.path, "type": self.kind(), "major": self.major, "minor": self.minor,
            "fileMode": self.mode, "uid": self.uid, "gid": self.gid,
        })
    }

    fn to_rule(&self, access: &str) -> Value {
        json!({
            "allow": true, "type": self.kind(), "major": self.major, "minor": self.minor, "access": access,
        })
    }
}

fn find(device: &Device) -> Result<Vec<Node>, SpecError> {
    let fail = |reason: &str| SpecError::Device {
        path: device.host_path.clone(),
        reason: reason.to_owned(),
    };
    if device.permissions.is_empty() || !device.permissions.chars().all(|c| "rwm".contains(c)) {
        return Err(fail("invalid device mode"));
    }
    if !device.container_path.is_absolute() {
        return Err(fail("the path in the container is not absolute"));
    }
    let metadata = fs_err::metadata(&device.host_path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            fail("no such file or directory")
        } else {
            fail(&error.to_string())
        }
    })?;
    let mut nodes = Vec::new();
    if metadata.is_dir() {
        collect(&device.host_path, &device.container_path, &mut nodes, false)?;
    } else {
        nodes.extend(Node::read(&device.host_path, device.container_path.clone()));
    }
    if nodes.is_empty() {
        Err(fail("not a device node"))
    } else {
        Ok(nodes)
    }
}

fn collect(host: &Path, container: &Path, nodes: &mut Vec<Node>, top: bool) -> Result<(), SpecError> {
    let fail = |reason: String| SpecError::Device {
        path: host.to_owned(),
        reason,
    };
    let entries = fs_err::read_dir(host).map_err(|error| fail(error.to_string()))?;
    for entry in entries {
        let entry = entry.map_err(|error| fail(error.to_string()))?;
        let name = entry.file_name();
        if top && PRIVATE_ENTRIES.iter().any(|private| name == *private) {
            continue;
        }
        let Ok(kind) = entry.file_type() else { continue };
        let target = container.join(&name);
        if kind.is_dir() {
            collect(&entry.path(), &target, nodes, false)?;
        } else if !kind.is_symlink() {
            nodes.extend(Node::read(&entry.path(), target));
        }
        if nodes.len() > MAX_DEVICES {
            return Err(fail(format!("more than {MAX_DEVICES} devices")));
        }
    }
    Ok(())
}

/// `TYPE MAJOR:MINOR ACCESS`, numbers or `*`: `c 42:* rmw`.
fn parse_rule(rule: &str) -> Result<Value, SpecError> {
    let invalid = || SpecError::DeviceRule {
        rule: rule.to_owned(),
    };
    let fields: Vec<&str> = rule.split(' ').collect();
    let [kind @ ("a" | "b" | "c"), numbers, access] = fields[..] else {
        return Err(invalid());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number = |text: &str| match text {
        "*" => Ok(Value::Null),
        text => text.parse::<u32>().map(Value::from).map_err(|_| invalid()),
    };
    if access.is_empty() || access.len() > 3 || !access.chars().all(|c| "rwm".contains(c)) {
        return Err(invalid());
    }
    let mut value = json!({"allow": true, "type": kind, "access": access});
    for (key, text) in [("major", major), ("minor", minor)] {
        let parsed = number(text)?;
        if !parsed.is_null() {
            value[key] = parsed;
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_rules() {
        let rule = parse_rule("c 42:* rmw").unwrap();
        assert_eq!(
            rule,
            json!({"allow": true, "type": "c", "major": 42, "access": "rmw"})
        );
        for bad in ["", "c", "x 1:2 r", "c 1 r", "c 1:2 x", "c 1:-2 r", "c 1:2 rwmr"] {
            assert!(parse_rule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn devices_are_read_from_the_host() {
        let device = |host: &str, permissions: &str| Device {
            host_path: host.into(),
            container_path: "/dev/x".into(),
            permissions: permissions.into(),
        };
        let null = &find(&device("/dev/null", "rw")).unwrap()[0];
        assert_eq!((null.major, null.minor, null.block), (1, 3, false));
        assert!(find(&device("/dev/nope", "rw")).is_err());
        assert!(find(&device("/etc/passwd", "rw")).is_err());
        assert!(find(&device("/dev/null", "q")).is_err());
    }
}
