//! A directory a client on the same machine names instead of sending it.
//!
//! The client says where the directory is *for it* and what the kernel calls it; the engine looks the path up as the
//! client would, beneath `/proc/<pid>/root` of the process at the other end of the socket, and goes on only if it has
//! found the same directory of the same mount of the same running kernel. A client in a container, behind a forwarded
//! socket or on another machine so never builds from somebody else's files: it is told to send its own.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use havre_sys::handed::boot_id;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};

/// What identifies a directory on this machine. As text (in a header) it is
/// `boot=<uuid> device=<n> inode=<n> mount=<n> path=<percent-encoded>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The running kernel, from `/proc/sys/kernel/random/boot_id`: cloned machines have equal inode numbers.
    boot: String,
    device: u64,
    inode: u64,
    /// The kernel's number of the mount; 0 if it tells none (before Linux 5.8).
    mount: u64,
    path: PathBuf,
}

/// Text that is no [`Claim`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a description of a local directory")]
pub struct BadClaim;

/// Why the engine does not see the directory the client means. The client then sends its files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unseen {
    #[error("the client runs on another machine")]
    Machine,
    #[error("the client's process is not visible from here")]
    Process(#[source] io::Error),
    #[error("the client's directory cannot be opened from here: {0}")]
    Open(#[source] io::Error),
    #[error("the path leads to another directory from here")]
    Different,
}

impl Claim {
    /// The claim to the directory `path`, which must be absolute and free of links.
    pub fn new(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let (device, inode, mount) = identity(&fd)?;
        Ok(Claim {
            boot: boot_id()?,
            device,
            inode,
            mount,
            path: path.to_path_buf(),
        })
    }

    /// The directory's path as the client sees it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the directory by the eyes of the process `pid`.
    pub(super) fn open(&self, pid: i32) -> Result<OwnedFd, Unseen> {
        if boot_id().map_err(Unseen::Process)? != self.boot {
            return Err(Unseen::Machine);
        }
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(format!("/proc/{pid}/root"), directory, Mode::empty())
            .map_err(|errno| Unseen::Process(errno.into()))?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(&root, &self.path, directory, Mode::empty(), resolve)
            .map_err(|errno| Unseen::Open(errno.into()))?;
        let (device, inode, mount) = identity(&fd).map_err(Unseen::Open)?;
        let same_mount = mount == self.mount || mount == 0 || self.mount == 0;
        if (device, inode) != (self.device, self.inode) || !same_mount {
            return Err(Unseen::Different);
        }
        // A directory of a user's own file system (FUSE) or behind a server may be closed even to root.
        let readable = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&fd, ".", readable, Mode::empty()).map_err(|errno| Unseen::Open(errno.into()))?;
        Ok(fd)
    }
}

fn identity(fd: &OwnedFd) -> io::Result<(u64, u64, u64)> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let status = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, wanted)?;
    let mount = match status.stx_mask & StatxFlags::MNT_ID.bits() {
        0 => 0,
        _ => status.stx_mnt_id,
    };
    let device = rustix::fs::makedev(status.stx_dev_major, status.stx_dev_minor);
    Ok((device, status.stx_ino, mount))
}

impl fmt::Display for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claim {
            boot,
            device,
            inode,
            mount,
            path,
        } = self;
        let path =
            percent_encoding::percent_encode(path.as_os_str().as_bytes(), percent_encoding::NON_ALPHANUMERIC);
        write!(
            formatter,
            "boot={boot} device={device} inode={inode} mount={mount} path={path}"
        )
    }
}

impl FromStr for Claim {
    type Err = BadClaim;

    fn from_str(text: &str) -> Result<Self, BadClaim> {
        let mut words = text.split(' ');
        let mut field = |name: &str| {
            let word = words.next().ok_or(BadClaim)?;
            let value = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
            value.ok_or(BadClaim)
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| BadClaim);
        let claim = Claim {
            boot: field("boot")?.to_owned(),
            device: number(field("device")?)?,
            inode: number(field("inode")?)?,
            mount: number(field("mount")?)?,
            path: {
                let bytes: Vec<u8> = percent_encoding::percent_decode_str(field("path")?).collect();
                PathBuf::from(std::ffi::OsString::from_vec(bytes))
            },
        };
        let complete = words.next().is_none() && claim.path.is_absolute();
        let nul = claim.path.as_os_str().as_bytes().contains(&0);
        if complete && !nul {
            Ok(claim)
        } else {
            Err(BadClaim)
        }
    }
}

#[cfg(test)]
mod tests {
    use fs_err as fs;

    use super::*;

    fn own() -> i32 {
        i32::try_from(std::process::id()).expect("a pid")
    }

    #[test]
    fn claims_survive_being_text() {
        let home = tempfile::tempdir().expect("temp dir");
        let odd = home
            .path()
            .join(std::ffi::OsString::from_vec(b"a b%=\n\xff".to_vec()));
        fs::create_dir(&odd).expect("created");
        let claim = Claim::new(&odd).expect("claimed");
        let text = claim.to_string();
        assert!(text.is_ascii() && !text.contains('\n'), "{text}");
        assert_eq!(text.parse(), Ok(claim.clone()));
        assert!(claim.open(own()).is_ok());
        for bad in [
            "",
            "boot=1",
            &text.replace("path=", "path=x"),
            &format!("{text} more"),
            &format!("{text}%00"),
        ] {
            assert_eq!(bad.parse::<Claim>(), Err(BadClaim), "{bad}");
        }
    }

    #[test]
    fn only_the_same_directory_is_opened() {
        let home = tempfile::tempdir().expect("temp dir");
        let (here, there) = (home.path().join("here"), home.path().join("there"));
        fs::create_dir(&here).expect("created");
        fs::create_dir(&there).expect("created");
        let claim = Claim::new(&here).expect("claimed");
        let moved = Claim {
            path: there,
            ..claim.clone()
        };
        assert!(matches!(moved.open(own()), Err(Unseen::Different)));
        let gone = Claim {
            path: home.path().join("gone"),
            ..claim.clone()
        };
        assert!(matches!(gone.open(own()), Err(Unseen::Open(_))));
        let elsewhere = Claim {
            boot: "other".to_owned(),
            ..claim.clone()
        };
        assert!(matches!(elsewhere.open(own()), Err(Unseen::Machine)));
        let other_mount = Claim {
            mount: claim.mount + 1,
            ..claim.clone()
        };
        assert!(claim.mount == 0 || matches!(other_mount.open(own()), Err(Unseen::Different)));
        assert!(matches!(claim.open(i32::MAX), Err(Unseen::Process(_))));
        assert!(matches!(claim.open(0), Err(Unseen::Process(_))));
    }
}
