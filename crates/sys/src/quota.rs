//! Project quotas: how many bytes the files of directory trees may take (quotactl(2); Linux 5.14 for `quotactl_fd`).
//!
//! A project is a number that directories hand on to whatever is made in them. XFS has them when it is mounted with `pquota`,
//! ext4 when it was made with `-O quota,project` and is mounted with `prjquota`. XFS holds everybody to a limit, ext4 all but those
//! with `CAP_SYS_RESOURCE`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use linux_raw_sys::general::fsxattr;
use linux_raw_sys::ioctl::{FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

// linux/quota.h and linux/dqblk_xfs.h
const PRJQUOTA: u32 = 2;
const Q_GETQUOTA: u32 = 0x80_0007;
const Q_SETQUOTA: u32 = 0x80_0008;
const Q_XGETQSTATV: u32 = 0x5808;
const QIF_BLIMITS: u32 = 1;
const FS_QUOTA_PDQ_ENFD: u16 = 1 << 5;
const FS_XFLAG_PROJINHERIT: u32 = 0x200;
/// What limits are counted in.
const BLOCK: u64 = 1024;

/// `struct if_dqblk`
#[repr(C)]
#[derive(Default)]
struct Block {
    hard: u64,
    soft: u64,
    /// Bytes.
    space: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    inodes: u64,
    time: u64,
    inodes_time: u64,
    valid: u32,
}

/// `struct fs_quota_statv`, as far as it matters, and more room than it takes.
#[repr(C)]
struct Status {
    version: i8,
    padding: u8,
    flags: u16,
    rest: [u32; 127],
}

/// Whether the file system of a directory keeps projects within limits.
pub fn has_projects(directory: &Path) -> bool {
    let mut status = Status {
        version: 1,
        padding: 0,
        flags: 0,
        rest: [0; 127],
    };
    let asked = open(directory).and_then(|fd| {
        // SAFETY: the kernel writes a fs_quota_statv, which is shorter than Status (the assertion in the tests).
        unsafe { control(&fd, Q_XGETQSTATV, 0, &raw mut status) }
    });
    asked.is_ok() && status.flags & FS_QUOTA_PDQ_ENFD != 0
}

/// The project of a directory; 0 is none.
pub fn project(directory: &Path) -> io::Result<u32> {
    Ok(attributes(&open(directory)?)?.fsx_projid)
}

/// Makes a directory, and what will be made in it, part of a project.
pub fn set_project(directory: &Path, project: u32) -> io::Result<()> {
    let fd = open(directory)?;
    let mut attributes = attributes(&fd)?;
    attributes.fsx_projid = project;
    attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    // SAFETY: the kernel reads one fsxattr, which lives through the call and names no other memory.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), FS_IOC_FSSETXATTR.into(), &raw const attributes) };
    Ok(check(done.into())?)
}

/// Whether nothing belongs to a project and it has no limit, on the file system of `directory`.
pub fn is_free(directory: &Path, project: u32) -> io::Result<bool> {
    let mut block = Block::default();
    // SAFETY: the kernel writes one if_dqblk.
    match unsafe { control(&open(directory)?, Q_GETQUOTA, project, &raw mut block) } {
        Ok(()) => Ok(block.space == 0 && block.inodes == 0 && block.hard == 0 && block.soft == 0),
        Err(Errno::NOENT) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

/// Lets the files of a project take so many bytes at most, on the file system of `directory`; 0 is without a limit.
pub fn limit(directory: &Path, project: u32, bytes: u64) -> io::Result<()> {
    let mut block = Block {
        hard: bytes.div_ceil(BLOCK),
        soft: bytes.div_ceil(BLOCK),
        valid: QIF_BLIMITS,
        ..Block::default()
    };
    // SAFETY: the kernel reads one if_dqblk.
    Ok(unsafe { control(&open(directory)?, Q_SETQUOTA, project, &raw mut block) }?)
}

fn attributes(fd: &OwnedFd) -> Result<fsxattr, Errno> {
    let mut attributes = fsxattr {
        fsx_xflags: 0,
        fsx_extsize: 0,
        fsx_nextents: 0,
        fsx_projid: 0,
        fsx_cowextsize: 0,
        fsx_pad: [0; 8],
    };
    // SAFETY: the kernel writes one fsxattr.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), FS_IOC_FSGETXATTR.into(), &raw mut attributes) };
    check(done.into())?;
    Ok(attributes)
}

/// # Safety
/// `argument` points to what the command reads or writes, for projects.
unsafe fn control<T>(fd: &OwnedFd, command: u32, project: u32, argument: *mut T) -> Result<(), Errno> {
    let command = command << 8 | PRJQUOTA;
    // SAFETY: the caller answers for the argument; the rest are numbers.
    check(unsafe { libc::syscall(libc::SYS_quotactl_fd, fd.as_raw_fd(), command, project, argument) })
}

fn open(directory: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty())
}

fn check(result: libc::c_long) -> Result<(), Errno> {
    if result >= 0 {
        return Ok(());
    }
    let errno = io::Error::last_os_error().raw_os_error();
    Err(errno.map_or(Errno::IO, Errno::from_raw_os_error))
}

#[cfg(test)]
mod tests {
    //! With quotas where the kernel has them: needs root, loop devices and mke2fs.
    use std::process::Command;

    use super::*;
    use crate::mount;
    use fs_err as fs;
    use rustix::thread::CapabilitySet;

    #[test]
    fn the_structures_have_the_kernels_sizes() {
        // The sizes are part of the requests' numbers (ioctl.h: bits 16 to 29).
        assert_eq!((FS_IOC_FSGETXATTR >> 16 & 0x3fff) as usize, size_of::<fsxattr>());
        assert_eq!(size_of::<Block>(), 72);
        // Eight bytes, three files of 24, limits and warnings, 64 reserved.
        assert!(size_of::<Status>() >= 8 + 3 * 24 + 24 + 64);
    }

    #[test]
    fn file_systems_without_say_so() {
        assert!(!has_projects(Path::new("/proc")));
        assert!(!has_projects(Path::new("/nonexistent")));
    }

    #[test]
    fn a_project_stays_within_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let (image, root) = (dir.path().join("image"), dir.path().join("root"));
        fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
        fs::create_dir(&root).unwrap();
        let made = Command::new("mke2fs")
            .args([
                "-q",
                "-t",
                "ext4",
                "-O",
                "quota,project",
                "-E",
                "quotatype=prjquota",
            ])
            .arg(&image)
            .status();
        assert!(made.expect("mke2fs of e2fsprogs").success());
        let mounted = Command::new("mount")
            .args(["-o", "loop,prjquota"])
            .arg(&image)
            .arg(&root)
            .output();
        if !mounted.expect("mount").status.success() {
            // A kernel without quotas, which mounts nothing that has them.
            return;
        }
        let result = std::panic::catch_unwind(|| {
            assert!(has_projects(&root));
            let [limited, free] = ["limited", "free"].map(|name| root.join(name));
            fs::create_dir(&limited).unwrap();
            fs::create_dir(&free).unwrap();
            assert!(is_free(&root, 7).unwrap());
            set_project(&limited, 7).unwrap();
            limit(&root, 7, 1 << 20).unwrap();
            assert!(!is_free(&root, 7).unwrap());
            fs::create_dir(limited.join("inner")).unwrap();
            assert_eq!(project(&limited.join("inner")).unwrap(), 7);
            assert_eq!(project(&free).unwrap(), 0);
            let write = |directory: &Path| {
                let work = || {
                    // Of this thread alone.
                    let mut sets = rustix::thread::capabilities(None)?;
                    sets.effective.remove(CapabilitySet::SYS_RESOURCE);
                    rustix::thread::set_capabilities(None, sets)?;
                    fs::write(directory.join("file"), vec![1; 2 << 20])
                };
                std::thread::scope(|scope| scope.spawn(work).join().unwrap())
            };
            let refused = write(&limited.join("inner")).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
            write(&free).unwrap();
            limit(&root, 7, 0).unwrap();
            write(&limited.join("inner")).unwrap();
        });
        mount::unmount(&root, true).unwrap();
        result.unwrap();
    }
}
