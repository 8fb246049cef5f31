//! A layer archive into a directory.
//!
//! Nobody vouches for the archive. Everything is made relative to a descriptor of its parent directory, which is reached
//! from the root component by component without following links. The descriptors of the current ancestors are kept
//! (`Cursor`), so that an archive in the usual order costs one path step per entry. A link among the parents is resolved
//! by the kernel within the layer, as Docker does.

use std::io::{self, BufRead, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_oci::layer::{Class, Entry, Kind, Piece};
use havre_sys::rooted::Root;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::times::Times;
use crate::error::is_no_space;
use crate::snapshotter::recipe::{MOVED, RecipeWriter, Taken};
use crate::snapshotter::recorded::{self, Contents};
use crate::snapshotter::{FS, Form, RECIPE, Unpacked, tree_size};
use crate::{ApplyError, Limits, StoreError};

/// Longest real path of an entry: one the kernel still resolves in one piece.
const MAX_PATH: usize = 4095;
/// Symbolic links followed for one path, as in the kernel.
const MAX_LINKS: u32 = 40;
/// Access control lists: of an entry, and what new entries of a directory get.
const ACL_ACCESS: &str = "system.posix_acl_access";
const ACL_DEFAULT: &str = "system.posix_acl_default";
/// Bytes of names of files whose place later entries took.
const MAX_TAKEN_NAMES: u64 = 16 << 20;

pub(super) fn unpack(tar: &mut dyn BufRead, staged: &Path, limits: &Limits) -> Result<Unpacked, ApplyError> {
    let mut unpacker = Unpacker::new(staged)?;
    let recipe = RecipeWriter::create(&staged.join(RECIPE))?;
    let recipe = recorded::read(tar, recipe, limits, false, |entry, recipe, contents| {
        unpacker.entries += 1;
        let file = unpacker.entry(entry, recipe.borrow().payloads())?;
        if unpacker.taken_bytes > MAX_TAKEN_NAMES {
            return Err(ApplyError::Limit {
                what: "bytes of names of files that later entries replace",
                limit: MAX_TAKEN_NAMES,
            });
        }
        if entry.kind != Kind::File || entry.class != Class::Normal || entry.size == 0 {
            return Ok(());
        }
        let mut recipe = recipe.borrow_mut();
        match &entry.stored {
            None => recipe.payload(entry.size, &unpacker.real)?,
            Some(pieces) => {
                for piece in pieces {
                    recipe.part(piece.len, piece.offset, &unpacker.real)?;
                }
            }
        }
        drop(recipe);
        unpacker.size += entry.size;
        let Some(mut file) = file else { return Ok(()) };
        fill(&mut file, entry, contents, |error| unpacker.failed(entry, error))?;
        unpacker.dress_file(&file, entry)
    })?;
    unpacker.set_directory_times()?;
    if !unpacker.taken.is_empty() {
        // What of the files taken away has no other name can only be found out now.
        unpacker.size = tree_size(&staged.join(FS)).unwrap_or(unpacker.size);
    }
    let tar_size = recipe.finish(&unpacker.taken)?;
    Ok(Unpacked {
        form: Form::Directory,
        size: unpacker.size,
        tar_size,
        entries: unpacker.entries,
    })
}

/// Whether an attribute is gone, which may not have been there.
fn removed(outcome: Result<(), Errno>) -> Result<(), Errno> {
    match outcome {
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        other => other,
    }
}

/// Writes the contents of a file. What isn't stored of a sparse file isn't written.
fn fill(
    file: &mut std::fs::File,
    entry: &Entry,
    contents: &mut dyn Contents,
    failed: impl Fn(io::Error) -> ApplyError,
) -> Result<(), ApplyError> {
    if entry.stored.is_some() {
        file.set_len(entry.size).map_err(&failed)?;
    }
    while let Some(piece) = contents.next()? {
        match piece {
            Piece::Data(bytes) => file.write_all(bytes),
            Piece::Hole(len) => i64::try_from(len)
                .map_err(io::Error::other)
                .and_then(|len| file.seek(SeekFrom::Current(len)))
                .map(drop),
        }
        .map_err(&failed)?;
    }
    Ok(())
}

/// An open directory on the way to the current entry.
struct Level {
    /// Its name as the archive writes it.
    name: Vec<u8>,
    /// Where it really is, relative to the root.
    real: Vec<u8>,
    fd: OwnedFd,
    /// New entries get its group.
    setgid: bool,
}

struct Unpacker {
    staged: PathBuf,
    root: Root,
    root_setgid: bool,
    /// The open ancestors of the last entry, outermost first.
    stack: Vec<Level>,
    /// They may no longer be what their names lead to.
    stale: bool,
    /// Where the last entry really is.
    real: Vec<u8>,
    /// Bits the process' umask takes from new files.
    umask: u32,
    /// A default ACL was set somewhere: modes of new files aren't what was asked for.
    default_acl: bool,
    euid: u32,
    egid: u32,
    times: Times,
    taken: Vec<Taken>,
    taken_bytes: u64,
    size: u64,
    entries: u64,
}

impl Unpacker {
    fn new(staged: &Path) -> Result<Self, StoreError> {
        let tree = staged.join(FS);
        fs::create_dir(&tree).map_err(StoreError::at("create", &tree))?;
        let root = Root::open(&tree).map_err(StoreError::at("open", &tree))?;
        let mode = Mode::from(0o755);
        rustix::fs::chmodat(&root, ".", mode, AtFlags::empty())
            .map_err(|errno| StoreError::io("set the mode of", &tree, errno.into()))?;
        Ok(Self {
            staged: staged.to_path_buf(),
            root,
            root_setgid: false,
            stack: Vec::new(),
            stale: false,
            real: Vec::new(),
            umask: umask(),
            default_acl: false,
            euid: rustix::process::geteuid().as_raw(),
            egid: rustix::process::getegid().as_raw(),
            times: Times::new(staged),
            taken: Vec::new(),
            taken_bytes: 0,
            size: 0,
            entries: 0,
        })
    }

    fn failed(&self, entry: &Entry, error: impl Into<io::Error>) -> ApplyError {
        let source = error.into();
        if is_no_space(&source) {
            let path = self.staged.join(FS).join(entry.path());
            return StoreError::NoSpace { path, source }.into();
        }
        ApplyError::Entry {
            path: shown(&entry.path),
            source,
        }
    }

    /// Makes what `entry` describes. A file with contents is returned to be filled and dressed.
    fn entry(&mut self, entry: &Entry, payloads: u64) -> Result<Option<std::fs::File>, ApplyError> {
        match &entry.class {
            Class::Metadata => return Ok(None),
            Class::Opaque { dir } => {
                let inside = if dir.is_empty() {
                    b"x".to_vec()
                } else {
                    [dir, b"/x".as_slice()].concat()
                };
                self.parent(&inside)
                    .and_then(|_| self.set_opaque())
                    .map_err(|error| self.failed(entry, error))?;
                return Ok(None);
            }
            Class::Whiteout { path } => {
                if path.is_empty() {
                    return Err(ApplyError::Invalid {
                        reason: "a whiteout of the root".to_owned(),
                    });
                }
                self.whiteout(path).map_err(|error| self.failed(entry, error))?;
                return Ok(None);
            }
            Class::Normal => {}
        }
        if entry.path.is_empty() {
            if entry.kind != Kind::Dir {
                return Err(ApplyError::Invalid {
                    reason: "the root is not a directory".to_owned(),
                });
            }
            self.stack.clear();
            self.real.clear();
            self.root_setgid = entry.mode & 0o2000 != 0;
            let root = self
                .root
                .as_fd()
                .try_clone_to_owned()
                .map_err(|error| self.failed(entry, error))?;
            self.dress_at(root.as_fd(), b".", entry, true)
                .map_err(|error| self.failed(entry, error))?;
            return self.note_time(entry).map(|()| None);
        }
        if entry.kind == Kind::Hardlink {
            self.hard_link(entry, payloads)?;
            return Ok(None);
        }
        let name = self
            .parent(&entry.path)
            .map_err(|error| self.failed(entry, error))?;
        match self.make(entry, name) {
            Err(Errno::EXIST) => {
                let opaque = self
                    .replace(entry, name, payloads)
                    .map_err(|error| self.failed(entry, error))?;
                let made = match self.make(entry, name) {
                    Err(Errno::EXIST) if entry.kind == Kind::Dir => {
                        self.dress_made(entry, name).map(|()| None)
                    }
                    other => other,
                };
                if opaque && entry.kind == Kind::Dir && made.is_ok() {
                    // It was deleted and made anew: what lower layers have in it stays hidden.
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    rustix::fs::openat(self.top(), name, flags, Mode::empty())
                        .and_then(|dir| set_opaque(dir.as_fd()))
                        .map_err(|errno| self.failed(entry, errno))?;
                }
                made
            }
            other => other,
        }
        .map_err(|errno| self.failed(entry, errno))
        .and_then(|file| {
            if entry.kind == Kind::Dir {
                self.note_time(entry)?;
            }
            Ok(file)
        })
    }

    fn top(&self) -> BorrowedFd<'_> {
        self.stack
            .last()
            .map_or(self.root.as_fd(), |level| level.fd.as_fd())
    }

    fn top_setgid(&self) -> bool {
        self.stack.last().map_or(self.root_setgid, |level| level.setgid)
    }

    /// Opens the parent of `path` (it becomes [`Self::top`]), making what is missing; notes the entry's real path; returns
    /// its name.
    fn parent<'p>(&mut self, path: &'p [u8]) -> Result<&'p [u8], Errno> {
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], path),
        };
        if std::mem::take(&mut self.stale) {
            self.stack.clear();
        }
        let mut components = parent
            .split(|byte| *byte == b'/')
            .filter(|component| !component.is_empty())
            .peekable();
        let mut same = 0;
        while let (Some(level), Some(component)) = (self.stack.get(same), components.peek())
            && level.name == *component
        {
            same += 1;
            components.next();
        }
        self.stack.truncate(same);
        for component in components {
            let level = self.step(component)?;
            self.stack.push(level);
        }
        self.real.clear();
        if let Some(level) = self.stack.last()
            && !level.real.is_empty()
        {
            self.real.extend_from_slice(&level.real);
            self.real.push(b'/');
        }
        self.real.extend_from_slice(name);
        if self.real.len() > MAX_PATH {
            return Err(Errno::NAMETOOLONG);
        }
        Ok(name)
    }

    /// Opens the directory `name` in the current one.
    fn step(&self, name: &[u8]) -> Result<Level, Errno> {
        let real = match self.stack.last() {
            Some(level) if !level.real.is_empty() => [&level.real, b"/".as_slice(), name].concat(),
            _ => name.to_vec(),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(self.top(), name, flags, Mode::empty());
        let fd = match opened {
            Ok(fd) => fd,
            Err(Errno::NOENT) => self.make_parent(name)?,
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let status = rustix::fs::statat(self.top(), name, AtFlags::SYMLINK_NOFOLLOW)?;
                if is_whiteout(&status) {
                    rustix::fs::unlinkat(self.top(), name, AtFlags::empty())?;
                    let fd = self.make_parent(name)?;
                    set_opaque(fd.as_fd())?;
                    fd
                } else if FileType::from_raw_mode(status.st_mode) == FileType::Symlink {
                    return self.step_through_link(name, &real);
                } else {
                    return Err(Errno::NOTDIR);
                }
            }
            Err(errno) => return Err(errno),
        };
        self.level(name, real, fd)
    }

    fn level(&self, name: &[u8], real: Vec<u8>, fd: OwnedFd) -> Result<Level, Errno> {
        let setgid = rustix::fs::fstat(&fd)?.st_mode & 0o2000 != 0;
        Ok(Level {
            name: name.to_vec(),
            real,
            fd,
            setgid,
        })
    }

    /// A parent the archive doesn't mention, or hasn't yet.
    fn make_parent(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        self.make_dir(self.top(), self.top_setgid(), name)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(self.top(), name, flags, Mode::empty())
    }

    fn make_dir(&self, dir: BorrowedFd<'_>, setgid: bool, name: &[u8]) -> Result<(), Errno> {
        rustix::fs::mkdirat(dir, name, Mode::from(0o755))?;
        self.disinherit(dir, name)?;
        rustix::fs::chmodat(dir, name, Mode::from(0o755), AtFlags::empty())?;
        if setgid {
            let (uid, gid) = (Uid::from_raw(self.euid), Gid::from_raw(self.egid));
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// A link among the parents: followed as a process would whose root is the layer. What is missing on the way is made.
    fn step_through_link(&self, name: &[u8], real: &[u8]) -> Result<Level, Errno> {
        let open = |real: &[u8]| {
            let real = if real.is_empty() { b"." } else { real };
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            rustix::fs::openat2(&self.root, real, flags, Mode::empty(), resolve)
        };
        // A real path, and the components still to go, the next one last.
        let mut at = real[..real.len() - name.len()].to_vec();
        at.truncate(at.len().saturating_sub(1));
        let mut ahead = vec![name.to_vec()];
        let mut links = 0;
        while let Some(next) = ahead.pop() {
            match next.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let dir = open(&at)?;
            match rustix::fs::statat(&dir, next.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {
                    let setgid = rustix::fs::fstat(&dir)?.st_mode & 0o2000 != 0;
                    self.make_dir(dir.as_fd(), setgid, &next)?;
                }
                Err(errno) => return Err(errno),
                Ok(status) => match FileType::from_raw_mode(status.st_mode) {
                    FileType::Directory => {}
                    FileType::Symlink => {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(Errno::LOOP);
                        }
                        let target = rustix::fs::readlinkat(&dir, next.as_slice(), Vec::new())?;
                        let target = target.as_bytes();
                        if target.starts_with(b"/") {
                            at.clear();
                        }
                        ahead.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                        continue;
                    }
                    _ => return Err(Errno::NOTDIR),
                },
            }
            if !at.is_empty() {
                at.push(b'/');
            }
            at.extend_from_slice(&next);
            if at.len() > MAX_PATH {
                return Err(Errno::NAMETOOLONG);
            }
        }
        let fd = open(&at)?;
        self.level(name, at, fd)
    }

    /// Makes a new entry; `EXIST` if there is one.
    fn make(&self, entry: &Entry, name: &[u8]) -> Result<Option<std::fs::File>, Errno> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let dir = self.top();
        match entry.kind {
            Kind::File => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = std::fs::File::from(rustix::fs::openat(dir, name, flags, mode)?);
                if entry.size > 0 {
                    return Ok(Some(file));
                }
                self.dress_fd(&file, entry)?;
                return Ok(None);
            }
            Kind::Dir => rustix::fs::mkdirat(dir, name, mode)?,
            Kind::Symlink => rustix::fs::symlinkat(entry.target.as_slice(), dir, name)?,
            Kind::Char { major, minor } => {
                let device = rustix::fs::makedev(major, minor);
                rustix::fs::mknodat(dir, name, FileType::CharacterDevice, mode, device)?;
            }
            Kind::Block { major, minor } => {
                let device = rustix::fs::makedev(major, minor);
                rustix::fs::mknodat(dir, name, FileType::BlockDevice, mode, device)?;
            }
            Kind::Fifo => rustix::fs::mknodat(dir, name, FileType::Fifo, mode, 0)?,
            Kind::Hardlink => return Ok(None),
        }
        self.dress_at(dir, name, entry, false)?;
        Ok(None)
    }

    /// Dresses a directory that was there already.
    fn dress_made(&self, entry: &Entry, name: &[u8]) -> Result<(), Errno> {
        self.dress_at(self.top(), name, entry, true)
    }

    fn needs_owner(&self, entry: &Entry) -> bool {
        entry.uid != self.euid || entry.gid != self.egid || self.top_setgid()
    }

    fn needs_mode(&self, entry: &Entry) -> bool {
        entry.mode & (self.umask | 0o7000) != 0 || self.default_acl
    }

    /// Owner, mode, attributes and time of a complete file, in this order: writing and changing the owner take away set-id
    /// bits and capabilities.
    fn dress_fd(&self, file: &std::fs::File, entry: &Entry) -> Result<(), Errno> {
        let owner = self.needs_owner(entry);
        if owner {
            rustix::fs::fchown(
                file,
                Some(Uid::from_raw(entry.uid)),
                Some(Gid::from_raw(entry.gid)),
            )?;
        }
        if self.default_acl {
            removed(rustix::fs::fremovexattr(file, ACL_ACCESS))?;
        }
        if self.needs_mode(entry) {
            rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))?;
        }
        for (name, value) in &entry.xattrs {
            tolerate(
                entry,
                name,
                rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()),
            )?;
        }
        rustix::fs::futimens(file, &times(entry))
    }

    /// Takes away the lists a new entry got from its directory: an archive says of every entry what it has. Before the mode is
    /// set, of which a list is a part.
    fn disinherit(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        if !self.default_acl {
            return Ok(());
        }
        let path = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat();
        for list in [ACL_ACCESS, ACL_DEFAULT] {
            removed(rustix::fs::lremovexattr(path.as_slice(), list))?;
        }
        Ok(())
    }

    fn dress_file(&self, file: &std::fs::File, entry: &Entry) -> Result<(), ApplyError> {
        self.dress_fd(file, entry)
            .map_err(|errno| self.failed(entry, errno))
    }

    /// The same for anything else. `existed`: nothing is known of its owner and mode.
    fn dress_at(&self, dir: BorrowedFd<'_>, name: &[u8], entry: &Entry, existed: bool) -> Result<(), Errno> {
        if existed || self.needs_owner(entry) {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if !existed {
            self.disinherit(dir, name)?;
        }
        let setgid_dir = entry.kind == Kind::Dir && self.top_setgid();
        if entry.kind != Kind::Symlink && (existed || setgid_dir || self.needs_mode(entry)) {
            rustix::fs::chmodat(dir, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
        }
        for (xattr, value) in &entry.xattrs {
            let path = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat();
            let set = rustix::fs::lsetxattr(path.as_slice(), xattr.as_slice(), value, XattrFlags::empty());
            tolerate(entry, xattr, set)?;
        }
        if entry.kind == Kind::Dir {
            // Entries still to come would change it.
            return Ok(());
        }
        rustix::fs::utimensat(dir, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn note_time(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        if entry
            .xattrs
            .iter()
            .any(|(name, _)| name == ACL_DEFAULT.as_bytes())
        {
            self.default_acl = true;
        }
        let time = times(entry).last_modification;
        self.times
            .push(&self.real, time)
            .map_err(|error| self.failed(entry, error))
    }

    /// In the order of the archive, so that the last entry of a directory wins. What is no directory any more is left alone.
    fn set_directory_times(&mut self) -> Result<(), StoreError> {
        let times = std::mem::replace(&mut self.times, Times::new(&self.staged));
        let set = |path: &[u8], time| {
            let path = if path.is_empty() { b".".as_slice() } else { path };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let opened = rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve);
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            if let Err(errno) = opened.and_then(|dir| rustix::fs::futimens(dir, &times)) {
                tracing::debug!(path = %shown(path), %errno, "directory time not set");
            }
        };
        times
            .replay(set)
            .map_err(|error| StoreError::io("read", &self.staged, error))
    }

    /// Makes room for `entry` where something is. `true` if it was a whiteout.
    fn replace(&mut self, entry: &Entry, name: &[u8], payloads: u64) -> Result<bool, Errno> {
        let status = rustix::fs::statat(self.top(), name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_dir = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        if is_dir && entry.kind == Kind::Dir {
            return Ok(false);
        }
        self.take(name, &status, is_dir, payloads)?;
        Ok(is_whiteout(&status))
    }

    /// Takes away what is at `name`. Contents the recipe refers to are moved aside.
    fn take(&mut self, name: &[u8], status: &Stat, is_dir: bool, payloads: u64) -> Result<(), Errno> {
        let contents = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile && status.st_size > 0;
        if !contents {
            let flags = if is_dir {
                AtFlags::REMOVEDIR
            } else {
                AtFlags::empty()
            };
            match rustix::fs::unlinkat(self.top(), name, flags) {
                Err(Errno::NOTEMPTY | Errno::EXIST) if is_dir => {}
                other => {
                    self.forget_parents();
                    return other;
                }
            }
        }
        let moved = self.staged.join(MOVED);
        if self.taken.is_empty() {
            rustix::fs::mkdir(&moved, Mode::from(0o700))?;
        }
        let target = moved.join(self.taken.len().to_string());
        rustix::fs::renameat(self.top(), name, rustix::fs::CWD, &target)?;
        self.taken_bytes += (size_of::<Taken>() + self.real.len()) as u64;
        self.taken.push(Taken {
            seq: payloads,
            path: self.real.clone(),
        });
        self.forget_parents();
        Ok(())
    }

    /// After something that may have been a parent, or a link to one, is gone. The directory the current entry is in stays: what
    /// was taken from it is in it.
    fn forget_parents(&mut self) {
        self.stale = true;
    }

    fn set_opaque(&self) -> Result<(), Errno> {
        set_opaque(self.top())
    }

    /// The layer's own entries win over its whiteouts: those concern lower layers only. A directory that has both was
    /// deleted and made anew.
    fn whiteout(&mut self, path: &[u8]) -> Result<(), Errno> {
        let name = self.parent(path)?;
        match rustix::fs::statat(self.top(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                rustix::fs::mknodat(self.top(), name, FileType::CharacterDevice, Mode::empty(), 0)
            }
            Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::Directory => {
                let inside = [path, b"/x".as_slice()].concat();
                self.parent(&inside)?;
                self.set_opaque()
            }
            Ok(_) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn hard_link(&mut self, entry: &Entry, payloads: u64) -> Result<(), ApplyError> {
        let dangling = || ApplyError::DanglingHardLink {
            path: shown(&entry.path),
            target: shown(&entry.target),
        };
        if entry.target.is_empty() {
            return Err(dangling());
        }
        let target = self
            .find_link_target(&entry.target)
            .map_err(|errno| match errno {
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP => dangling(),
                errno => self.failed(entry, errno),
            })?;
        let status = rustix::fs::fstat(&target).map_err(|errno| self.failed(entry, errno))?;
        if is_whiteout(&status) || FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            return Err(dangling());
        }
        let name = self
            .parent(&entry.path)
            .map_err(|errno| self.failed(entry, errno))?;
        // What a descriptor means is fixed, so the target is linked that was checked.
        let source = format!("/proc/self/fd/{}", target.as_raw_fd());
        let link = |unpacker: &Self, name: &[u8]| {
            let flags = AtFlags::SYMLINK_FOLLOW;
            rustix::fs::linkat(rustix::fs::CWD, source.as_str(), unpacker.top(), name, flags)
        };
        match link(self, name) {
            Err(Errno::EXIST) => {
                let there = rustix::fs::statat(self.top(), name, AtFlags::SYMLINK_NOFOLLOW);
                let there = there.map_err(|errno| self.failed(entry, errno))?;
                if (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino) {
                    return Ok(());
                }
                self.replace(entry, name, payloads)
                    .map_err(|errno| self.failed(entry, errno))?;
                link(self, name)
            }
            other => other,
        }
        .map_err(|errno| match errno {
            // The target itself was in the way and is gone.
            Errno::NOENT => dangling(),
            errno => self.failed(entry, errno),
        })
    }

    /// Opens the target of a hard link; a link as its last component is the target itself.
    fn find_link_target(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve)
    }
}

/// Attributes the file system doesn't keep are left out, as Docker does; but a program that lost its capabilities fails in
/// ways nobody understands.
fn tolerate(entry: &Entry, name: &[u8], set: Result<(), Errno>) -> Result<(), Errno> {
    match set {
        Err(errno @ (Errno::NOTSUP | Errno::PERM)) if name != b"security.capability" => {
            tracing::warn!(path = %shown(&entry.path), attribute = %shown(name), %errno, "attribute not kept");
            Ok(())
        }
        other => other,
    }
}

/// Hides what lower layers have in the directory.
fn set_opaque(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
    rustix::fs::setxattr(path, "trusted.overlay.opaque", b"y", XattrFlags::empty())
}

/// Overlay's sign for a deleted name.
fn is_whiteout(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice && status.st_rdev == 0
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

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// The process' umask, which can't be asked for without changing it except here.
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok())
        .unwrap_or(0o777)
}
