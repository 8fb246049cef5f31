//! Making files beneath a root, replacing what is there.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use havre_sys::rooted::{Mode, OFlags, Root};
use rustix::fs::{AtFlags, FileType, Gid, Timespec, Timestamps, Uid};
use rustix::io::Errno;

/// Everything about a file but its name and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Permission bits, at most `0o7777`.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    Char { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
    Fifo,
}

/// The parent directory of `path`, made if missing, and the name in it. Errors name the path.
fn parent(root: &Root, path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let name = path
        .file_name()
        .ok_or_else(|| named(path, Errno::INVAL))?
        .to_owned();
    let directory = path.parent().unwrap_or(Path::new(""));
    let fd = match root.open_at(directory, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            root.ensure_dir(directory, Mode::from_raw_mode(0o755))?
        }
        other => other?,
    };
    Ok((fd, name))
}

/// Removes what is in the way of a new file; a directory stays and is an error.
fn clear(parent: &OwnedFd, name: &OsString, path: &Path) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            format!("cannot copy a file over the directory {}", path.display()),
        )),
        Err(errno) => Err(named(path, errno)),
    }
}

/// Makes a regular file with everything `content` yields; the bytes written.
pub(crate) fn file(
    root: &Root,
    path: &Path,
    content: &mut dyn FnMut(&mut std::fs::File) -> io::Result<u64>,
    attributes: &Attributes,
) -> io::Result<u64> {
    let (parent, name) = parent(root, path)?;
    clear(&parent, &name, path)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o600))
        .map_err(|errno| named(path, errno))?;
    let mut file = std::fs::File::from(fd);
    let written = content(&mut file)?;
    let fail = |errno| named(path, errno);
    rustix::fs::fchown(
        &file,
        Some(Uid::from_raw(attributes.uid)),
        Some(Gid::from_raw(attributes.gid)),
    )
    .map_err(fail)?;
    // After the owner: changing it drops set-id bits and capabilities.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(attributes.mode)).map_err(fail)?;
    for (key, value) in &attributes.xattrs {
        set_xattr(&file, key, value).map_err(fail)?;
    }
    rustix::fs::futimens(&file, &times(attributes)).map_err(fail)?;
    Ok(written)
}

/// Makes a directory, or gives an existing one these attributes when `override_existing`; whether it was made.
pub(crate) fn directory(
    root: &Root,
    path: &Path,
    attributes: &Attributes,
    override_existing: bool,
) -> io::Result<bool> {
    let existing = match root.stat(path, true) {
        Ok(status) => Some(FileType::from_raw_mode(status.st_mode)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match existing {
        Some(FileType::Directory) if !override_existing => return Ok(false),
        Some(FileType::Directory) => {}
        Some(_) => {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("cannot copy a directory over the file {}", path.display()),
            ));
        }
        None => {
            root.ensure_dir(path, Mode::from_raw_mode(0o755))?;
        }
    }
    let fd = root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let fail = |errno| named(path, errno);
    rustix::fs::fchown(
        &fd,
        Some(Uid::from_raw(attributes.uid)),
        Some(Gid::from_raw(attributes.gid)),
    )
    .map_err(fail)?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(attributes.mode)).map_err(fail)?;
    for (key, value) in &attributes.xattrs {
        set_xattr(&fd, key, value).map_err(fail)?;
    }
    Ok(existing.is_none())
}

/// Gives an existing directory its modification time, once its content is there.
pub(crate) fn touch_directory(root: &Root, path: &Path, attributes: &Attributes) -> io::Result<()> {
    let fd = root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    rustix::fs::futimens(&fd, &times(attributes)).map_err(|errno| named(path, errno))
}

pub(crate) fn symlink(root: &Root, path: &Path, target: &Path, attributes: &Attributes) -> io::Result<()> {
    let (parent, name) = parent(root, path)?;
    clear(&parent, &name, path)?;
    let fail = |errno| named(path, errno);
    rustix::fs::symlinkat(target, &parent, &name).map_err(fail)?;
    let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
    rustix::fs::chownat(&parent, &name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
    rustix::fs::utimensat(&parent, &name, &times(attributes), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)
}

/// Another name for the file `existing`, both beneath the root.
pub(crate) fn hard_link(root: &Root, path: &Path, existing: &Path) -> io::Result<()> {
    if path == existing {
        return Ok(());
    }
    let (from, from_name) = parent(root, existing)?;
    let (to, to_name) = parent(root, path)?;
    clear(&to, &to_name, path)?;
    rustix::fs::linkat(&from, &from_name, &to, &to_name, AtFlags::empty()).map_err(|errno| named(path, errno))
}

pub(crate) fn special(root: &Root, path: &Path, kind: Special, attributes: &Attributes) -> io::Result<()> {
    let (parent, name) = parent(root, path)?;
    clear(&parent, &name, path)?;
    let fail = |errno| named(path, errno);
    let (file_type, device) = match kind {
        Special::Char { major, minor } => (FileType::CharacterDevice, rustix::fs::makedev(major, minor)),
        Special::Block { major, minor } => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
        Special::Fifo => (FileType::Fifo, 0),
    };
    rustix::fs::mknodat(&parent, &name, file_type, Mode::from_raw_mode(0o600), device).map_err(fail)?;
    let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
    rustix::fs::chownat(&parent, &name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
    rustix::fs::chmodat(
        &parent,
        &name,
        Mode::from_raw_mode(attributes.mode),
        AtFlags::empty(),
    )
    .map_err(fail)?;
    rustix::fs::utimensat(&parent, &name, &times(attributes), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)
}

/// The names and values of a file's extended attributes that a copy keeps.
pub(crate) fn xattrs(fd: &OwnedFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    attributes(fd, |name| {
        name.starts_with(b"user.") || name == b"security.capability"
    })
}

/// The same with everything that a layer can carry.
pub(crate) fn layer_xattrs(fd: &OwnedFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    attributes(fd, |name| {
        let kinds: [&[u8]; 3] = [b"user.", b"trusted.", b"system.posix_acl_"];
        name == b"security.capability" || kinds.iter().any(|kind| name.starts_with(kind))
    })
}

fn attributes(fd: &OwnedFd, carried: fn(&[u8]) -> bool) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0_u8; 4096];
    let length = loop {
        match rustix::fs::flistxattr(fd, &mut names[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) => names.resize(names.len() * 2, 0),
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
    };
    let mut found = Vec::new();
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let overlay = name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.");
        if !carried(name) || overlay {
            continue;
        }
        let mut value = vec![0_u8; 64 << 10];
        match rustix::fs::fgetxattr(fd, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                found.push((name.to_vec(), value));
            }
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    found.sort();
    Ok(found)
}

fn set_xattr(fd: impl std::os::fd::AsFd, key: &[u8], value: &[u8]) -> Result<(), Errno> {
    rustix::fs::fsetxattr(fd, key, value, rustix::fs::XattrFlags::empty())
}

fn times(attributes: &Attributes) -> Timestamps {
    let time = Timespec {
        tv_sec: attributes.mtime.0,
        tv_nsec: i64::from(attributes.mtime.1),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

pub(crate) fn named(path: &Path, errno: Errno) -> io::Error {
    io::Error::new(
        io::Error::from(errno).kind(),
        format!("{}: {errno}", path.display()),
    )
}

/// Copies a stream into a new file.
pub(crate) fn pour(reader: &mut dyn Read) -> impl FnMut(&mut std::fs::File) -> io::Result<u64> + '_ {
    move |file| io::copy(reader, file)
}

/// Removes a mount point that was made for a step: an empty file or directory.
pub(crate) fn remove_if_empty(root: &Root, path: &Path) {
    let Ok(Some((parent, name))) = root.parent(path) else {
        return;
    };
    let Ok(status) = rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) else {
        return;
    };
    let result = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR),
        FileType::RegularFile if status.st_size == 0 => {
            rustix::fs::unlinkat(&parent, &name, AtFlags::empty())
        }
        _ => Ok(()),
    };
    if let Err(errno) = result {
        tracing::debug!(path = %path.display(), %errno, "mount point stays in the layer");
    }
}
