//! Which files a source names.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use havre_sys::rooted::{Mode, OFlags, Root};
use rustix::fs::{Dir, FileType, Stat};

use super::CopyError;
use crate::context::{IgnoreRules, Pattern, clean};
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
    pub(crate) size: u64,
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
    fn names(&self, directory: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        let fd = self
            .root
            .open_at(directory, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(std::ffi::OsString::from_vec(name.to_vec()));
            }
        }
        names.sort();
        Ok(names)
    }

    /// The files of one picked path, parents before children. `excludes` are relative to it.
    pub(crate) fn items(&self, picked: &Picked, excludes: &IgnoreRules) -> Result<Vec<Item>, CopyError> {
        let mut items = Vec::new();
        if picked.is_dir {
            self.walk(&picked.real, Path::new(""), &picked.path, excludes, &mut items)?;
        } else {
            let name = picked.path.rsplit('/').next().unwrap_or_default();
            if !excludes.excludes(name) {
                items.extend(self.item(&picked.real, PathBuf::new())?);
            }
        }
        Ok(items)
    }

    fn walk(
        &self,
        real: &Path,
        target: &Path,
        written: &str,
        excludes: &IgnoreRules,
        items: &mut Vec<Item>,
    ) -> Result<(), CopyError> {
        let place = items.len();
        let Some(item) = self.item(real, target.to_path_buf())? else {
            return Ok(());
        };
        let is_dir = item.kind == ItemKind::Dir;
        let relative = target.to_string_lossy();
        let hidden = |rules: &IgnoreRules, path: &str| !path.is_empty() && rules.excludes(path);
        let rules = self.rules.filter(|rules| !rules.is_empty());
        let by_rules = rules.is_some_and(|rules| hidden(rules, written));
        let by_excludes = hidden(excludes, &relative);
        if by_rules || by_excludes {
            let below = is_dir
                && (!by_rules || rules.is_some_and(|rules| rules.may_include_below(written)))
                && (!by_excludes || excludes.may_include_below(&relative));
            if !below {
                return Ok(());
            }
        }
        items.push(item);
        if !is_dir {
            return Ok(());
        }
        for name in self.names(real)? {
            let lossy = name.to_string_lossy();
            let below = if written.is_empty() {
                lossy.into_owned()
            } else {
                format!("{written}/{lossy}")
            };
            self.walk(&real.join(&name), &target.join(&name), &below, excludes, items)?;
        }
        // A hidden directory is there only for what an exception shows in it.
        if (by_rules || by_excludes) && items.len() == place + 1 {
            items.truncate(place);
        }
        Ok(())
    }

    /// `None` for sockets, which no layer can hold.
    fn item(&self, real: &Path, target: PathBuf) -> Result<Option<Item>, CopyError> {
        let path = if real.as_os_str().is_empty() {
            Path::new(".")
        } else {
            real
        };
        let status = self.root.stat(path, false)?;
        let kind = match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => ItemKind::File,
            FileType::Directory => ItemKind::Dir,
            FileType::Symlink => ItemKind::Symlink(self.root.read_link(path)?),
            FileType::Fifo => ItemKind::Special(Special::Fifo),
            FileType::CharacterDevice => {
                let (major, minor) = numbers(&status);
                ItemKind::Special(Special::Char { major, minor })
            }
            FileType::BlockDevice => {
                let (major, minor) = numbers(&status);
                ItemKind::Special(Special::Block { major, minor })
            }
            _ => return Ok(None),
        };
        let xattrs = match kind {
            ItemKind::File | ItemKind::Dir if self.keep_owners => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
                files::xattrs(&self.root.open_at(path, flags, Mode::empty())?)?
            }
            _ => Vec::new(),
        };
        let (uid, gid) = if self.keep_owners {
            (status.st_uid, status.st_gid)
        } else {
            (0, 0)
        };
        let mode = if matches!(kind, ItemKind::Symlink(_)) {
            0o777
        } else {
            status.st_mode & 0o7777
        };
        let size = if kind == ItemKind::File {
            u64::try_from(status.st_size).unwrap_or(0)
        } else {
            0
        };
        let nanos = u32::try_from(status.st_mtime_nsec).unwrap_or(0);
        let attributes = Attributes {
            mode,
            uid,
            gid,
            mtime: (status.st_mtime, nanos),
            xattrs,
        };
        Ok(Some(Item {
            source: real.to_path_buf(),
            target,
            kind,
            size,
            attributes,
        }))
    }
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
