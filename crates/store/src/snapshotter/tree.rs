//! Sizes of directory trees.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Bytes of the regular files in a tree, hard links counted once. What vanishes meanwhile is left out.
pub(crate) fn tree_size(path: &Path) -> Result<u64, Errno> {
    let mut seen = HashSet::new();
    let mut size = 0;
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
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match entry.file_type() {
                FileType::Directory => waiting.push([&dir, b"/".as_slice(), name.to_bytes()].concat()),
                FileType::RegularFile => {
                    let Ok(status) = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) else {
                        continue;
                    };
                    if status.st_nlink == 1 || seen.insert((status.st_dev, status.st_ino)) {
                        size += u64::try_from(status.st_size).unwrap_or(0);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(size)
}

fn open(parent: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}
