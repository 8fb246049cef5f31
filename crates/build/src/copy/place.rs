//! Writing picked files into a step's file system.

use std::io;
use std::path::{Path, PathBuf};

use havre_sys::rooted::{Mode, OFlags, Root};
use rustix::fs::{FileType, Gid, Uid};

use super::content::{Content, pour};
use super::{CopyError, Item, ItemKind};
use crate::files::{self, Attributes};

/// Where a copy goes.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// Absolute, as written (joined with the working directory).
    pub(crate) path: String,
    /// A `/` or `.` at the end says that it is a directory.
    pub(crate) is_directory: bool,
    /// Owner of directories made on the way.
    pub(crate) owner: (u32, u32),
}

impl Destination {
    pub(crate) fn new(written: &str, workdir: &str, owner: (u32, u32)) -> Self {
        let is_directory =
            written.is_empty() || written.ends_with('/') || written == "." || written.ends_with("/.");
        let path = if written.starts_with('/') {
            written.to_owned()
        } else {
            format!("{}/{written}", workdir.trim_end_matches('/'))
        };
        Destination {
            path,
            is_directory,
            owner,
        }
    }

    /// Where a file called `name` goes. `is_directory` looks whether a path is one already.
    pub(crate) fn for_file(
        &self,
        name: &Path,
        several: bool,
        is_directory: impl FnOnce(&Path) -> bool,
    ) -> PathBuf {
        let path = Path::new(&self.path);
        if self.is_directory || several || is_directory(path) {
            path.join(name)
        } else {
            path.to_path_buf()
        }
    }
}

/// Whether `path` is a directory, links followed.
pub(crate) fn is_directory(root: &Root, path: &Path) -> bool {
    root.stat(path, true)
        .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory)
}

/// Makes a directory with its parents; those that are new belong to `owner`.
pub(crate) fn ensure_directory(root: &Root, path: &Path, owner: (u32, u32)) -> io::Result<()> {
    if owner == (0, 0) {
        return root.ensure_dir(path, Mode::from_raw_mode(0o755)).map(drop);
    }
    let mut walked = PathBuf::new();
    for component in path.components() {
        walked.push(component);
        match root.stat(&walked, true) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                root.ensure_dir(&walked, Mode::from_raw_mode(0o755))?;
                let fd = root.open_at(&walked, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
                let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
                rustix::fs::fchown(&fd, Some(uid), Some(gid))
                    .map_err(|errno| files::named(&walked, errno))?;
            }
            Err(error) => return Err(error),
        }
    }
    root.ensure_dir(path, Mode::from_raw_mode(0o755)).map(drop)
}

/// Writes the items of one picked path to `base`.
pub(crate) fn place(
    source: &Root,
    items: &[Item],
    contents: &[Option<Content>],
    root: &Root,
    base: &Path,
    owner: (u32, u32),
    change: impl Fn(&Item) -> Attributes,
) -> Result<(), CopyError> {
    if let Some(parent) = base.parent() {
        ensure_directory(root, parent, owner)?;
    }
    let mut made = Vec::new();
    for (item, content) in items.iter().zip(contents) {
        let target = if item.target.as_os_str().is_empty() {
            base.to_path_buf()
        } else {
            base.join(&item.target)
        };
        let attributes = change(item);
        match &item.kind {
            // The directory whose content is copied: it is not itself copied, only made if missing.
            ItemKind::Dir if item.target.as_os_str().is_empty() => ensure_directory(root, &target, owner)?,
            ItemKind::Dir => {
                if files::directory(root, &target, &attributes, false)? {
                    made.push((target, attributes));
                }
            }
            ItemKind::Symlink(to) => files::symlink(root, &target, to, &attributes)?,
            ItemKind::Special(special) => files::special(root, &target, *special, &attributes)?,
            ItemKind::File => {
                let mut failure = None;
                let written = files::file(
                    root,
                    &target,
                    &mut |to| match pour(source, item, content.as_ref(), to) {
                        Ok(written) => Ok(written),
                        Err(error) => {
                            let text = error.to_string();
                            failure = Some(error);
                            Err(io::Error::other(text))
                        }
                    },
                    &attributes,
                );
                match failure {
                    Some(error) => return Err(error),
                    None => written?,
                };
            }
        }
    }
    for (path, attributes) in made.iter().rev() {
        files::touch_directory(root, path, attributes)?;
    }
    Ok(())
}
