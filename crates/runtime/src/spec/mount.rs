//! Mounts of a container: Docker's own and those asked for.

use std::os::fd::AsFd;

use serde_json::{Value, json};

use super::{ContainerSpec, MountKind, NamespaceMode, Propagation, Source, SpecError, Stage, place};

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": kind, "source": source, "options": options})
}

/// `mounts` of the specification, in the order they are made, and the propagation of the root. With a stage, what is bound is
/// there.
pub(super) fn mounts(
    spec: &ContainerSpec,
    rootfs: impl AsFd,
    cgroup_path: &str,
    mut stage: Option<&mut Stage>,
) -> Result<(Vec<Value>, &'static str), SpecError> {
    place::check_own(&rootfs)?;
    let sys = if spec.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", sys]),
    ];
    match &spec.runtime {
        // Others bind the container's own cgroups themselves.
        Some(_) => mounts.push(mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", sys],
        )),
        None => mounts.extend(cgroup_mounts(cgroup_path, sys)),
    }
    match spec.ipc_mode {
        NamespaceMode::Private => {
            let size = format!("size={}", spec.shm_size);
            let shm = ["nosuid", "noexec", "nodev", "mode=1777", &size];
            mounts.push(mount(
                "/dev/mqueue",
                "mqueue",
                "mqueue",
                &["nosuid", "noexec", "nodev"],
            ));
            if spec.shm_size > 0 {
                mounts.push(mount("/dev/shm", "tmpfs", "shm", &shm));
            }
        }
        NamespaceMode::Host => {
            let options = ["nosuid", "noexec", "nodev"];
            match &stage {
                None => mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &options)),
                // Only who owns the namespace may mount its queues anew.
                Some(_) if is_directory("/dev/mqueue") => {
                    let options = ["rbind", "nosuid", "noexec", "nodev"];
                    mounts.push(mount("/dev/mqueue", "bind", "/dev/mqueue", &options));
                }
                Some(_) => {}
            }
            mounts.push(mount(
                "/dev/shm",
                "bind",
                "/dev/shm",
                &["rbind", "nosuid", "noexec", "nodev"],
            ));
        }
        // Whoever shares the namespace shares /dev/shm, which he knows.
        NamespaceMode::Of(_) => mounts.push(mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        )),
    }
    let mut root_propagation = "private";
    let mut asked = place_all(spec, rootfs)?;
    // A mount on a directory inside another mount comes after it, whatever order they were given in.
    asked.sort_by_key(|(destination, _)| destination.matches('/').count());
    for (destination, asked) in asked {
        // Ours give way to what the user wants at or above the same place, as Docker's do (`--tmpfs /dev/shm:size=1g`).
        mounts.retain(|default| {
            let default = default["destination"].as_str().unwrap_or_default();
            default != destination && !is_inside(default, &destination)
        });
        match &asked.kind {
            MountKind::Bind {
                source,
                propagation,
                recursive,
                shifted,
            } => {
                fs_err::metadata(source).map_err(|error| SpecError::BindSource {
                    path: source.clone(),
                    source: error,
                })?;
                let mut options = vec![if *recursive { "rbind" } else { "bind" }];
                options.push(match propagation {
                    Propagation::RPrivate => "rprivate",
                    Propagation::Private => "private",
                    Propagation::RShared => "rshared",
                    Propagation::Shared => "shared",
                    Propagation::RSlave => "rslave",
                    Propagation::Slave => "slave",
                });
                match propagation {
                    Propagation::RShared | Propagation::Shared => root_propagation = "shared",
                    Propagation::RSlave | Propagation::Slave if root_propagation == "private" => {
                        root_propagation = "slave";
                    }
                    _ => {}
                }
                if asked.readonly {
                    options.push("ro");
                }
                let staged = stage.as_mut().map(|stage| {
                    stage.add(Source {
                        path: source.clone(),
                        recursive: *recursive,
                        shifted: *shifted,
                    })
                });
                let source = staged
                    .as_ref()
                    .unwrap_or(source)
                    .to_str()
                    .ok_or(SpecError::Unsupported {
                        what: "a bind source whose path is not valid UTF-8",
                    })?;
                mounts.push(mount(&destination, "bind", source, &options));
            }
            MountKind::Tmpfs { options: given } => {
                let mut options = vec!["noexec", "nosuid", "nodev"];
                for option in given
                    .iter()
                    .flat_map(|option| option.split(','))
                    .filter(|o| !o.is_empty())
                {
                    check_tmpfs_option(&destination, option)?;
                    // The later of two opposites wins.
                    let opposite = match option {
                        "exec" => "noexec",
                        "suid" => "nosuid",
                        "dev" => "nodev",
                        "noexec" => "exec",
                        "nosuid" => "suid",
                        "nodev" => "dev",
                        "ro" => "rw",
                        "rw" => "ro",
                        _ => "",
                    };
                    options.retain(|known| *known != opposite && *known != option);
                    options.push(option);
                }
                if !options.iter().any(|option| option.starts_with("mode=")) {
                    options.push("mode=1777");
                }
                if asked.readonly {
                    options.retain(|option| *option != "rw");
                    options.push("ro");
                }
                mounts.push(mount(&destination, "tmpfs", "tmpfs", &options));
            }
        }
    }
    Ok((mounts, root_propagation))
}

fn is_directory(path: &str) -> bool {
    fs_err::metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// Every mount asked for with the place it really has.
fn place_all(spec: &ContainerSpec, rootfs: impl AsFd) -> Result<Vec<(String, &super::Mount)>, SpecError> {
    let mut asked = Vec::new();
    for mount in &spec.mounts {
        asked.push((clean(&mount.destination)?, mount));
    }
    asked.sort_by_key(|(destination, _)| destination.matches('/').count());
    let mut placed: Vec<(String, String)> = Vec::with_capacity(asked.len());
    let mut mounts = Vec::with_capacity(asked.len());
    for (destination, mount) in asked {
        // Inside another mount the image's links are out of sight; the runtime follows those it finds there then.
        let above = placed
            .iter()
            .rev()
            .find(|(above, _)| is_inside(&destination, above));
        let real = match above {
            Some((above, real)) => format!("{real}{}", &destination[above.len()..]),
            None => place::resolve(&rootfs, &destination)?,
        };
        let source = match &mount.kind {
            MountKind::Bind { source, .. } => Some(source.as_path()),
            MountKind::Tmpfs { .. } => None,
        };
        place::check_asked(&real, source)?;
        placed.push((destination, real.clone()));
        mounts.push((real, mount));
    }
    Ok(mounts)
}

fn is_inside(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// The container's own cgroup at `/sys/fs/cgroup`.
///
/// On version 1 libcontainer would mount the controllers writable, and root in a container could lift its limits; so
/// each is a bind mount of ours. (The directories are made before the mounts.)
fn cgroup_mounts(cgroup_path: &str, access: &str) -> Vec<Value> {
    const ROOT: &str = "/sys/fs/cgroup";
    const CONTROLLERS: [&str; 12] = [
        "blkio",
        "cpu",
        "cpuacct",
        "cpuset",
        "devices",
        "freezer",
        "hugetlb",
        "memory",
        "net_cls",
        "net_prio",
        "perf_event",
        "pids",
    ];
    let options = ["nosuid", "noexec", "nodev", access];
    if crate::cgroup::is_v2() {
        return vec![mount(ROOT, "cgroup", "cgroup", &options)];
    }
    let mut mounts = vec![mount(
        ROOT,
        "tmpfs",
        "tmpfs",
        &["nosuid", "noexec", "nodev", "mode=755"],
    )];
    for controller in CONTROLLERS {
        // Where controllers are mounted together, each name is a link to the one directory.
        let hierarchy = format!("{ROOT}/{controller}");
        if fs_err::metadata(format!("{hierarchy}/cgroup.procs")).is_ok() {
            let source = format!("{hierarchy}{cgroup_path}");
            mounts.push(mount(
                &hierarchy,
                "bind",
                &source,
                &["bind", "private", "nosuid", "noexec", "nodev", access],
            ));
        }
    }
    mounts
}

fn check_tmpfs_option(destination: &str, option: &str) -> Result<(), SpecError> {
    const FLAGS: [&str; 15] = [
        "exec",
        "noexec",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "ro",
        "rw",
        "sync",
        "async",
        "atime",
        "noatime",
        "relatime",
        "strictatime",
        "diratime",
    ];
    let known = match option.split_once('=') {
        None => FLAGS.contains(&option),
        Some(("size" | "nr_blocks" | "nr_inodes", value)) => {
            let number = value.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G', '%']);
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        }
        Some(("mode", value)) => u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777),
        Some(("uid" | "gid", value)) => value.parse::<u32>().is_ok(),
        Some(("mpol" | "huge", _)) => true,
        Some(_) => false,
    };
    if known {
        Ok(())
    } else {
        Err(SpecError::TmpfsOption {
            destination: destination.to_owned(),
            option: option.to_owned(),
        })
    }
}

/// An absolute path without `.`, `..` and doubled slashes; not the root itself.
pub(super) fn clean(path: &str) -> Result<String, SpecError> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(SpecError::MountPath {
            path: path.to_owned(),
        });
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(SpecError::Unsupported {
            what: "mounting over / of a container (destination '/')",
        });
    }
    Ok(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Mount;

    fn made(mounts: Vec<Mount>) -> Result<(Vec<Value>, &'static str), SpecError> {
        let spec = ContainerSpec {
            mounts,
            ..ContainerSpec::new("x", "/", vec!["a".into()])
        };
        let rootfs = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/a/b/c", rootfs.path().join("link")).unwrap();
        let rootfs = std::fs::OpenOptions::new()
            .read(true)
            .open(rootfs.path())
            .unwrap();
        super::mounts(&spec, &rootfs, "/havre/x", None)
    }

    fn tmpfs(destination: &str, options: &[&str]) -> Mount {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Mount {
            destination: destination.into(),
            kind: MountKind::Tmpfs { options },
            readonly: false,
        }
    }

    #[test]
    fn tmpfs_options() {
        let (mounts, _) = made(vec![tmpfs("/run", &["size=64m,exec", "uid=5"])]).unwrap();
        let options = &mounts.last().unwrap()["options"];
        assert_eq!(
            *options,
            json!(["nosuid", "nodev", "size=64m", "exec", "uid=5", "mode=1777"])
        );
        for bad in ["lowerdir=/", "size=", "mode=9", "suidx", "context=x"] {
            assert!(made(vec![tmpfs("/run", &[bad])]).is_err(), "{bad}");
        }
    }

    #[test]
    fn destinations() {
        let (mounts, _) = made(vec![
            tmpfs("/data/deep/er", &[]),
            tmpfs("/data//x/..", &[]),
            tmpfs("/dev/shm", &["size=1g"]),
        ])
        .unwrap();
        let names: Vec<_> = mounts
            .iter()
            .map(|mount| mount["destination"].as_str().unwrap())
            .collect();
        assert_eq!(names.iter().filter(|name| **name == "/dev/shm").count(), 1);
        let position = |name: &str| names.iter().position(|n| *n == name).unwrap();
        assert!(position("/data") < position("/data/deep/er"));
        // Sorted by where they really are.
        let (mounts, _) = made(vec![tmpfs("/link/x", &[]), tmpfs("/link", &[])]).unwrap();
        let names: Vec<_> = mounts
            .iter()
            .rev()
            .take(2)
            .map(|mount| &mount["destination"])
            .collect();
        assert_eq!(names, ["/a/b/c/x", "/a/b/c"]);
        // What is ours beneath goes with it.
        let (mounts, _) = made(vec![tmpfs("/sys", &[])]).unwrap();
        let ours = |mount: &Value| mount["destination"].as_str().unwrap().starts_with("/sys/");
        assert!(!mounts.iter().any(ours));
        assert!(made(vec![tmpfs("/dev", &[])]).is_err());
        assert!(made(vec![tmpfs("/proc/self", &[])]).is_err());
        assert!(made(vec![tmpfs("relative", &[])]).is_err());
        assert!(made(vec![tmpfs("/..", &[])]).is_err());
    }
}
