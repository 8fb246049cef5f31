//! What is in a layer, read without mounting anything.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_erofs::DeviceKind;
use havre_erofs::read::{self, Content, Extent, Image, ReadError};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::reading::Reading;
use crate::snapshotter::{FS, Form, IMAGE, open_dir, xattrs_of};
use crate::{Lease, Result, StoreError};

/// The tree of one layer, whatever the layer's form. A layer of the store stays while this value lives.
#[derive(Debug)]
pub struct LayerTree {
    source: Source,
    _reading: Option<Reading>,
    _lease: Option<Lease>,
}

#[derive(Debug)]
enum Source {
    Directory(PathBuf),
    Image { file: fs::File, size: u64 },
}

/// One name in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// Relative to the layer's root, which is the empty path.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: TreeKind,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds to add to `mtime`.
    pub mtime_nanos: u32,
    /// Names with the same number are the same file.
    pub inode: u64,
    /// How many names the file has in this layer.
    pub links: u32,
    /// Extended attributes, sorted by name; without the marks of overlayfs, which `kind` has.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a [`TreeEntry`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeKind {
    /// A directory; an opaque one hides what lower layers have in it.
    Directory {
        /// Whether it is opaque.
        opaque: bool,
    },
    /// A regular file.
    File {
        /// In bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Its text.
        target: Vec<u8>,
    },
    /// A character device.
    Char {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Stands for something deleted from lower layers.
    Whiteout,
}

/// The contents of a file in a layer.
#[derive(Debug)]
pub struct TreeFile {
    file: fs::File,
    /// Pieces not read yet, the next one last.
    pieces: Vec<Extent>,
    size: u64,
}

impl LayerTree {
    pub(super) fn open(layer: &Path, form: &Form, reading: Option<Reading>, lease: Lease) -> Result<Self> {
        let source = match form {
            Form::Directory => Source::Directory(layer.join(FS)),
            Form::Tar(described) | Form::Aligned(described) => {
                let path = layer.join(IMAGE);
                Source::Image {
                    file: fs::File::open(&path).map_err(StoreError::at("open", &path))?,
                    size: described.size,
                }
            }
        };
        Ok(Self {
            source,
            _reading: reading,
            _lease: Some(lease),
        })
    }

    pub(crate) fn of_outline(file: fs::File, size: u64) -> Self {
        Self {
            source: Source::Image { file, size },
            _reading: None,
            _lease: None,
        }
    }

    /// Of a file in an [`Outline`](crate::Outline): the address and size of its contents, 0 and 0 if it is empty; `None` if
    /// there is no regular file.
    pub fn address(&self, path: &[u8]) -> Result<Option<(u64, u64)>> {
        let Source::Image { file, size } = &self.source else {
            return Ok(None);
        };
        let entry = with_image(file, *size, |image| image.find(path))?;
        let Some(Content::File { size, extents }) = entry.map(|entry| entry.content) else {
            return Ok(None);
        };
        let first = extents.first().and_then(|extent| extent.offset);
        Ok(Some((
            first.map_or(0, |offset| offset - havre_erofs::DATA_START),
            size,
        )))
    }

    /// The entry at `path` (relative, no `.` or `..`; empty is the root). Links are not followed.
    pub fn find(&self, path: &[u8]) -> Result<Option<TreeEntry>> {
        match &self.source {
            Source::Directory(root) => find_in(root, path),
            Source::Image { file, size } => {
                with_image(file, *size, |image| Ok(image.find(path)?.as_ref().map(described)))
            }
        }
    }

    /// Calls `each` for every entry: a directory before what is in it, names sorted by bytes, the root first. An error of
    /// `each` ends the walk.
    pub fn walk<E: From<StoreError>>(
        &self,
        each: &mut dyn FnMut(TreeEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.source {
            Source::Directory(root) => walk_dir(root, each),
            Source::Image { file, size } => {
                let corrupt = |error| corrupt(file, error);
                let image = Image::open(file.file(), *size, read::Limits::default()).map_err(corrupt)?;
                image
                    .walk(|entry| each(described(entry)).map_err(Stop::Each))
                    .map_err(|stop: Stop<E>| match stop {
                        Stop::Each(error) => error,
                        Stop::Read(error) => corrupt(error).into(),
                    })
            }
        }
    }

    /// What is in the directory at `path` (as for [`find`](Self::find)), names sorted by bytes; `None` if there is no directory.
    pub fn list(&self, path: &[u8]) -> Result<Option<Vec<TreeEntry>>> {
        match &self.source {
            Source::Directory(root) => list_dir(root, path),
            Source::Image { file, size } => with_image(file, *size, |image| {
                let mut entries = Vec::new();
                let found = image.list(path, |entry| {
                    entries.push(described(entry));
                    Ok::<_, ReadError>(())
                })?;
                Ok(found.then_some(entries))
            }),
        }
    }

    /// The contents of the regular file at `path`; `None` if there is no regular file.
    pub fn open_file(&self, path: &[u8]) -> Result<Option<TreeFile>> {
        match &self.source {
            Source::Directory(root) => open_in(root, path),
            Source::Image { file, size } => {
                let entry = with_image(file, *size, |image| image.find(path))?;
                let Some(Content::File { size, mut extents }) = entry.map(|entry| entry.content) else {
                    return Ok(None);
                };
                extents.reverse();
                Ok(Some(TreeFile {
                    file: fs::File::open(file.path()).map_err(StoreError::at("open", file.path()))?,
                    pieces: extents,
                    size,
                }))
            }
        }
    }
}

impl TreeFile {
    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Read for TreeFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.pieces.last_mut() else {
            return Ok(0);
        };
        let wanted = buf.len().min(usize::try_from(piece.len).unwrap_or(usize::MAX));
        let read = match &mut piece.offset {
            None => {
                buf[..wanted].fill(0);
                wanted
            }
            Some(offset) => {
                let read = self.file.file().read_at(&mut buf[..wanted], *offset)?;
                if read == 0 && wanted > 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *offset += read as u64;
                read
            }
        };
        piece.len -= read as u64;
        if piece.len == 0 {
            self.pieces.pop();
        }
        Ok(read)
    }
}

/// Why a walk ended.
enum Stop<E> {
    Each(E),
    Read(ReadError),
}

impl<E> From<ReadError> for Stop<E> {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

fn corrupt(file: &fs::File, error: ReadError) -> StoreError {
    match error {
        ReadError::Read(error) => StoreError::io("read", file.path(), error),
        error => StoreError::Corrupt {
            path: file.path().to_path_buf(),
            reason: error.to_string(),
        },
    }
}

fn with_image<T>(
    file: &fs::File,
    size: u64,
    work: impl FnOnce(&Image<'_, std::fs::File>) -> Result<T, ReadError>,
) -> Result<T> {
    Image::open(file.file(), size, read::Limits::default())
        .and_then(|image| work(&image))
        .map_err(|error| corrupt(file, error))
}

fn described(entry: &read::Entry) -> TreeEntry {
    let kind = match &entry.content {
        _ if entry.is_whiteout() => TreeKind::Whiteout,
        Content::Directory => TreeKind::Directory {
            opaque: entry.is_opaque(),
        },
        Content::File { size, .. } => TreeKind::File { size: *size },
        Content::Symlink(target) => TreeKind::Symlink {
            target: target.clone(),
        },
        Content::Device { kind, major, minor } => {
            let (major, minor) = (*major, *minor);
            match kind {
                DeviceKind::Char => TreeKind::Char { major, minor },
                DeviceKind::Block => TreeKind::Block { major, minor },
            }
        }
        Content::Fifo => TreeKind::Fifo,
        Content::Socket => TreeKind::Socket,
    };
    let own = |name: &[u8]| !name.starts_with(b"trusted.overlay.");
    TreeEntry {
        path: entry.path.clone(),
        kind,
        mode: entry.metadata.mode,
        uid: entry.metadata.uid,
        gid: entry.metadata.gid,
        mtime: entry.metadata.mtime,
        mtime_nanos: entry.metadata.mtime_nanos,
        inode: entry.nid,
        links: entry.links,
        xattrs: entry
            .xattrs
            .iter()
            .filter(|(name, _)| own(name))
            .cloned()
            .collect(),
    }
}

// Directories.

fn beneath(root: &Path, path: &[u8], flags: OFlags) -> Result<Option<OwnedFd>> {
    let name = if path.is_empty() { b".".as_slice() } else { path };
    let dir = open_dir(rustix::fs::CWD, root).map_err(|errno| StoreError::io("open", root, errno.into()))?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(
        &dir,
        name,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    ) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(StoreError::io(
            "open",
            root.join(OsStr::from_bytes(path)),
            errno.into(),
        )),
    }
}

fn find_in(root: &Path, path: &[u8]) -> Result<Option<TreeEntry>> {
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None if path.is_empty() => (path, b".".as_slice()),
        None => (&path[..0], path),
    };
    let Some(dir) = beneath(root, parent, OFlags::RDONLY | OFlags::DIRECTORY)? else {
        return Ok(None);
    };
    entry_in(root, &dir, name, path)
}

fn open_in(root: &Path, path: &[u8]) -> Result<Option<TreeFile>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOATIME;
    let regular = |entry: TreeEntry| matches!(entry.kind, TreeKind::File { .. });
    if !find_in(root, path)?.is_some_and(regular) {
        return Ok(None);
    }
    let Some(fd) = beneath(root, path, flags)? else {
        return Ok(None);
    };
    let full = root.join(OsStr::from_bytes(path));
    let file = fs::File::from_parts(std::fs::File::from(fd), &full);
    let size = file.metadata().map_err(StoreError::at("query", &full))?.len();
    let whole = Extent {
        offset: Some(0),
        len: size,
    };
    Ok(Some(TreeFile {
        file,
        pieces: if size == 0 { Vec::new() } else { vec![whole] },
        size,
    }))
}

fn entry_in(root: &Path, dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<Option<TreeEntry>> {
    let full = || root.join(OsStr::from_bytes(path));
    let failed = |errno: Errno| StoreError::io("query", full(), errno.into());
    let status = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => status,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed(errno)),
    };
    let mut xattrs = xattrs_of(dir, name).map_err(failed)?;
    let opaque = xattrs
        .iter()
        .any(|(name, value)| name == b"trusted.overlay.opaque" && value == b"y");
    xattrs.retain(|(name, _)| !name.starts_with(b"trusted.overlay."));
    xattrs.sort_unstable();
    let (major, minor) = (
        rustix::fs::major(status.st_rdev),
        rustix::fs::minor(status.st_rdev),
    );
    let kind = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => TreeKind::Directory { opaque },
        FileType::RegularFile => TreeKind::File {
            size: u64::try_from(status.st_size).unwrap_or(0),
        },
        FileType::Symlink => TreeKind::Symlink {
            target: rustix::fs::readlinkat(dir, name, Vec::new())
                .map_err(failed)?
                .into_bytes(),
        },
        FileType::CharacterDevice if status.st_rdev == 0 => TreeKind::Whiteout,
        FileType::CharacterDevice => TreeKind::Char { major, minor },
        FileType::BlockDevice => TreeKind::Block { major, minor },
        FileType::Fifo => TreeKind::Fifo,
        _ => TreeKind::Socket,
    };
    Ok(Some(TreeEntry {
        path: path.to_vec(),
        kind,
        mode: status.st_mode & 0o7777,
        uid: status.st_uid,
        gid: status.st_gid,
        mtime: status.st_mtime,
        mtime_nanos: u32::try_from(status.st_mtime_nsec).unwrap_or(0),
        inode: status.st_ino,
        links: u32::try_from(status.st_nlink).unwrap_or(u32::MAX),
        xattrs,
    }))
}

fn walk_dir<E: From<StoreError>>(
    root: &Path,
    each: &mut dyn FnMut(TreeEntry) -> Result<(), E>,
) -> Result<(), E> {
    // Paths waiting, the next one last; descriptors are not kept, so depth costs none.
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let Some(entry) = find_in(root, &path)? else {
            continue;
        };
        let is_dir = matches!(entry.kind, TreeKind::Directory { .. });
        each(entry)?;
        if !is_dir {
            continue;
        }
        for name in names_in(root, &path)?.unwrap_or_default().into_iter().rev() {
            waiting.push(joined(&path, &name));
        }
    }
    Ok(())
}

/// The names in a directory, sorted by bytes; `None` if there is none.
fn names_in(root: &Path, path: &[u8]) -> Result<Option<Vec<Vec<u8>>>> {
    let Some(dir) = beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY)? else {
        return Ok(None);
    };
    let failed = |errno: Errno| StoreError::io("read", root.join(OsStr::from_bytes(path)), errno.into());
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
        if !matches!(name.as_slice(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(Some(names))
}

fn list_dir(root: &Path, path: &[u8]) -> Result<Option<Vec<TreeEntry>>> {
    let Some(names) = names_in(root, path)? else {
        return Ok(None);
    };
    let entries = names.iter().map(|name| find_in(root, &joined(path, name)));
    let entries: Result<Vec<_>> = entries.collect();
    Ok(Some(entries?.into_iter().flatten().collect()))
}

fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        [] => name.to_vec(),
        path => [path, b"/", name].concat(),
    }
}
