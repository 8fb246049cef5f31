//! Sizes of directory trees.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Bytes of the regular files in a tree, hard links counted once. What vanishes meanwhile is left out.
pub(crate) fn tree_size(path: &Path) -> Result<u64, Errno> {
    let size = |status: &Stat| u64::try_from(status.st_size).unwrap_or(0);
    sum(path, |kind| kind == FileType::RegularFile, size)
}

/// Bytes a tree takes on its disk, directories and links included, hard links counted once.
pub(crate) fn tree_blocks(path: &Path) -> Result<u64, Errno> {
    let blocks = |status: &Stat| u64::try_from(status.st_blocks).unwrap_or(0) * 512;
    sum(path, |_| true, blocks)
}

fn sum(path: &Path, counts: fn(FileType) -> bool, of: fn(&Stat) -> u64) -> Result<u64, Errno> {
    let mut seen = HashSet::new();
    let mut total = 0;
    // Directories waiting, by descriptor of their parent and name, would cost descriptors; paths beneath one root don't.
    let root = open(CWD, path)?;
    let mut waiting = vec![Vec::from(*b".")];
    while let Some(dir) = waiting.pop() {
        let fd = match open(&root, dir.as_slice()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(errno) => return Err(errno),
        };
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type());
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if kind == FileType::Directory {
                waiting.push([&dir, b"/".as_slice(), name.to_bytes()].concat());
            }
            if !counts(kind) {
                continue;
            }
            let Ok(status) = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let once = kind == FileType::Directory || status.st_nlink == 1;
            if once || seen.insert((status.st_dev, status.st_ino)) {
                total += of(&status);
            }
        }
    }
    Ok(total)
}

fn open(parent: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}
