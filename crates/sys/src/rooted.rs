//! Paths resolved beneath a root directory, whatever links they contain.
//!
//! A path taken from an image, an archive or a container names something *inside* a root. Links on the way are followed as a
//! process whose `/` is that root would follow them (`RESOLVE_IN_ROOT`), so none of them leads out, also while somebody
//! changes the tree at the same time.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, ResolveFlags, Stat};
use rustix::io::Errno;

pub use rustix::fs::{Mode, OFlags};

/// A directory that paths can't leave. Errors name the path.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens the directory `path`, itself resolved by the ordinary rules.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| named("open", path, errno))?;
        Ok(Self {
            fd,
            path: path.to_path_buf(),
        })
    }

    /// A root from a descriptor (of a directory; `O_PATH` will do). `path` is for messages.
    pub fn from_fd(fd: OwnedFd, path: &Path) -> Self {
        Self {
            fd,
            path: path.to_path_buf(),
        }
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what `path` names inside; the last component's link is followed unless `flags` has `NOFOLLOW`.
    /// `CLOEXEC` is added. `mode` counts with `CREATE`.
    pub fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        self.openat2(path, flags, mode)
            .map_err(|errno| self.named("open", path, errno))
    }

    fn openat2(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, mode, resolve) {
                // The kernel saw a rename somewhere while it resolved "..", and can't vouch for the result.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// The directory that holds the last component of `path` (resolved inside), and that component's name.
    /// `None` for the root itself.
    pub fn parent(&self, path: &Path) -> io::Result<Option<(OwnedFd, OsString)>> {
        let Some((parent, name)) = split(path) else {
            return Ok(None);
        };
        if name == ".." {
            // The name of where ".." leads isn't written in the path.
            let real = self.resolve(path)?;
            return if real.as_os_str().is_empty() {
                Ok(None)
            } else {
                self.parent(&real)
            };
        }
        let fd = self.open_at(&parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Some((fd, name)))
    }

    fn parent_or_busy(&self, action: &str, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        self.parent(path)?
            .ok_or_else(|| self.named(action, path, Errno::BUSY))
    }

    /// Makes the directory `path` with all missing parents (`mode`), and opens it. Links to directories inside are followed.
    pub fn ensure_dir(&self, path: &Path, mode: Mode) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        // A link may lead to a missing directory whose own parent is missing, and so on: each round makes one directory.
        for _ in 0..256 {
            match self.openat2(path, flags, Mode::empty()) {
                Err(Errno::NOENT) => self.ensure_one(path, mode, 0)?,
                other => return other.map_err(|errno| self.named("open", path, errno)),
            }
        }
        Err(self.named("create", path, Errno::LOOP))
    }

    /// Makes the first missing directory on the way to `path`.
    fn ensure_one(&self, path: &Path, mode: Mode, links: u32) -> io::Result<()> {
        if links > 40 {
            return Err(self.named("create", path, Errno::LOOP));
        }
        let mut walked = PathBuf::new();
        for component in path.components() {
            let std::path::Component::Normal(name) = component else {
                walked.push(if component == std::path::Component::ParentDir {
                    ".."
                } else {
                    ""
                });
                continue;
            };
            let next = walked.join(name);
            match self.openat2(&next, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
                Ok(_) => walked = next,
                Err(Errno::NOENT) => {
                    let parent = self
                        .openat2(&walked, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
                        .map_err(|errno| self.named("open", &walked, errno))?;
                    return match rustix::fs::mkdirat(&parent, name, mode) {
                        Ok(()) => rustix::fs::chmodat(&parent, name, mode, AtFlags::empty())
                            .map_err(|errno| self.named("set the mode of", &next, errno)),
                        // A link to nothing: make what it names.
                        Err(Errno::EXIST) => {
                            let target = rustix::fs::readlinkat(&parent, name, Vec::new())
                                .map_err(|errno| self.named("create", &next, errno))?;
                            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                            self.ensure_one(&walked.join(target), mode, links + 1)
                        }
                        Err(errno) => Err(self.named("create", &next, errno)),
                    };
                }
                Err(errno) => return Err(self.named("open", &next, errno)),
            }
        }
        Ok(())
    }

    /// Where `path` really is, relative to the root: every link resolved. It must exist.
    pub fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let fd = self.open_at(path, OFlags::PATH, Mode::empty())?;
        let real = location(fd.as_fd()).map_err(|errno| self.named("resolve", path, errno))?;
        let root = location(self.fd.as_fd()).map_err(|errno| self.named("resolve", path, errno))?;
        // Something moved out of the root between opening and asking has no place inside any more.
        real.strip_prefix(&root)
            .map(Path::to_path_buf)
            .map_err(|_| self.named("resolve", path, Errno::XDEV))
    }

    /// Status of what `path` names; of the link itself if it is one and `follow` is false.
    pub fn stat(&self, path: &Path, follow: bool) -> io::Result<Stat> {
        let flags = if follow {
            OFlags::PATH
        } else {
            OFlags::PATH | OFlags::NOFOLLOW
        };
        self.openat2(path, flags, Mode::empty())
            .and_then(rustix::fs::fstat)
            .map_err(|errno| self.named("query status of", path, errno))
    }

    /// The target of the link `path`.
    pub fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.openat2(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
            .and_then(|fd| rustix::fs::readlinkat(&fd, "", Vec::new()))
            // With an empty path the kernel says "no such file" for what isn't a link.
            .map(|target| PathBuf::from(OsString::from_vec(target.into_bytes())))
            .map_err(|errno| self.named("read link", path, errno))
    }

    /// Reads a file of at most `limit` bytes. Refuses anything but a regular file, without blocking on a fifo.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let fd = self.open_at(
            path,
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
            Mode::empty(),
        )?;
        let status = rustix::fs::fstat(&fd).map_err(|errno| self.named("read", path, errno))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(self.described("read", path, io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        std::fs::File::from(fd)
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| self.described("read", path, error.kind(), &error.to_string()))?;
        if bytes.len() as u64 > limit {
            let reason = format!("larger than {limit} bytes");
            return Err(self.described("read", path, io::ErrorKind::FileTooLarge, &reason));
        }
        Ok(bytes)
    }

    /// Makes or replaces a regular file.
    pub fn write(&self, path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
        // Without NONBLOCK, a fifo put in the way would block for ever.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.open_at(path, flags, mode)?;
        let status = rustix::fs::fstat(&fd).map_err(|errno| self.named("write", path, errno))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(self.described("write", path, io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut file = std::fs::File::from(fd);
        file.write_all(bytes)
            .map_err(|error| self.described("write", path, error.kind(), &error.to_string()))?;
        rustix::fs::fchmod(&file, mode).map_err(|errno| self.named("set the mode of", path, errno))
    }

    /// Makes a link `path` with the given target, which is not interpreted.
    pub fn symlink(&self, path: &Path, target: &Path) -> io::Result<()> {
        let (parent, name) = self.parent_or_busy("create link", path)?;
        rustix::fs::symlinkat(target, parent, name).map_err(|errno| self.named("create link", path, errno))
    }

    /// Removes a file, link or empty directory.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent_or_busy("remove", path)?;
        match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR),
            other => other,
        }
        .map_err(|errno| self.named("remove", path, errno))
    }

    fn named(&self, action: &str, path: &Path, errno: Errno) -> io::Error {
        named(action, &self.shown(path), errno)
    }

    fn described(&self, action: &str, path: &Path, kind: io::ErrorKind, reason: &str) -> io::Error {
        io::Error::new(
            kind,
            format!("failed to {action} `{}`: {reason}", self.shown(path).display()),
        )
    }

    fn shown(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn named(action: &str, path: &Path, errno: Errno) -> io::Error {
    io::Error::new(
        io::Error::from(errno).kind(),
        format!("failed to {action} `{}`: {errno}", path.display()),
    )
}

/// Parent and last component, both as written; `None` if the path names the root.
fn split(path: &Path) -> Option<(PathBuf, OsString)> {
    let bytes = path.as_os_str().as_bytes();
    let mut end = bytes.len();
    loop {
        let rest = &bytes[..end];
        let start = rest
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        match &rest[start..] {
            b"" | b"." if start == 0 => return None,
            b"" | b"." => end = start - 1,
            name => {
                return Some((
                    OsStr::from_bytes(&rest[..start]).into(),
                    OsStr::from_bytes(name).to_os_string(),
                ));
            }
        }
    }
}

fn location(fd: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let path = rustix::fs::readlink(link, Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("root");
        fs::create_dir(&inside).unwrap();
        fs::write(dir.path().join("secret"), "outside").unwrap();
        let root = Root::open(&inside).unwrap();
        (dir, root)
    }

    #[test]
    fn links_and_dots_stay_inside() {
        let (dir, root) = root();
        let secret = dir.path().join("secret");
        symlink(&secret, root.path().join("absolute")).unwrap();
        symlink("../secret", root.path().join("relative")).unwrap();
        symlink("/", root.path().join("slash")).unwrap();
        for path in [
            "absolute",
            "relative",
            "../secret",
            "/../secret",
            "slash/../../secret",
            "slash/relative",
        ] {
            let error = root.read(Path::new(path), 100).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{path}: {error}");
        }
        root.write(Path::new("relative"), b"mine", Mode::from(0o600))
            .unwrap();
        assert_eq!(fs::read_to_string(root.path().join("secret")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "outside");
    }

    #[test]
    fn directories_are_made_through_links_inside() {
        let (dir, root) = root();
        symlink("/real/deep", root.path().join("link")).unwrap();
        root.ensure_dir(Path::new("/link/a/b"), Mode::from(0o755))
            .unwrap();
        assert!(root.path().join("real/deep/a/b").is_dir());
        symlink("../../../escape", root.path().join("up")).unwrap();
        root.ensure_dir(Path::new("up/x"), Mode::from(0o755)).unwrap();
        assert!(root.path().join("escape/x").is_dir());
        assert!(!dir.path().join("escape").exists());
        symlink("loop", root.path().join("loop")).unwrap();
        assert!(root.ensure_dir(Path::new("loop/x"), Mode::from(0o755)).is_err());
    }

    #[test]
    fn resolve_and_parent_name_the_real_place() {
        let (_dir, root) = root();
        root.ensure_dir(Path::new("usr/lib"), Mode::from(0o755)).unwrap();
        symlink("usr/lib", root.path().join("lib")).unwrap();
        assert_eq!(root.resolve(Path::new("/lib/.")).unwrap(), Path::new("usr/lib"));
        assert_eq!(root.resolve(Path::new("/")).unwrap(), Path::new(""));
        assert_eq!(root.parent(Path::new("/./")).unwrap().map(|(_, name)| name), None);
        assert_eq!(root.parent(Path::new("lib/x/")).unwrap().unwrap().1, "x");
        assert_eq!(root.parent(Path::new("usr/lib/..")).unwrap().unwrap().1, "usr");
        assert_eq!(root.read_link(Path::new("lib")).unwrap(), Path::new("usr/lib"));
        root.remove(Path::new("lib")).unwrap();
        root.remove(Path::new("usr/lib")).unwrap();
        assert!(root.remove(Path::new("/")).is_err());
    }

    #[test]
    fn reading_is_bounded_and_never_blocks() {
        let (_dir, root) = root();
        root.write(Path::new("file"), b"12345", Mode::from(0o640))
            .unwrap();
        assert_eq!(root.read(Path::new("file"), 5).unwrap(), b"12345");
        assert_eq!(
            root.read(Path::new("file"), 4).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        rustix::fs::mkfifoat(&root, "fifo", Mode::from(0o600)).unwrap();
        assert!(root.read(Path::new("fifo"), 4).is_err());
        assert!(root.write(Path::new("fifo"), b"", Mode::from(0o600)).is_err());
        let error = root.read(Path::new("missing"), 4).unwrap_err();
        assert!(error.to_string().contains("root/missing"), "{error}");
    }
}
