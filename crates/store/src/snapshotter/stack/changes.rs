//! How an upper directory differs from the layers beneath.
//!
//! Both are walked together: at every directory of the upper one, `lower` holds the directories of the same path that would
//! be merged with it, topmost first. The overlay itself need not be mounted.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Stat};
use rustix::io::Errno;

use crate::snapshotter::pack::{is_opaque, open_dir};
use crate::{Change, ChangeKind, Result, StoreError};

/// How `upper` differs from the trees `layers` (base first), in Docker's order.
pub(crate) fn changes(layers: &[PathBuf], upper: &Path) -> Result<Vec<Change>> {
    let open = |path: &Path| open_dir(CWD, path).map_err(|errno| StoreError::io("open", path, errno.into()));
    let below = Below::Dirs(
        layers
            .iter()
            .rev()
            .map(|path| open(path))
            .collect::<Result<_>>()?,
    );
    let mut walk = Walk {
        upper,
        changes: Vec::new(),
    };
    let dir = open(upper)?;
    walk.dir(&dir, &below, Path::new("/"))?;
    Ok(walk.changes)
}

/// What the layers have at a path.
enum Below {
    Nothing,
    /// Anything but a directory.
    Leaf,
    /// A directory, merged of these; topmost first.
    Dirs(Vec<OwnedFd>),
}

struct Walk<'a> {
    upper: &'a Path,
    changes: Vec<Change>,
}

impl Walk<'_> {
    fn push(&mut self, path: PathBuf, kind: ChangeKind) {
        self.changes.push(Change { path, kind });
    }

    fn failed(&self, path: &Path, errno: Errno) -> StoreError {
        let path = self.upper.join(path.strip_prefix("/").unwrap_or(path));
        StoreError::io("compare", path, io::Error::from(errno))
    }

    /// The changes beneath `path`; whether names in it came or went.
    fn dir(&mut self, dir: &OwnedFd, below: &Below, path: &Path) -> Result<bool> {
        let fail = |errno| self.failed(path, errno);
        let mut names: BTreeMap<CString, bool> = names(dir)
            .map_err(fail)?
            .into_iter()
            .map(|name| (name, true))
            .collect();
        let opaque = is_opaque(dir);
        if let Below::Dirs(dirs) = below
            && opaque
        {
            // Nothing of the layers shows through: what isn't here again is gone.
            for name in visible(dirs).map_err(fail)? {
                names.entry(name).or_insert(false);
            }
        }
        let mut renamed = false;
        for (name, present) in names {
            let child = path.join(std::ffi::OsStr::from_bytes(name.as_bytes()));
            if present {
                let below = match below {
                    Below::Dirs(dirs) => find(dirs, &name).map_err(|errno| self.failed(&child, errno))?,
                    _ => Below::Nothing,
                };
                let kind = self.entry(dir, &name, &below, child)?;
                renamed |= matches!(kind, Some(ChangeKind::Added | ChangeKind::Deleted));
            } else {
                self.push(child, ChangeKind::Deleted);
                renamed = true;
            }
        }
        Ok(renamed)
    }

    fn entry(
        &mut self,
        dir: &OwnedFd,
        name: &CString,
        below: &Below,
        path: PathBuf,
    ) -> Result<Option<ChangeKind>> {
        let status = match rustix::fs::statat(dir, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => status,
            // The container runs on.
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.failed(&path, errno)),
        };
        let existed = !matches!(below, Below::Nothing);
        if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
            let kind = match (is_whiteout(&status), existed) {
                (true, false) => return Ok(None),
                (true, true) => ChangeKind::Deleted,
                (false, true) => ChangeKind::Modified,
                (false, false) => ChangeKind::Added,
            };
            self.push(path, kind);
            return Ok(Some(kind));
        }
        let inner = match open_dir(dir, name.as_c_str()) {
            Ok(inner) => inner,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.failed(&path, errno)),
        };
        let at = self.changes.len();
        let renamed = self.dir(&inner, below, &path)?;
        let kind = match below {
            Below::Nothing => ChangeKind::Added,
            Below::Leaf => ChangeKind::Modified,
            // A directory is in the upper one whenever something beneath it changed. It is itself changed if its own
            // attributes are, or if names in it came or went.
            Below::Dirs(dirs) => {
                let same = dirs.first().is_some_and(|lower| same_attributes(&status, lower));
                if same && !renamed {
                    return Ok(None);
                }
                ChangeKind::Modified
            }
        };
        self.changes.insert(at, Change { path, kind });
        Ok(Some(kind))
    }
}

fn names(dir: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

fn is_whiteout(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice && status.st_rdev == 0
}

fn same_attributes(status: &Stat, lower: &OwnedFd) -> bool {
    let Ok(lower) = rustix::fs::fstat(lower) else {
        return false;
    };
    (
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_mtime,
        status.st_mtime_nsec,
    ) == (
        lower.st_mode,
        lower.st_uid,
        lower.st_gid,
        lower.st_mtime,
        lower.st_mtime_nsec,
    )
}

/// The names a merged directory shows.
fn visible(dirs: &[OwnedFd]) -> Result<Vec<CString>, Errno> {
    let mut seen: BTreeMap<CString, bool> = BTreeMap::new();
    for dir in dirs {
        for name in names(dir)? {
            if seen.contains_key(&name) {
                continue;
            }
            let status = rustix::fs::statat(dir, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)?;
            seen.insert(name, !is_whiteout(&status));
        }
    }
    Ok(seen
        .into_iter()
        .filter_map(|(name, shown)| shown.then_some(name))
        .collect())
}

/// What a merged directory has by the name.
fn find(dirs: &[OwnedFd], name: &CString) -> Result<Below, Errno> {
    let mut found = Vec::new();
    for dir in dirs {
        let status = match rustix::fs::statat(dir, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => status,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        };
        if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
            if found.is_empty() && !is_whiteout(&status) {
                return Ok(Below::Leaf);
            }
            break;
        }
        let inner = open_dir(dir, name.as_c_str())?;
        let opaque = is_opaque(&inner);
        found.push(inner);
        if opaque {
            break;
        }
    }
    Ok(if found.is_empty() {
        Below::Nothing
    } else {
        Below::Dirs(found)
    })
}
