//! Mounting whatever somebody names: device, type and options as of mount(8).

use std::ffi::CString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change, mount_remount};

/// What is mounted, as mount(2) takes it.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// A device, a path, or what the type of file system calls its source.
    pub source: &'a str,
    /// Type of the file system; `none` for a bind mount.
    pub kind: &'a str,
    /// Options as of mount(8): words the kernel has flags for become these, the rest goes to the file system as it is.
    pub options: &'a str,
}

/// A device that was not mounted. Its text has the call's arguments, and no password among them.
#[derive(Debug, thiserror::Error)]
pub struct DeviceError {
    device: String,
    target: PathBuf,
    flags: u32,
    data: String,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mount ")?;
        if !self.device.is_empty() {
            write!(f, "{}:", self.device)?;
        }
        write!(f, "{}", self.target.display())?;
        if self.flags != 0 {
            write!(f, ", flags: {:#x}", self.flags)?;
        }
        let words = self.data.split(',').map(|word| match word.split_once('=') {
            Some((name @ ("password" | "pass"), _)) => format!("{name}=********"),
            _ => word.to_owned(),
        });
        match words.collect::<Vec<_>>().join(",") {
            data if data.is_empty() => Ok(()),
            data => write!(f, ", data: {data}"),
        }
    }
}

/// Mounts a device at a directory.
pub fn device(device: &Device<'_>, target: &Path) -> Result<(), DeviceError> {
    let parsed = Parsed::of(device.options);
    let attempt = || {
        let data = CString::new(parsed.data.as_str()).map_err(|_| Errno::INVAL)?;
        mount(device.source, target, device.kind, parsed.flags, data.as_c_str())?;
        let settled = (|| {
            if !parsed.propagation.is_empty() {
                mount_change(target, parsed.propagation)?;
            }
            // The kernel leaves out a bind mount's other flags at first.
            if parsed.flags.contains(MountFlags::BIND | MountFlags::RDONLY) {
                mount_remount(target, parsed.flags, "")?;
            }
            Ok(())
        })();
        if settled.is_err() {
            let _ = super::unmount(target, true);
        }
        settled
    };
    attempt().map_err(|errno: Errno| DeviceError {
        device: device.source.to_owned(),
        target: target.to_path_buf(),
        flags: parsed.flags.bits(),
        data: parsed.data.clone(),
        source: errno.into(),
    })
}

/// Options taken apart.
#[derive(Debug)]
struct Parsed {
    flags: MountFlags,
    propagation: MountPropagationFlags,
    /// What the file system itself is told.
    data: String,
}

impl Parsed {
    fn of(options: &str) -> Self {
        use MountPropagationFlags as P;
        let mut parsed = Parsed {
            flags: MountFlags::empty(),
            propagation: P::empty(),
            data: String::new(),
        };
        let mut data = Vec::new();
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let propagation = match option {
                "private" => P::PRIVATE,
                "rprivate" => P::PRIVATE | P::REC,
                "shared" => P::SHARED,
                "rshared" => P::SHARED | P::REC,
                "slave" => P::DOWNSTREAM,
                "rslave" => P::DOWNSTREAM | P::REC,
                "unbindable" => P::UNBINDABLE,
                "runbindable" => P::UNBINDABLE | P::REC,
                _ => P::empty(),
            };
            if !propagation.is_empty() {
                parsed.propagation |= propagation;
            } else if let Some((flag, set)) = flag(option) {
                parsed.flags.set(flag, set);
            } else {
                data.push(option);
            }
        }
        parsed.data = data.join(",");
        parsed
    }
}

/// The flag an option stands for, and whether it sets it.
fn flag(option: &str) -> Option<(MountFlags, bool)> {
    Some(match option {
        "defaults" => (MountFlags::empty(), true),
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "suid" => (MountFlags::NOSUID, false),
        "nodev" => (MountFlags::NODEV, true),
        "dev" => (MountFlags::NODEV, false),
        "noexec" => (MountFlags::NOEXEC, true),
        "exec" => (MountFlags::NOEXEC, false),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        "async" => (MountFlags::SYNCHRONOUS, false),
        "dirsync" => (MountFlags::DIRSYNC, true),
        "mand" => (MountFlags::PERMIT_MANDATORY_FILE_LOCKING, true),
        "nomand" => (MountFlags::PERMIT_MANDATORY_FILE_LOCKING, false),
        "noatime" => (MountFlags::NOATIME, true),
        "atime" => (MountFlags::NOATIME, false),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "diratime" => (MountFlags::NODIRATIME, false),
        "relatime" => (MountFlags::RELATIME, true),
        "norelatime" => (MountFlags::RELATIME, false),
        "strictatime" => (MountFlags::STRICTATIME, true),
        "nostrictatime" => (MountFlags::STRICTATIME, false),
        "bind" => (MountFlags::BIND, true),
        "rbind" => (MountFlags::BIND | MountFlags::REC, true),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    //! These mount: they need root.
    use super::*;
    use fs_err as fs;

    fn parsed(options: &str) -> (u32, u32, String) {
        let parsed = Parsed::of(options);
        (parsed.flags.bits(), parsed.propagation.bits(), parsed.data)
    }

    #[test]
    fn words_of_the_kernel_and_of_the_file_system() {
        assert_eq!(
            parsed("size=1m,ro,nosuid,,uid=1000"),
            (0x3, 0, "size=1m,uid=1000".into())
        );
        assert_eq!(parsed("rbind,ro,rw,rslave"), (0x5000, 0x84000, String::new()));
        assert_eq!(parsed(""), (0, 0, String::new()));
        assert_eq!(parsed("defaults"), (0, 0, String::new()));
    }

    #[test]
    fn what_is_named_is_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let (host, target) = (dir.path().join("host"), dir.path().join("target"));
        fs::create_dir(&host).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(host.join("file"), "here").unwrap();
        let bind = Device {
            source: host.to_str().unwrap(),
            kind: "none",
            options: "bind,ro,private",
        };
        device(&bind, &target).unwrap();
        let read = fs::read_to_string(target.join("file"));
        let written = fs::write(target.join("file"), "");
        super::super::unmount(&target, true).unwrap();
        assert_eq!(read.unwrap(), "here");
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);

        let tmpfs = Device {
            source: "tmpfs",
            kind: "tmpfs",
            options: "size=64k,mode=700",
        };
        device(&tmpfs, &target).unwrap();
        let size = rustix::fs::statvfs(&target).unwrap();
        super::super::unmount(&target, true).unwrap();
        assert_eq!(size.f_blocks * size.f_frsize, 64 << 10);
    }

    #[test]
    fn what_fails_says_how_without_the_password() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().display();
        let failed = |source, kind, options| {
            let error = device(
                &Device {
                    source,
                    kind,
                    options,
                },
                dir.path(),
            )
            .unwrap_err();
            assert!(!super::super::is_mount_point(dir.path()).unwrap());
            (error.to_string(), error.source.raw_os_error())
        };
        assert_eq!(
            failed("/no/where", "none", "bind"),
            (
                format!("mount /no/where:{target}, flags: 0x1000"),
                Some(libc::ENOENT)
            )
        );
        assert_eq!(
            failed("//server/x", "no-such-type", "ro,username=u,password=hidden"),
            (
                format!("mount //server/x:{target}, flags: 0x1, data: username=u,password=********"),
                Some(libc::ENODEV)
            )
        );
        // Nothing else is remounted through a volume.
        assert_eq!(failed("/", "none", "remount,ro").1, Some(libc::ENODEV));
    }
}
