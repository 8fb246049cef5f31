//! An archive into a tree.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use havre_oci::layer::{Entry, Kind, Limits, Reader};
use havre_sys::rooted::{Mode, OFlags, Root};
use havre_sys::userns::IdMap;
use rustix::fs::{AtFlags, FileType, Gid, Timespec, Timestamps, Uid, XattrFlags};

use super::layer_error;
use crate::{EngineError, ErrorKind, Result};

/// Who owns what is unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// As the archive says.
    #[default]
    Archive,
    /// Everything belongs to this user and group.
    Fixed { uid: u32, gid: u32 },
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UnpackOptions {
    pub ownership: Ownership,
    /// Refuse to replace a directory by something else and the reverse.
    pub keep_kinds: bool,
    /// The archive's entry for its own root sets mode, owner and time of the directory it is unpacked into.
    pub root_metadata: bool,
}

/// Unpacks an uncompressed archive into the directory `base` (relative to the root, resolved, existing). Links met on the
/// way are followed as within the root. Existing files give way; directories are merged. With `ids`, owners are ids inside, and
/// the caller acts as their root.
pub(crate) fn unpack(
    archive: impl Read,
    root: &Root,
    base: &Path,
    ids: Option<&IdMap>,
    options: &UnpackOptions,
) -> Result<()> {
    let mut reader = Reader::new(archive, Limits::default(), |_| Ok(())).with_plain_names(true);
    let mut unpacker = Unpacker {
        root,
        base,
        ids,
        options,
        directories: Vec::new(),
    };
    let mut entry = Entry::default();
    while reader.next_entry(&mut entry).map_err(layer_error)? {
        let file = unpacker.entry(&entry)?;
        let mut written = 0u64;
        while let Some(chunk) = reader.next_chunk().map_err(layer_error)? {
            if let Some(file) = &file {
                write_all(file, chunk).map_err(|error| at(&entry, error))?;
                written += chunk.len() as u64;
            }
        }
        if let Some(file) = &file {
            debug_assert_eq!(written, entry.size);
            unpacker.finish(&entry, file.as_fd())?;
        }
    }
    reader.finish().map_err(layer_error)?;
    unpacker.times()
}

fn at(entry: &Entry, error: impl Into<io::Error>) -> EngineError {
    let error = error.into();
    let path = entry.path().display();
    let kind = match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::ROFS.raw_os_error() => ErrorKind::Forbidden,
        Some(code) if code == rustix::io::Errno::NOTDIR.raw_os_error() => ErrorKind::InvalidParameter,
        _ => ErrorKind::System,
    };
    EngineError::new(kind, format!("{path}: {error}")).with_source(error)
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

struct Unpacker<'a> {
    root: &'a Root,
    base: &'a Path,
    ids: Option<&'a IdMap>,
    options: &'a UnpackOptions,
    /// Times are set last: unpacking into a directory changes its own.
    directories: Vec<(PathBuf, Timestamps)>,
}

impl Unpacker<'_> {
    /// Makes what the entry is; the open file when bytes follow.
    fn entry(&mut self, entry: &Entry) -> Result<Option<OwnedFd>> {
        let path = self.base.join(entry.path());
        if entry.path.is_empty() {
            if entry.kind == Kind::Dir && self.options.root_metadata {
                let directory = self.open_dir(&path).map_err(|error| at(entry, error))?;
                self.metadata(entry, directory.as_fd())?;
                self.directories.push((path, times(entry)));
            }
            return Ok(None);
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default().to_owned();
        let directory = self
            .root
            .ensure_dir(parent, Mode::from_raw_mode(0o755))
            .map_err(|error| at(entry, error))?;
        let directory = directory.as_fd();
        let exists = self.make_way(entry, directory, &name)?;
        let failed = |error: rustix::io::Errno| at(entry, error);
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        match entry.kind {
            Kind::File => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                return rustix::fs::openat(directory, &name, flags, Mode::from_raw_mode(0o600))
                    .map(Some)
                    .map_err(failed);
            }
            Kind::Dir => {
                if !exists {
                    rustix::fs::mkdirat(directory, &name, mode).map_err(failed)?;
                }
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(directory, &name, flags, Mode::empty()).map_err(failed)?;
                self.metadata(entry, made.as_fd())?;
                self.directories.push((path, times(entry)));
            }
            Kind::Symlink => {
                rustix::fs::symlinkat(OsStr::from_bytes(&entry.target), directory, &name).map_err(failed)?;
                self.link_metadata(entry, directory, &name)?;
            }
            Kind::Hardlink => {
                let target = self.base.join(entry.target());
                let (from, from_name) = self
                    .root
                    .parent(&target)
                    .map_err(|error| at(entry, error))?
                    .ok_or_else(|| at(entry, rustix::io::Errno::PERM))?;
                rustix::fs::linkat(from, from_name, directory, &name, AtFlags::empty()).map_err(failed)?;
            }
            Kind::Char { major, minor } => {
                self.node(entry, directory, &name, FileType::CharacterDevice, major, minor)?
            }
            Kind::Block { major, minor } => {
                self.node(entry, directory, &name, FileType::BlockDevice, major, minor)?
            }
            Kind::Fifo => self.node(entry, directory, &name, FileType::Fifo, 0, 0)?,
        }
        Ok(None)
    }

    fn node(
        &self,
        entry: &Entry,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        kind: FileType,
        major: u32,
        minor: u32,
    ) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        rustix::fs::mknodat(directory, name, kind, mode, rustix::fs::makedev(major, minor))
            .map_err(|error| at(entry, error))?;
        self.link_metadata(entry, directory, name)?;
        rustix::fs::chmodat(directory, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
            .map_err(|error| at(entry, error))
    }

    /// Removes what is in the way; whether a directory is there that can be merged with.
    fn make_way(&self, entry: &Entry, directory: BorrowedFd<'_>, name: &OsStr) -> Result<bool> {
        let present = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(rustix::io::Errno::NOENT) => return Ok(false),
            Err(error) => return Err(at(entry, error)),
        };
        let (was_dir, is_dir) = (present == FileType::Directory, entry.kind == Kind::Dir);
        if was_dir && is_dir {
            return Ok(true);
        }
        if self.options.keep_kinds && was_dir != is_dir {
            let shown = entry.path().display();
            return Err(EngineError::invalid(match was_dir {
                true => format!("cannot overwrite directory {shown:?} with non-directory"),
                false => format!("cannot overwrite non-directory {shown:?} with directory"),
            }));
        }
        remove_tree(directory, name).map_err(|error| at(entry, error))?;
        Ok(false)
    }

    /// Owner, mode, attributes of a file or directory that is open; the owner first, since changing it clears set-id bits.
    fn metadata(&self, entry: &Entry, file: BorrowedFd<'_>) -> Result<()> {
        let (uid, gid) = self.owner(entry)?;
        rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|error| at(entry, error))?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(|error| at(entry, error))?;
        for (name, value) in &entry.xattrs {
            match rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::PERM) => {
                    tracing::debug!(path = %entry.path().display(), "an extended attribute cannot be kept");
                }
                Err(error) => return Err(at(entry, error)),
            }
        }
        Ok(())
    }

    fn link_metadata(&self, entry: &Entry, directory: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let (uid, gid) = self.owner(entry)?;
        rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|()| rustix::fs::utimensat(directory, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|error| at(entry, error))
    }

    fn finish(&self, entry: &Entry, file: BorrowedFd<'_>) -> Result<()> {
        self.metadata(entry, file)?;
        rustix::fs::futimens(file, &times(entry)).map_err(|error| at(entry, error))
    }

    fn owner(&self, entry: &Entry) -> Result<(Uid, Gid)> {
        let (uid, gid) = match self.options.ownership {
            Ownership::Archive => (entry.uid, entry.gid),
            Ownership::Fixed { uid, gid } => (uid, gid),
        };
        let Some(ids) = self.ids else {
            return Ok((Uid::from_raw(uid), Gid::from_raw(gid)));
        };
        let outside = ids.uid_outside(uid).zip(ids.gid_outside(gid)).ok_or_else(|| {
            EngineError::invalid(format!(
                "{}: owner {uid}:{gid} is none of the container's user namespace",
                entry.path().display()
            ))
        });
        outside.map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid)))
    }

    fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new("/")
        } else {
            path
        };
        self.root
            .open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    fn times(self) -> Result<()> {
        for (path, times) in self.directories.iter().rev() {
            // A later entry may have replaced it.
            if let Ok(directory) = self.open_dir(path) {
                rustix::fs::futimens(directory, times).map_err(io::Error::from)?;
            }
        }
        Ok(())
    }
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec {
        tv_sec: entry.mtime,
        tv_nsec: entry.mtime_nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Removes a file or a whole tree without following links.
fn remove_tree(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
        result => return result,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inside = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let mut children = Vec::new();
    for entry in rustix::fs::Dir::read_from(&inside)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            children.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        }
    }
    for child in children {
        remove_tree(inside.as_fd(), &child)?;
    }
    rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)
}
