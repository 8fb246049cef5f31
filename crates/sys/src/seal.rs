//! The running binary as a sealed memory file (CVE-2019-5736).
//!
//! A container that is given a process of ours can reach its program through `/proc/<pid>/exe` and, being root, could
//! overwrite it for the host. So the program is executed from something that cannot be written:
//!
//! 1. a read-only overlay of its directory in a mount that is attached nowhere (kernel 5.2 and later): costs nothing,
//!    and its pages are the page cache's own, shared with every other process of the same file;
//! 2. else a sealed copy in memory.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// A program that cannot be changed, held open.
#[derive(Debug)]
pub struct SealedProgram {
    fd: OwnedFd,
    kind: SealKind,
}

/// How a program was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealKind {
    /// A read-only overlay in a detached mount.
    Overlay,
    /// A copy in a sealed memory file.
    Memory,
}

impl SealedProgram {
    /// Seals the file at `program`.
    pub fn new(program: &Path) -> io::Result<Self> {
        match overlay(program) {
            Ok(fd) => Ok(SealedProgram {
                fd,
                kind: SealKind::Overlay,
            }),
            Err(error) => {
                tracing::debug!(%error, "no sealed overlay, copying the program into memory");
                Ok(SealedProgram {
                    fd: memory(program)?,
                    kind: SealKind::Memory,
                })
            }
        }
    }

    /// A path to execute it by; valid in this process and while it starts a child.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(crate::process::fd_path(&self.fd))
    }

    pub fn kind(&self) -> SealKind {
        self.kind
    }
}

/// A directory that every system has and nobody installs programs in.
const OTHER_DIRECTORY: &str = "/sys";

fn overlay(program: &Path) -> io::Result<OwnedFd> {
    let (Some(directory), Some(name)) = (program.parent(), program.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let fs = fs.as_fd();
    let directory = rustix::fs::open(
        directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::mount::fsconfig_set_string(fs, "source", "havre-sealed")?;
    // A read-only overlay must have two lower directories. What the second holds does not matter: the program is found
    // in the first. (Mounts that are attached nowhere, an empty one say, are refused by many kernels.)
    let lower = format!("{}:{OTHER_DIRECTORY}", crate::process::fd_path(&directory));
    rustix::mount::fsconfig_set_string(fs, "lowerdir", lower)?;
    // Inode numbers stay those of the file, so that it can be recognised. A kernel without the switch changes none.
    let _ = rustix::mount::fsconfig_set_string(fs, "xino", "off");
    rustix::mount::fsconfig_create(fs)?;
    let mount = rustix::mount::fsmount(
        fs,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV,
    )?;
    let fd = rustix::fs::openat(
        &mount,
        Path::new(name),
        OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )?;
    let (sealed, original) = (rustix::fs::fstat(&fd)?, rustix::fs::stat(program)?);
    if sealed.st_size != original.st_size || sealed.st_ino != original.st_ino {
        return Err(io::Error::other("the overlay shows another file"));
    }
    Ok(fd)
}

fn memory(program: &Path) -> io::Result<OwnedFd> {
    let name = "havre-sealed";
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(name, flags))?;
    let mut source = fs_err::File::open(program)?;
    let mut target = std::fs::File::from(fd);
    io::copy(&mut source, &mut target)?;
    let fd = OwnedFd::from(target);
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o555))?;
    rustix::fs::fcntl_add_seals(
        &fd,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    // Executing a file that is open for writing fails with ETXTBSY: keep it open for reading only.
    let readable = rustix::fs::open(
        crate::process::fd_path(&fd),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    Ok(readable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn memory_copy_runs_and_cannot_be_written() {
        let fd = memory(Path::new("/bin/true")).unwrap();
        let path = crate::process::fd_path(&fd);
        assert!(Command::new(&path).arg0("true").status().unwrap().success());
        let writable = std::fs::OpenOptions::new().write(true).open(&path);
        assert!(
            writable
                .and_then(|mut file| std::io::Write::write(&mut file, b"x"))
                .is_err()
        );
    }

    // Needs root: a detached mount.
    #[test]
    fn sealed_program_runs_and_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        fs_err::copy("/bin/true", &program).unwrap();
        let sealed = SealedProgram::new(&program).unwrap();
        assert_eq!(sealed.kind(), SealKind::Overlay);
        assert!(
            Command::new(sealed.path())
                .arg0("true")
                .status()
                .unwrap()
                .success()
        );
        // A copy in memory opens for root, and takes no byte.
        let writable = std::fs::OpenOptions::new().write(true).open(sealed.path());
        assert!(
            writable
                .and_then(|mut file| std::io::Write::write(&mut file, b"x"))
                .is_err()
        );
    }
}
