//! Which files a source names.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use havre_sys::rooted::{Mode, OFlags, Root};
use rustix::fs::{AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;

use super::CopyError;
use crate::context::{IgnoreRules, Pattern, Stamp, clean};
use crate::files::{self, Attributes, Special};

/// Where sources are looked up.
pub(crate) struct Tree<'a> {
    pub(crate) keyword: &'static str,
    pub(crate) root: &'a Root,
    /// The context's ignore rules; `None` for stages and images.
    pub(crate) rules: Option<&'a IgnoreRules>,
    /// Files of stages and images keep their owners, files of the context belong to root.
    pub(crate) keep_owners: bool,
}

/// One file or directory a source names, links on the way followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picked {
    /// As written, cleaned; empty for the root.
    pub(crate) path: String,
    pub(crate) real: PathBuf,
    pub(crate) is_dir: bool,
    /// Found by a wildcard.
    pub(crate) by_wildcard: bool,
}

/// One file to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Beneath the tree's root; no component but the last is a link.
    pub(crate) source: PathBuf,
    /// Relative to what was picked; empty for that itself.
    pub(crate) target: PathBuf,
    pub(crate) kind: ItemKind,
    /// As it was when it was listed.
    pub(crate) stamp: Stamp,
    pub(crate) attributes: Attributes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ItemKind {
    File,
    Dir,
    Symlink(PathBuf),
    Special(Special),
}

impl Tree<'_> {
    /// Everything `pattern` names, sorted.
    pub(crate) fn pick(&self, pattern: &str) -> Result<Vec<Picked>, CopyError> {
        let cleaned = clean(pattern.trim_start_matches('/'));
        let cleaned = if cleaned == "." { String::new() } else { cleaned };
        if cleaned == ".." || cleaned.starts_with("../") {
            return Err(CopyError::Forbidden {
                keyword: self.keyword,
                path: pattern.to_owned(),
            });
        }
        let wild = cleaned.contains(['*', '?', '[', '\\']);
        let paths = if wild {
            self.glob(&cleaned)?
        } else {
            vec![cleaned.clone()]
        };
        let mut picked = Vec::new();
        for path in paths {
            let status = match self.root.stat(Path::new(&path), true) {
                Ok(status) => status,
                Err(_) if wild => continue,
                Err(error) if is_absent(&error) => return Err(self.missing(&path)),
                Err(error) => return Err(error.into()),
            };
            let is_dir = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
            if !self.visible(&path, is_dir) {
                match wild {
                    true => continue,
                    false => return Err(self.missing(&path)),
                }
            }
            let real = self.root.resolve(Path::new(&path))?;
            picked.push(Picked {
                path,
                real,
                is_dir,
                by_wildcard: wild,
            });
        }
        if picked.is_empty() {
            return Err(CopyError::NoSources {
                keyword: self.keyword,
            });
        }
        Ok(picked)
    }

    fn missing(&self, path: &str) -> CopyError {
        let (keyword, path) = (self.keyword, path.to_owned());
        match self.rules {
            Some(_) => CopyError::NotInContext { keyword, path },
            None => CopyError::NotFound { keyword, path },
        }
    }

    fn visible(&self, path: &str, is_dir: bool) -> bool {
        path.is_empty()
            || self
                .rules
                .is_none_or(|rules| !rules.excludes(path) || (is_dir && rules.may_include_below(path)))
    }

    /// Expands wildcards name by name, as Go's `filepath.Glob` does.
    fn glob(&self, pattern: &str) -> Result<Vec<String>, CopyError> {
        let mut found = vec![String::new()];
        for part in pattern.split('/') {
            let compiled = Pattern::glob(part).map_err(|source| CopyError::Pattern {
                pattern: pattern.to_owned(),
                source,
            })?;
            let mut next = Vec::new();
            for directory in &found {
                let join = |name: &str| match directory.is_empty() {
                    true => name.to_owned(),
                    false => format!("{directory}/{name}"),
                };
                if let Pattern::Exact(name) = &compiled {
                    next.push(join(name));
                    continue;
                }
                let Ok(names) = self.names(Path::new(directory)) else {
                    continue;
                };
                next.extend(
                    names
                        .iter()
                        .filter_map(|name| name.to_str())
                        .filter(|name| compiled.matches(name))
                        .map(join),
                );
            }
            found = next;
        }
        Ok(found)
    }

    /// Names in a directory, sorted.
    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let fd = self
            .root
            .open_at(directory, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        names(&fd)
    }

    /// The files of one picked path, parents before children. `excludes` are relative to it.
    pub(crate) fn items(&self, picked: &Picked, excludes: &IgnoreRules) -> Result<Vec<Item>, CopyError> {
        let mut items = Vec::new();
        let fd = self
            .root
            .open_at(&picked.real, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
        let status = rustix::fs::fstat(&fd).map_err(|errno| files::named(&picked.real, errno))?;
        let at = |flags| self.root.open_at(&picked.real, flags, Mode::empty());
        let found = self.describe(
            || picked.real.clone(),
            status,
            at,
            || self.root.read_link(&picked.real),
        )?;
        let is_dir = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        if is_dir != picked.is_dir {
            return Err(CopyError::Changed {
                path: picked.path.clone(),
            });
        }
        let Some(found) = found else {
            return Ok(items);
        };
        if is_dir {
            let place = (picked.real.as_path(), Path::new(""), picked.path.as_str());
            self.walk(place, found, excludes, &mut items)?;
        } else if !excludes.excludes(picked.path.rsplit('/').next().unwrap_or_default()) {
            items.push(found.item(picked.real.clone(), PathBuf::new())?);
        }
        Ok(items)
    }

    /// `place` is where the found thing is, where it goes, and its path as written.
    fn walk(
        &self,
        (real, target, written): (&Path, &Path, &str),
        found: Found,
        excludes: &IgnoreRules,
        items: &mut Vec<Item>,
    ) -> Result<(), CopyError> {
        let place = items.len();
        let is_dir = found.kind == Some(ItemKind::Dir);
        let hidden = |rules: &IgnoreRules, path: &str| !path.is_empty() && rules.excludes(path);
        let rules = self.rules.filter(|rules| !rules.is_empty());
        let by_rules = rules.is_some_and(|rules| hidden(rules, written));
        let relative = if excludes.is_empty() {
            Cow::Borrowed("")
        } else {
            target.to_string_lossy()
        };
        let by_excludes = hidden(excludes, &relative);
        if by_rules || by_excludes {
            let below = is_dir
                && (!by_rules || rules.is_some_and(|rules| rules.may_include_below(written)))
                && (!by_excludes || excludes.may_include_below(&relative));
            if !below {
                return Ok(());
            }
        }
        let mut item = found.item(real.to_path_buf(), target.to_path_buf())?;
        if by_rules {
            // Clients that send a tar leave such a directory out, and it is made where its first file is unpacked.
            item.attributes = Attributes {
                mode: 0o755,
                mtime: (0, 0),
                ..item.attributes
            };
        }
        items.push(item);
        if !is_dir {
            return Ok(());
        }
        for (name, found) in self.list(real)? {
            let lossy = name.to_string_lossy();
            let below = if written.is_empty() {
                lossy.into_owned()
            } else {
                format!("{written}/{lossy}")
            };
            let (real, target) = (real.join(&name), target.join(&name));
            self.walk((&real, &target, &below), found, excludes, items)?;
        }
        // A hidden directory is there only for what an exception shows in it.
        if (by_rules || by_excludes) && items.len() == place + 1 {
            items.truncate(place);
        }
        Ok(())
    }

    /// What is in a directory, sorted by name. What vanishes meanwhile was never there.
    fn list(&self, directory: &Path) -> Result<Vec<(OsString, Found)>, CopyError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let fd = match self.root.open_at(directory, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut list = Vec::new();
        for name in names(&fd)? {
            let path = || directory.join(&name);
            let status = match rustix::fs::statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(status) => status,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(files::named(&path(), errno).into()),
            };
            let at = |flags| {
                rustix::fs::openat(&fd, &name, flags | OFlags::CLOEXEC, Mode::empty())
                    .map_err(|errno| files::named(&path(), errno))
            };
            let link = || {
                let target = rustix::fs::readlinkat(&fd, &name, Vec::new());
                let target = target.map_err(|errno| files::named(&path(), errno))?;
                Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
            };
            if let Some(found) = self.describe(path, status, at, link)? {
                list.push((name, found));
            }
        }
        Ok(list)
    }

    /// `None` for sockets, which no layer can hold. `open` opens the file itself with the given flags.
    fn describe(
        &self,
        path: impl Fn() -> PathBuf,
        status: Stat,
        open: impl Fn(OFlags) -> io::Result<OwnedFd>,
        link: impl Fn() -> io::Result<PathBuf>,
    ) -> Result<Option<Found>, CopyError> {
        let of_context = self.rules.is_some();
        let kind = match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => Some(ItemKind::File),
            FileType::Directory => Some(ItemKind::Dir),
            FileType::Symlink => match link() {
                Ok(target) => Some(ItemKind::Symlink(target)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error.into()),
            },
            FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice if of_context => None,
            FileType::Fifo => Some(ItemKind::Special(Special::Fifo)),
            FileType::CharacterDevice => {
                let (major, minor) = numbers(&status);
                Some(ItemKind::Special(Special::Char { major, minor }))
            }
            FileType::BlockDevice => {
                let (major, minor) = numbers(&status);
                Some(ItemKind::Special(Special::Block { major, minor }))
            }
            _ => return Ok(None),
        };
        let xattrs = match kind {
            Some(ItemKind::File | ItemKind::Dir) if self.keep_owners => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
                files::xattrs(&open(flags)?)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path().display())))?
            }
            _ => Vec::new(),
        };
        let (uid, gid) = match self.keep_owners {
            true => (status.st_uid, status.st_gid),
            false => (0, 0),
        };
        let mode = match kind {
            Some(ItemKind::Symlink(_)) => 0o777,
            _ => status.st_mode & 0o7777,
        };
        // Clients send whole seconds.
        let nanos = match of_context {
            true => 0,
            false => u32::try_from(status.st_mtime_nsec).unwrap_or(0),
        };
        Ok(Some(Found {
            kind,
            stamp: Stamp::of(&status),
            attributes: Attributes {
                mode,
                uid,
                gid,
                mtime: (status.st_mtime, nanos),
                xattrs,
            },
        }))
    }
}

/// A file that was listed, before it is known whether it is wanted.
struct Found {
    /// `None` for what a context may not hold.
    kind: Option<ItemKind>,
    stamp: Stamp,
    attributes: Attributes,
}

impl Found {
    fn item(self, source: PathBuf, target: PathBuf) -> Result<Item, CopyError> {
        let Some(kind) = self.kind else {
            let path = source.display().to_string();
            return Err(CopyError::Special { path });
        };
        Ok(Item {
            source,
            target,
            kind,
            stamp: self.stamp,
            attributes: self.attributes,
        })
    }
}

/// Names in an open directory, sorted.
fn names(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn numbers(status: &Stat) -> (u32, u32) {
    (
        rustix::fs::major(status.st_rdev),
        rustix::fs::minor(status.st_rdev),
    )
}

impl Picked {
    /// The last name as written, for a destination that is a directory.
    pub(crate) fn name(&self) -> &OsStr {
        OsStr::from_bytes(self.path.rsplit('/').next().unwrap_or_default().as_bytes())
    }
}
