//! `-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's VOLUMEs as one list of mounts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fs_err as fs;

use super::record::MountRecord;
use super::table::Table;
use super::{Config, HostConfig, Mount, MountKind, MountPoint};
use crate::volumes::{CreateVolume, Volumes};
use crate::{EngineError, Result};

const PROPAGATIONS: &[&str] = &["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// Decides every mount of a new container; makes the volumes it needs, held in the container's name.
pub(crate) fn resolve(
    id: &str,
    config: &Config,
    host: &HostConfig,
    table: &Table,
    volumes: &Volumes,
) -> Result<Vec<MountRecord>> {
    // Later kinds give way to earlier ones at the same destination, as in Docker.
    let mut by_destination: BTreeMap<String, MountRecord> = BTreeMap::new();
    for from in &host.volumes_from {
        for mount in volumes_from(from, table)? {
            if mount.is_volume() {
                volumes.hold(&mount.point.name, id);
            }
            by_destination.insert(mount.point.destination.clone(), mount);
        }
    }
    let binds = host
        .binds
        .iter()
        .map(|bind| parse_bind(bind))
        .collect::<Result<Vec<_>>>()?;
    // Before the first volume is made.
    let mut taken = BTreeSet::new();
    let targets = host.mounts.iter().map(|mount| &mount.target);
    for destination in binds
        .iter()
        .map(|bind| bind.destination.clone())
        .chain(targets.chain(host.tmpfs.keys()).map(|target| clean(target)))
    {
        if let Some(double) = taken.replace(destination) {
            return Err(EngineError::invalid(format!("Duplicate mount point: {double}")));
        }
    }
    let mut add = |mount: MountRecord| {
        by_destination.insert(mount.point.destination.clone(), mount);
    };
    for bind in &binds {
        add(from_bind(bind, id, volumes)?);
    }
    for mount in &host.mounts {
        add(from_mount(mount, id, volumes)?);
    }
    for (target, options) in &host.tmpfs {
        add(from_tmpfs(target, options)?);
    }
    for target in &config.volumes {
        let destination = destination(target)?;
        if by_destination.contains_key(&destination) {
            continue;
        }
        let volume = volumes.ensure(CreateVolume::default(), Some(id))?;
        let point = MountPoint {
            kind: MountKind::Volume,
            name: volume.name,
            source: volume.mountpoint,
            destination: destination.clone(),
            driver: volume.driver,
            mode: String::new(),
            rw: true,
            propagation: String::new(),
        };
        by_destination.insert(
            destination,
            MountRecord {
                point,
                copy: true,
                recursive: true,
                tmpfs: Vec::new(),
                subpath: String::new(),
                owned: true,
            },
        );
    }
    // Sorted by path, so parents are mounted before what lies in them.
    Ok(by_destination.into_values().collect())
}

/// `source:target:options` taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Bind {
    spec: String,
    source: String,
    destination: String,
    mode: String,
    read_only: bool,
    no_copy: bool,
    propagation: String,
}

fn parse_bind(spec: &str) -> Result<Bind> {
    let invalid = || EngineError::invalid(format!("invalid volume specification: '{spec}'"));
    let mut parts = spec.split(':');
    let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if parts.next().is_some() || first.is_empty() {
        return Err(invalid());
    }
    let (source, target, mode) = match (second, third) {
        (None, _) => ("", first, ""),
        (Some(target), mode) => (first, target, mode.unwrap_or_default()),
    };
    if target.is_empty() || (third.is_some() && mode.is_empty()) {
        return Err(invalid());
    }
    if !target.starts_with('/') {
        return Err(EngineError::invalid(format!(
            "invalid volume specification: '{spec}': invalid mount config for type \"{}\": invalid mount path: '{target}' \
             mount path must be absolute",
            if source.starts_with('/') { "bind" } else { "volume" }
        )));
    }
    let mut bind = Bind {
        spec: spec.to_owned(),
        source: source.to_owned(),
        destination: destination(target).map_err(|error| {
            EngineError::invalid(format!(
                "invalid volume specification: '{spec}': invalid mount config for type \"{}\": {error}",
                if source.starts_with('/') { "bind" } else { "volume" }
            ))
        })?,
        mode: mode.to_owned(),
        read_only: false,
        no_copy: false,
        propagation: String::new(),
    };
    let is_volume = !source.starts_with('/');
    for option in mode.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => bind.read_only = true,
            "rw" => bind.read_only = false,
            "nocopy" if is_volume => bind.no_copy = true,
            // Labels have no meaning without SELinux, consistency none on Linux; Docker takes both silently, too.
            "z" | "Z" | "consistent" | "cached" | "delegated" | "default" => {}
            _ if PROPAGATIONS.contains(&option) && !is_volume => bind.propagation = option.to_owned(),
            _ => return Err(EngineError::invalid(format!("invalid mode: {mode}"))),
        }
    }
    Ok(bind)
}

fn from_bind(bind: &Bind, id: &str, volumes: &Volumes) -> Result<MountRecord> {
    let mut record = if bind.source.starts_with('/') {
        let source = clean(&bind.source);
        if !Path::new(&source).exists() {
            // As Docker: -v makes missing directories on the host, --mount doesn't.
            fs::create_dir_all(&source).map_err(|error| {
                EngineError::system(format!(
                    "error while creating mount source path '{source}': {error}"
                ))
            })?;
        }
        bind_record(source, bind.destination.clone(), &bind.propagation, true)
    } else if bind.source.is_empty() {
        volume_record(
            volumes.ensure(CreateVolume::default(), Some(id))?,
            bind.destination.clone(),
            true,
        )
    } else {
        let request = CreateVolume {
            name: bind.source.clone(),
            ..CreateVolume::default()
        };
        let volume = volumes
            .ensure(request, Some(id))
            .map_err(|error| in_volume_spec(error, &bind.spec))?;
        volume_record(volume, bind.destination.clone(), false)
    };
    if record.point.kind == MountKind::Bind || !bind.mode.is_empty() {
        record.point.mode.clone_from(&bind.mode);
    }
    record.point.rw = !bind.read_only;
    record.copy &= !bind.no_copy;
    Ok(record)
}

fn in_volume_spec(error: EngineError, spec: &str) -> EngineError {
    match error.kind() {
        crate::ErrorKind::InvalidParameter if spec.starts_with('.') => EngineError::invalid(format!(
            "invalid volume specification: '{spec}': {error}: relative paths start from the client's directory, write it in \
             full"
        )),
        _ => error,
    }
}

fn bind_record(source: String, destination: String, propagation: &str, recursive: bool) -> MountRecord {
    MountRecord {
        point: MountPoint {
            kind: MountKind::Bind,
            name: String::new(),
            source,
            destination,
            driver: String::new(),
            mode: String::new(),
            rw: true,
            propagation: if propagation.is_empty() {
                "rprivate".to_owned()
            } else {
                propagation.to_owned()
            },
        },
        copy: false,
        recursive,
        tmpfs: Vec::new(),
        subpath: String::new(),
        owned: false,
    }
}

fn volume_record(volume: crate::Volume, destination: String, owned: bool) -> MountRecord {
    MountRecord {
        point: MountPoint {
            kind: MountKind::Volume,
            name: volume.name,
            source: volume.mountpoint,
            destination,
            driver: volume.driver,
            mode: "z".to_owned(),
            rw: true,
            propagation: String::new(),
        },
        copy: true,
        recursive: true,
        tmpfs: Vec::new(),
        subpath: String::new(),
        owned,
    }
}

fn from_mount(mount: &Mount, id: &str, volumes: &Volumes) -> Result<MountRecord> {
    let kind = mount.kind.as_str();
    let invalid =
        |text: &str| EngineError::invalid(format!("invalid mount config for type \"{kind}\": {text}"));
    if mount.target.is_empty() {
        return Err(invalid("field Target must not be empty"));
    }
    if !mount.target.starts_with('/') {
        return Err(invalid(&format!(
            "invalid mount path: '{}' mount path must be absolute",
            mount.target
        )));
    }
    let destination = destination(&mount.target)?;
    let only_for = |given: bool, field: &str, owner: MountKind| match given && mount.kind != owner {
        true => Err(invalid(&format!("field {field} must not be specified"))),
        false => Ok(()),
    };
    only_for(mount.bind_options.is_some(), "BindOptions", MountKind::Bind)?;
    only_for(mount.volume_options.is_some(), "VolumeOptions", MountKind::Volume)?;
    only_for(mount.tmpfs_options.is_some(), "TmpfsOptions", MountKind::Tmpfs)?;
    let mut record = match mount.kind {
        MountKind::Bind => {
            let options = mount.bind_options.clone().unwrap_or_default();
            if mount.source.is_empty() {
                return Err(invalid("field Source must not be empty"));
            }
            if !mount.source.starts_with('/') {
                return Err(invalid(&format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    mount.source
                )));
            }
            if options.read_only_force_recursive || options.read_only_non_recursive {
                return Err(invalid(
                    "field BindOptions.ReadOnlyForceRecursive/ReadOnlyNonRecursive is not supported",
                ));
            }
            if !options.propagation.is_empty() && !PROPAGATIONS.contains(&options.propagation.as_str()) {
                return Err(invalid(&format!(
                    "invalid propagation mode: {}",
                    options.propagation
                )));
            }
            let source = clean(&mount.source);
            if !Path::new(&source).exists() {
                if !options.create_mountpoint {
                    return Err(invalid(&format!("bind source path does not exist: {source}")));
                }
                fs::create_dir_all(&source)?;
            }
            bind_record(source, destination, &options.propagation, !options.non_recursive)
        }
        MountKind::Volume => {
            let options = mount.volume_options.clone().unwrap_or_default();
            if !is_local(&options.subpath) {
                return Err(invalid("subpath must be a relative path within the volume"));
            }
            let request = CreateVolume {
                name: mount.source.clone(),
                driver: options.driver,
                driver_options: options.driver_options,
                labels: options.labels,
            };
            let mut record = volume_record(
                volumes.ensure(request, Some(id))?,
                destination,
                mount.source.is_empty(),
            );
            record.copy = !options.no_copy;
            record.subpath = options.subpath;
            record
        }
        MountKind::Tmpfs => {
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            if !mount.source.is_empty() {
                return Err(invalid("field Source must not be specified"));
            }
            let mut words = Vec::new();
            if options.size_bytes < 0 {
                return Err(invalid("the size of a tmpfs cannot be negative"));
            }
            if options.size_bytes > 0 {
                words.push(format!("size={}", options.size_bytes));
            }
            if options.mode != 0 {
                words.push(format!("mode={:o}", options.mode & 0o7777));
            }
            for option in &options.options {
                let word = option.join("=");
                words.push(tmpfs_option(&word)?.to_owned());
            }
            tmpfs_record(destination, words, String::new())
        }
        MountKind::Image | MountKind::Npipe | MountKind::Cluster => {
            return Err(EngineError::invalid(format!(
                "mount type {kind} is not supported: use bind, volume or tmpfs"
            )));
        }
    };
    if mount.read_only {
        record.point.rw = false;
    }
    Ok(record)
}

fn tmpfs_record(destination: String, options: Vec<String>, mode: String) -> MountRecord {
    MountRecord {
        point: MountPoint {
            kind: MountKind::Tmpfs,
            name: String::new(),
            source: String::new(),
            destination,
            driver: String::new(),
            mode,
            rw: !options.iter().any(|option| option == "ro"),
            propagation: String::new(),
        },
        copy: false,
        recursive: false,
        tmpfs: options,
        subpath: String::new(),
        owned: false,
    }
}

fn from_tmpfs(target: &str, options: &str) -> Result<MountRecord> {
    if !target.starts_with('/') {
        return Err(EngineError::invalid(format!(
            "invalid mount path: '{target}' mount path must be absolute"
        )));
    }
    let words: Result<Vec<String>> = options
        .split(',')
        .filter(|word| !word.is_empty())
        .map(|word| tmpfs_option(word).map(str::to_owned))
        .collect();
    Ok(tmpfs_record(destination(target)?, words?, options.to_owned()))
}

/// Options of mount(8) that make sense for a tmpfs.
fn tmpfs_option(word: &str) -> Result<&str> {
    const FLAGS: &[&str] = &[
        "rw",
        "ro",
        "exec",
        "noexec",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "strictatime",
        "nostrictatime",
        "sync",
        "async",
        "dirsync",
        "mand",
        "nomand",
        "defaults",
    ];
    const VALUES: &[&str] = &["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];
    let known = match word.split_once('=') {
        None => FLAGS.contains(&word),
        Some((name, value)) => VALUES.contains(&name) && !value.is_empty(),
    };
    match known {
        true => Ok(word),
        false => Err(EngineError::invalid(format!("invalid tmpfs option [{word:?}]"))),
    }
}

/// `container[:ro|rw]`
fn volumes_from(spec: &str, table: &Table) -> Result<Vec<MountRecord>> {
    let (container, mode) = spec.split_once(':').unwrap_or((spec, ""));
    if container.is_empty() {
        return Err(EngineError::invalid("malformed volumes-from specification: "));
    }
    if mode
        .split(',')
        .any(|option| !matches!(option, "" | "ro" | "rw" | "z" | "Z"))
    {
        return Err(EngineError::invalid(format!(
            "invalid mode for volumes-from: {mode}"
        )));
    }
    let read_only = mode.split(',').any(|option| option == "ro");
    let container = table.find(container).map_err(EngineError::into_invalid)?;
    let record = container.read();
    let mounts = record
        .mounts
        .iter()
        .filter(|mount| mount.point.kind != MountKind::Tmpfs)
        .cloned();
    Ok(mounts
        .map(|mut mount| {
            mount.owned = false;
            mount.copy = false;
            mount.point.rw &= !read_only;
            mount
        })
        .collect())
}

/// A path in the container, normalised; the root itself is refused.
fn destination(path: &str) -> Result<String> {
    let cleaned = clean(&format!("/{path}"));
    if cleaned == "/" {
        return Err(EngineError::invalid(
            "invalid specification: destination can't be '/'",
        ));
    }
    Ok(cleaned)
}

/// Whether a path stays beneath the directory it starts from, links aside.
fn is_local(path: &str) -> bool {
    let mut depth = 0_usize;
    let inside = path.split('/').all(|part| {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return false,
            ".." => depth -= 1,
            _ => depth += 1,
        }
        true
    });
    inside && !path.starts_with('/') && !path.contains('\0')
}

/// Without empty parts, `.` and `..`, as Go's `path.Clean`.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests;
