//! Where mounts go: the image's links are resolved before anything is mounted, and places that would give the image power
//! over the host or over its own confinement are refused.
//!
//! The runtime makes links, nodes and a terminal in `/dev` by path while the host's root is still the process's own, so
//! `/dev` being a link of the image would have it write on the host (CVE-2026-41579); a mount on `/proc` would let a
//! container forge what its confinement is set up through (CVE-2019-16884, CVE-2025-52881).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::SpecError;

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// What may be mounted in `/proc`: files that only tell something. runc's list.
const IN_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Directories that the runtime mounts over must be directories, or missing.
pub(super) fn check_own(rootfs: impl AsFd) -> Result<(), SpecError> {
    for own in ["dev", "proc", "sys"] {
        match status(rootfs.as_fd(), Path::new(own)) {
            Ok((_, FileType::Directory)) | Err(Errno::NOENT) => {}
            Ok((_, kind)) => {
                return Err(SpecError::MountPoint {
                    path: format!("/{own}"),
                    reason: match kind {
                        FileType::Symlink => "the image has a symbolic link there instead of a directory",
                        _ => "what the image has there is not a directory",
                    },
                });
            }
            Err(errno) => return Err(failed(&format!("/{own}"), errno)),
        }
    }
    Ok(())
}

/// The real place of a destination (absolute, clean) in the root file system: links are followed inside it, and what
/// does not exist yet, link targets included, is taken literally.
pub(super) fn resolve(rootfs: impl AsFd, destination: &str) -> Result<String, SpecError> {
    let rootfs = rootfs.as_fd();
    let mut ahead: VecDeque<OsString> = names(Path::new(destination)).collect();
    let mut real = PathBuf::new();
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            real.pop();
            continue;
        }
        let next = real.join(&name);
        match status(rootfs, &next) {
            Ok((fd, FileType::Symlink)) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(failed(destination, Errno::LOOP));
                }
                let target =
                    rustix::fs::readlinkat(fd, "", Vec::new()).map_err(|errno| failed(destination, errno))?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    real = PathBuf::new();
                }
                for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                    ahead.push_front(name);
                }
            }
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => real = next,
            Err(errno) => return Err(failed(destination, errno)),
        }
    }
    match real.to_str() {
        Some("") => Err(SpecError::MountPoint {
            path: destination.to_owned(),
            reason: "it leads to the root directory of the container",
        }),
        Some(real) => Ok(format!("/{real}")),
        None => Err(SpecError::MountPoint {
            path: destination.to_owned(),
            reason: "it leads to a path that is not valid UTF-8",
        }),
    }
}

/// Refuses to mount what is asked for at a (resolved) destination.
pub(super) fn check_asked(destination: &str, source: Option<&Path>) -> Result<(), SpecError> {
    let refused = |reason| {
        Err(SpecError::MountPoint {
            path: destination.to_owned(),
            reason,
        })
    };
    // Docker allows `-v /dev:/dev`: runc then makes nothing in it. libcontainer has no such case. After all mounts it makes its
    // links and nodes in whatever lies at `/dev` and replaces `ptmx`, which in the host's own `/dev` would be the host's. The
    // way there would be to lay the host's directory over the finished one from a `createContainer` hook, before the pivot.
    if destination == "/dev" {
        return refused("it is the container's own; use --device DEVICE, or --privileged for all devices");
    }
    // Another procfs may stand there (`-v /proc:/proc`), nothing else.
    if destination == "/proc" && !source.is_some_and(is_procfs) {
        return refused("only another procfs can be mounted there");
    }
    if destination.starts_with("/proc/") && !IN_PROC.contains(&destination) {
        return refused("it is inside /proc");
    }
    Ok(())
}

fn is_procfs(source: &Path) -> bool {
    rustix::fs::statfs(source).is_ok_and(|status| status.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

/// What a path without links before its last component is.
fn status(rootfs: BorrowedFd<'_>, path: &Path) -> Result<(std::os::fd::OwnedFd, FileType), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let fd = rustix::fs::openat2(rootfs, path, flags, Mode::empty(), resolve)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
    Ok((fd, kind))
}

fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn failed(path: &str, errno: Errno) -> SpecError {
    SpecError::ResolveMountPoint {
        path: path.to_owned(),
        source: errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (tempfile::TempDir, std::fs::File) {
        let directory = tempfile::tempdir().unwrap();
        for made in ["etc", "run", "var"] {
            fs_err::create_dir(directory.path().join(made)).unwrap();
        }
        let fd = std::fs::OpenOptions::new()
            .read(true)
            .open(directory.path())
            .unwrap();
        (directory, fd)
    }

    #[test]
    fn links_stay_inside_whether_they_lead_anywhere_or_not() {
        let (directory, root) = root();
        let link = |target: &str, name: &str| symlink(target, directory.path().join(name)).unwrap();
        link("/run", "var/run");
        link("../run/systemd/stub.conf", "etc/resolv.conf");
        link("../../../../../../etc/shadow", "etc/hosts");
        link("/var/run/./deep/..", "data");
        let resolved = |path: &str| resolve(&root, path).unwrap();
        assert_eq!(resolved("/var/run/docker.sock"), "/run/docker.sock");
        assert_eq!(resolved("/etc/resolv.conf"), "/run/systemd/stub.conf");
        assert_eq!(resolved("/etc/hosts"), "/etc/shadow");
        assert_eq!(resolved("/data/x"), "/run/x");
        assert_eq!(resolved("/not/there/yet"), "/not/there/yet");
        link("loop", "loop");
        assert!(resolve(&root, "/loop/x").is_err());
        link("/..", "top");
        assert!(resolve(&root, "/top").is_err());
    }

    #[test]
    fn own_mount_points_are_directories() {
        let (directory, root) = root();
        check_own(&root).unwrap();
        for own in ["dev", "proc", "sys"] {
            symlink("/run", directory.path().join(own)).unwrap();
            let error = check_own(&root).unwrap_err().to_string();
            assert!(
                error.contains(&format!("/{own}")) && error.contains("symbolic link"),
                "{error}"
            );
            fs_err::remove_file(directory.path().join(own)).unwrap();
            fs_err::create_dir(directory.path().join(own)).unwrap();
        }
        check_own(&root).unwrap();
    }

    #[test]
    fn proc_and_dev_are_the_containers_own() {
        let tmp = Path::new("/tmp");
        for refused in [
            "/dev",
            "/proc",
            "/proc/self",
            "/proc/sys/kernel",
            "/proc/1/attr/exec",
        ] {
            assert!(check_asked(refused, Some(tmp)).is_err(), "{refused}");
            assert!(check_asked(refused, None).is_err(), "{refused}");
        }
        for allowed in ["/dev/shm", "/proc/uptime", "/process", "/device", "/sys"] {
            check_asked(allowed, Some(tmp)).unwrap();
        }
        check_asked("/proc", Some(Path::new("/proc"))).unwrap();
    }
}
