//! An overlay upper directory as a layer archive: the same directory gives the same bytes.
//!
//! Entries come depth first, names in byte order. Whiteouts and opaque marks take the form of the image specification, times
//! are whole seconds (as Docker writes them), overlay's own attributes stay out.

use std::collections::HashMap;
use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use havre_oci::layer::{Entry, Kind, encode_header, padding};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::{Result, StoreError};

/// Whether the directory is left alone while it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Nobody writes it: a file that changes is an error, sockets are removed.
    Still,
    /// A container may be writing it: what vanishes is left out, what shrinks is filled with zeros.
    Live,
}

/// The next part of an archive.
pub(super) enum Piece {
    Raw(Vec<u8>),
    File(Payload),
}

/// A file's contents: exactly `size` bytes.
pub(super) struct Payload {
    pub(super) size: u64,
    /// Relative to the upper directory.
    pub(super) path: Vec<u8>,
    full: PathBuf,
    file: std::fs::File,
    left: u64,
    source: Source,
}

impl Payload {
    /// The next bytes; `None` at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let mut read = self
            .file
            .read(&mut buffer[..wanted])
            .map_err(StoreError::at("read", &self.full))?;
        if read == 0 {
            if self.source == Source::Still {
                let reason = "it changed while it was read".to_owned();
                return Err(StoreError::Corrupt {
                    path: self.full.clone(),
                    reason,
                });
            }
            buffer[..wanted].fill(0);
            read = wanted;
        }
        self.left -= read as u64;
        Ok(Some(read))
    }
}

/// Walks an upper directory.
pub(super) struct Pack {
    root: PathBuf,
    source: Source,
    stack: Vec<Level>,
    /// First path of every file with several links.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Padding of the last file, to come before the next header.
    pending: Vec<u8>,
    next: Option<Payload>,
    entries: u64,
    done: bool,
}

struct Level {
    dir: OwnedFd,
    /// Relative to the upper directory, with a slash at the end unless empty.
    prefix: Vec<u8>,
    names: std::vec::IntoIter<CString>,
}

impl Pack {
    pub(super) fn open(root: &Path, source: Source) -> Result<Self> {
        let dir =
            open_dir(rustix::fs::CWD, root).map_err(|errno| StoreError::io("open", root, errno.into()))?;
        let status = rustix::fs::fstat(&dir).map_err(|errno| StoreError::io("query", root, errno.into()))?;
        let mut pack = Self {
            root: root.to_path_buf(),
            source,
            stack: Vec::new(),
            links: HashMap::new(),
            pending: Vec::new(),
            next: None,
            entries: 0,
            done: false,
        };
        pack.root_entry(&dir, &status)?;
        pack.descend(dir, Vec::new())?;
        Ok(pack)
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// The root gets an entry only if it has something to say: every layer's root starts as 0755 of root.
    fn root_entry(&mut self, dir: &OwnedFd, status: &Stat) -> Result<()> {
        let mut entry = described(b"", Kind::Dir, status);
        entry.xattrs = self.xattrs(dir, c".", b"")?;
        if entry.mode != 0o755 || entry.uid != 0 || entry.gid != 0 || !entry.xattrs.is_empty() {
            self.header(&entry);
        }
        Ok(())
    }

    fn header(&mut self, entry: &Entry) {
        self.entries += 1;
        encode_header(entry, &mut self.pending);
    }

    fn full(&self, path: &[u8]) -> PathBuf {
        self.root.join(std::ffi::OsStr::from_bytes(path))
    }

    fn failed<T>(&self, action: &'static str, path: &[u8], errno: Errno) -> Result<T> {
        Err(StoreError::io(action, self.full(path), errno.into()))
    }

    fn descend(&mut self, dir: OwnedFd, prefix: Vec<u8>) -> Result<()> {
        let list = || {
            let mut names = Vec::new();
            for entry in Dir::read_from(&dir)? {
                let name = entry?.file_name().to_owned();
                if !matches!(name.as_bytes(), b"." | b"..") {
                    names.push(name);
                }
            }
            Ok(names)
        };
        let mut names: Vec<CString> = match list() {
            Ok(names) => names,
            Err(errno) => return self.failed("read", &prefix, errno),
        };
        names.sort_unstable();
        self.stack.push(Level {
            dir,
            prefix,
            names: names.into_iter(),
        });
        Ok(())
    }

    /// The next part of the archive; `None` at its end.
    pub(super) fn next(&mut self) -> Result<Option<Piece>> {
        if let Some(payload) = self.next.take() {
            self.pending.extend_from_slice(padding(payload.size));
            return Ok(Some(Piece::File(payload)));
        }
        while self.pending.len() < 64 << 10 && self.next.is_none() && !self.done {
            let Some(level) = self.stack.last_mut() else {
                self.pending.extend_from_slice(&[0; 1024]);
                self.done = true;
                break;
            };
            match level.names.next() {
                Some(name) => self.visit(&name)?,
                None => drop(self.stack.pop()),
            }
        }
        if self.pending.is_empty() {
            return Ok(None);
        }
        Ok(Some(Piece::Raw(std::mem::take(&mut self.pending))))
    }

    fn visit(&mut self, name: &CString) -> Result<()> {
        let Some(level) = self.stack.last() else {
            return Ok(());
        };
        let path = [&level.prefix, name.as_bytes()].concat();
        let status = match rustix::fs::statat(&level.dir, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => status,
            Err(Errno::NOENT) if self.source == Source::Live => return Ok(()),
            Err(errno) => return self.failed("query", &path, errno),
        };
        let kind = FileType::from_raw_mode(status.st_mode);
        if kind == FileType::CharacterDevice && status.st_rdev == 0 {
            let path = [&level.prefix, b".wh.".as_slice(), name.as_bytes()].concat();
            self.header(&Entry {
                path,
                ..Entry::default()
            });
            return Ok(());
        }
        if name.as_bytes().starts_with(b".wh.") {
            let reason = "names that begin with \".wh.\" mean deletions in a layer";
            return Err(StoreError::io(
                "store in a layer",
                self.full(&path),
                io::Error::new(io::ErrorKind::InvalidInput, reason),
            ));
        }
        if status.st_nlink > 1 && kind != FileType::Directory {
            let first = self
                .links
                .entry((status.st_dev, status.st_ino))
                .or_insert_with(|| path.clone());
            if *first != path {
                let entry = Entry {
                    target: first.clone(),
                    ..described(&path, Kind::Hardlink, &status)
                };
                self.header(&entry);
                return Ok(());
            }
        }
        match kind {
            FileType::Directory => self.visit_dir(name, path, &status),
            FileType::RegularFile => self.visit_file(name, path, &status),
            FileType::Symlink => {
                let Some(level) = self.stack.last() else {
                    return Ok(());
                };
                let target = match rustix::fs::readlinkat(&level.dir, name.as_c_str(), Vec::new()) {
                    Ok(target) => target.into_bytes(),
                    Err(errno) => return self.failed("read link", &path, errno),
                };
                let entry = Entry {
                    target,
                    ..described(&path, Kind::Symlink, &status)
                };
                self.plain(name, entry)
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                let (major, minor) = (
                    rustix::fs::major(status.st_rdev),
                    rustix::fs::minor(status.st_rdev),
                );
                let kind = match kind {
                    FileType::CharacterDevice => Kind::Char { major, minor },
                    _ => Kind::Block { major, minor },
                };
                self.plain(name, described(&path, kind, &status))
            }
            FileType::Fifo => self.plain(name, described(&path, Kind::Fifo, &status)),
            // Tar has no sockets, and without its process a socket is nothing.
            _ => {
                let Some(level) = self.stack.last() else {
                    return Ok(());
                };
                if self.source == Source::Still
                    && let Err(errno) = rustix::fs::unlinkat(&level.dir, name.as_c_str(), AtFlags::empty())
                {
                    return self.failed("remove", &path, errno);
                }
                Ok(())
            }
        }
    }

    fn plain(&mut self, name: &CString, mut entry: Entry) -> Result<()> {
        if let Some(level) = self.stack.last() {
            entry.xattrs = self.xattrs(&level.dir, name, &entry.path)?;
        }
        self.header(&entry);
        Ok(())
    }

    fn visit_dir(&mut self, name: &CString, path: Vec<u8>, status: &Stat) -> Result<()> {
        let Some(level) = self.stack.last() else {
            return Ok(());
        };
        let dir = match open_dir(&level.dir, name.as_c_str()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) if self.source == Source::Live => return Ok(()),
            Err(errno) => return self.failed("open", &path, errno),
        };
        let mut entry = described(&path, Kind::Dir, status);
        entry.xattrs = self.xattrs(&level.dir, name, &path)?;
        let opaque = is_opaque(&dir);
        self.header(&entry);
        let prefix = [path.as_slice(), b"/"].concat();
        if opaque {
            let path = [prefix.as_slice(), b".wh..wh..opq"].concat();
            self.header(&Entry {
                path,
                ..Entry::default()
            });
        }
        self.descend(dir, prefix)
    }

    fn visit_file(&mut self, name: &CString, path: Vec<u8>, status: &Stat) -> Result<()> {
        let Some(level) = self.stack.last() else {
            return Ok(());
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOATIME | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&level.dir, name.as_c_str(), flags, Mode::empty()) {
            Ok(file) => std::fs::File::from(file),
            Err(Errno::NOENT) if self.source == Source::Live => return Ok(()),
            Err(errno) => return self.failed("open", &path, errno),
        };
        let size = u64::try_from(status.st_size).unwrap_or(0);
        let mut entry = Entry {
            size,
            ..described(&path, Kind::File, status)
        };
        entry.xattrs = self.xattrs(&level.dir, name, &path)?;
        self.header(&entry);
        if size > 0 {
            let full = self.full(&path);
            self.next = Some(Payload {
                size,
                path,
                full,
                file,
                left: size,
                source: self.source,
            });
        }
        Ok(())
    }

    /// The attributes that belong into a layer. Labels of the host's security modules don't.
    fn xattrs(&self, dir: &OwnedFd, name: &std::ffi::CStr, path: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut xattrs = match xattrs_of(dir, name.to_bytes()) {
            Ok(xattrs) => xattrs,
            Err(Errno::NOENT) => Vec::new(),
            Err(errno) => return self.failed("read the attributes of", path, errno),
        };
        xattrs.retain(|(name, _)| belongs(name));
        xattrs.sort_unstable();
        Ok(xattrs)
    }
}

/// Names and values.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// All extended attributes of `name` in `dir`, in no order; none where the file system has none.
pub(crate) fn xattrs_of(dir: &OwnedFd, name: &[u8]) -> Result<Xattrs, Errno> {
    let at = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    let at = [at.as_slice(), name].concat();
    let list = match grown(|buffer| rustix::fs::llistxattr(at.as_slice(), buffer)) {
        Ok(list) => list,
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let mut xattrs = Vec::new();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match grown(|buffer| rustix::fs::lgetxattr(at.as_slice(), name, buffer)) {
            Ok(value) => xattrs.push((name.to_vec(), value)),
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(xattrs)
}

fn belongs(xattr: &[u8]) -> bool {
    let own = |prefix: &[u8]| xattr.starts_with(prefix);
    let overlay = own(b"trusted.overlay.") || own(b"user.overlay.");
    xattr == b"security.capability"
        || own(b"system.posix_acl_")
        || (!overlay && (own(b"user.") || own(b"trusted.")))
}

/// Whether the directory hides what is beneath it.
pub(crate) fn is_opaque(dir: &OwnedFd) -> bool {
    let mut value = [0; 2];
    let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
    rustix::fs::getxattr(path, "trusted.overlay.opaque", &mut value) == Ok(1) && value[0] == b'y'
}

/// Calls with a growing buffer until the answer fits.
fn grown(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            // 64 KiB is the kernel's own limit for a list and for a value.
            Err(Errno::RANGE) if buffer.len() <= 64 << 10 => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno),
        }
    }
}

pub(crate) fn open_dir(
    parent: impl std::os::fd::AsFd,
    name: impl rustix::path::Arg,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn described(path: &[u8], kind: Kind, status: &Stat) -> Entry {
    Entry {
        path: path.to_vec(),
        kind,
        mode: status.st_mode & 0o7777,
        uid: status.st_uid,
        gid: status.st_gid,
        mtime: status.st_mtime,
        ..Entry::default()
    }
}

/// A [`Pack`] as a stream.
pub(super) struct PackReader {
    pack: Pack,
    raw: io::Cursor<Vec<u8>>,
    file: Option<Payload>,
}

impl PackReader {
    pub(super) fn new(pack: Pack) -> Self {
        Self {
            pack,
            raw: io::Cursor::default(),
            file: None,
        }
    }
}

impl PackReader {
    /// The first `length` bytes; fewer only if the archive has fewer.
    pub(super) fn start(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut start = Vec::new();
        self.take(length as u64).read_to_end(&mut start)?;
        Ok(start)
    }
}

impl Read for PackReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let read = self.raw.read(buf)?;
            if read > 0 {
                return Ok(read);
            }
            if let Some(file) = &mut self.file {
                match file.read(buf).map_err(io::Error::other)? {
                    Some(read) => return Ok(read),
                    None => self.file = None,
                }
            }
            match self.pack.next().map_err(io::Error::other)? {
                Some(Piece::Raw(bytes)) => self.raw = io::Cursor::new(bytes),
                Some(Piece::File(file)) => self.file = Some(file),
                None => return Ok(0),
            }
        }
    }
}
