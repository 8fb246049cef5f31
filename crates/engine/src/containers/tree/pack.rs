//! A tree as an archive.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use havre_oci::layer::{Entry, Kind, TarWriter};
use havre_sys::rooted::{Mode, OFlags, Root};
use havre_sys::userns::IdMap;
use rustix::fs::{AtFlags, FileType, Stat};

use super::layer_error;
use crate::Result;

/// Writes the file or tree at `path` (relative to the root, its links already resolved) under the name `name`; an empty
/// name means that the tree's own entries stand at the top. Owners are those that `ids`, if there are any, have inside. Sockets
/// are left out. Returns the writer after the end marker.
pub(crate) fn pack<W: Write>(
    root: &Root,
    path: &Path,
    name: &[u8],
    ids: Option<&IdMap>,
    writer: W,
) -> Result<W> {
    let mut packer = Packer {
        root,
        ids,
        tar: TarWriter::new(writer),
        links: HashMap::new(),
    };
    let stat = root.stat(path, false)?;
    let mut open = vec![(path.to_path_buf(), name.to_vec(), stat)];
    // Depth first with a stack: a tree as deep as it likes costs no descriptors.
    while let Some((path, name, stat)) = open.pop() {
        let is_dir = packer.entry(&path, &name, &stat)?;
        if !is_dir {
            continue;
        }
        let children = packer.children(&path)?;
        for child in children.into_iter().rev() {
            let child_path = path.join(&child);
            let mut child_name = name.clone();
            if !child_name.is_empty() && !child_name.ends_with(b"/") {
                child_name.push(b'/');
            }
            child_name.extend_from_slice(child.as_bytes());
            match root.stat(&child_path, false) {
                Ok(stat) => open.push((child_path, child_name, stat)),
                // Deleted while we were looking.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    packer.tar.finish().map_err(layer_error)
}

struct Packer<'a, W: Write> {
    root: &'a Root,
    ids: Option<&'a IdMap>,
    tar: TarWriter<W>,
    /// Device and inode of files with several names → the name written first.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Packer<'_, W> {
    /// Writes one entry; whether it is a directory to descend into.
    fn entry(&mut self, path: &Path, name: &[u8], stat: &Stat) -> Result<bool> {
        let mut entry = Entry {
            path: name.to_vec(),
            mode: stat.st_mode & 0o7777,
            uid: self.ids.map_or(stat.st_uid, |ids| ids.uid_inside(stat.st_uid)),
            gid: self.ids.map_or(stat.st_gid, |ids| ids.gid_inside(stat.st_gid)),
            mtime: stat.st_mtime,
            mtime_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ..Entry::default()
        };
        let device = || (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                entry.kind = Kind::Dir;
                let directory = self.root.open_at(
                    path,
                    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW,
                    Mode::empty(),
                )?;
                entry.xattrs = xattrs(&directory)?;
                self.tar.entry(&entry, &mut io::empty()).map_err(layer_error)?;
                return Ok(true);
            }
            FileType::Symlink => {
                entry.kind = Kind::Symlink;
                entry.target = match self.root.read_link(path) {
                    Ok(target) => target.into_os_string().into_vec(),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                    Err(error) => return Err(error.into()),
                };
            }
            FileType::RegularFile => return self.file(path, entry, stat).map(|()| false),
            FileType::CharacterDevice => {
                let (major, minor) = device();
                entry.kind = Kind::Char { major, minor };
            }
            FileType::BlockDevice => {
                let (major, minor) = device();
                entry.kind = Kind::Block { major, minor };
            }
            FileType::Fifo => entry.kind = Kind::Fifo,
            _ => return Ok(false),
        }
        self.tar.entry(&entry, &mut io::empty()).map_err(layer_error)?;
        Ok(false)
    }

    fn file(&mut self, path: &Path, mut entry: Entry, stat: &Stat) -> Result<()> {
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                entry.kind = Kind::Hardlink;
                entry.target.clone_from(first);
                return self.tar.entry(&entry, &mut io::empty()).map_err(layer_error);
            }
            self.links.insert((stat.st_dev, stat.st_ino), entry.path.clone());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match self.root.open_at(path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // What was a file a moment ago may be something else now.
        let now = rustix::fs::fstat(&file).map_err(io::Error::from)?;
        if !FileType::from_raw_mode(now.st_mode).is_file() {
            return Ok(());
        }
        entry.kind = Kind::File;
        entry.size = u64::try_from(now.st_size).unwrap_or(0);
        entry.xattrs = xattrs(&file)?;
        let mut payload = Padded(fs_err::File::from_parts(file.into(), path));
        self.tar.entry(&entry, &mut payload).map_err(layer_error)
    }

    /// Names in a directory, sorted.
    fn children(&self, path: &Path) -> Result<Vec<OsString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = self.root.open_at(path, flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(directory).map_err(io::Error::from)? {
            let entry = entry.map_err(io::Error::from)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// A file that shrinks while it is read goes on with zeros, so that the archive stays whole.
struct Padded<R>(R);

impl<R: Read> Read for Padded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => {
                buffer.fill(0);
                Ok(buffer.len())
            }
            count => Ok(count),
        }
    }
}

/// Capabilities and the user's own attributes; the rest belongs to this file system.
fn xattrs(file: &OwnedFd) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let unsupported = |error: &rustix::io::Errno| *error == rustix::io::Errno::OPNOTSUPP;
    let mut names = vec![0; 4096];
    let length = loop {
        match rustix::fs::flistxattr(file, &mut names[..]) {
            Ok(length) => break length,
            Err(rustix::io::Errno::RANGE) if names.len() < 1 << 20 => names.resize(names.len() * 4, 0),
            Err(error) if unsupported(&error) => return Ok(Vec::new()),
            Err(error) => return Err(io::Error::from(error).into()),
        }
    };
    let mut found = Vec::new();
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let users = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
        if !users && name != b"security.capability" {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        match rustix::fs::fgetxattr(file, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                found.push((name.to_vec(), value));
            }
            Err(rustix::io::Errno::NODATA) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    Ok(found)
}

/// Size in bytes that `stat` reports for `cp`'s header.
pub(crate) fn lstat(root: &Root, path: &Path) -> io::Result<Stat> {
    match root.parent(path)? {
        Some((directory, name)) => Ok(rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?),
        None => root.stat(&PathBuf::from("/"), true),
    }
}
