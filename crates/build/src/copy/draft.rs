//! A layer before it is written: what it will hold, decided against the files beneath it.
//!
//! Paths follow the links of the layers below and of the draft itself, as a process in the image would. Directories that
//! exist below keep everything they have; an entry for each says so again, because in a stack of layers the topmost entry
//! counts. Nothing is written, so equal sources on equal layers give equal drafts.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use havre_sys::rooted::{Mode, OFlags, Root};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::content::Content;
use super::{CopyError, Item, ItemKind};
use crate::files::{self, Attributes, Special};

/// How many links are followed on the way to one file.
const MAX_LINKS: u32 = 40;

/// One entry of the layer.
#[derive(Debug)]
pub(super) struct Node<'a> {
    /// Relative to the root, every link resolved; empty for the root itself.
    pub(super) path: Vec<u8>,
    pub(super) kind: NodeKind<'a>,
    pub(super) attributes: Attributes,
}

#[derive(Debug)]
pub(super) enum NodeKind<'a> {
    Dir {
        /// Made here, so that nothing of the layers below is in it.
        new: bool,
    },
    Symlink(PathBuf),
    Special(Special),
    /// A file of the tree that is copied.
    Item(&'a Item, Option<Content>),
    Text(&'a str),
    /// A download: the whole of a file, from its beginning.
    File(&'a File, u64),
}

/// What a name is, in the draft or beneath it.
enum Found {
    Nothing,
    Dir,
    Symlink(PathBuf),
    Other,
}

/// See the module.
pub(crate) struct Draft<'a> {
    below: &'a Root,
    nodes: Vec<Node<'a>>,
    /// Place in `nodes` by path.
    places: HashMap<Vec<u8>, usize>,
    /// Real places of directories that were asked for.
    directories: HashMap<PathBuf, Vec<u8>>,
}

impl<'a> Draft<'a> {
    /// An empty draft over the files `below`.
    pub(crate) fn new(below: &'a Root) -> Self {
        Draft {
            below,
            nodes: Vec::new(),
            places: HashMap::new(),
            directories: HashMap::new(),
        }
    }

    /// The entries, parents before children, names in byte order.
    pub(super) fn into_nodes(mut self) -> Vec<Node<'a>> {
        let order = |node: &Node<'_>| -> Vec<u8> {
            // The slash sorts before every other byte.
            let bytes = node.path.iter();
            bytes.map(|byte| if *byte == b'/' { 0 } else { *byte }).collect()
        };
        self.nodes.sort_by_cached_key(order);
        self.nodes
    }

    /// Whether `path` is a directory, links followed.
    pub(crate) fn is_directory(&mut self, path: &Path) -> bool {
        matches!(self.locate(path, None), Ok(Some(_)))
    }

    /// Makes a directory with its parents if it is missing; those that are new are 0755 and belong to `owner`.
    pub(crate) fn ensure_directory(&mut self, path: &Path, owner: (u32, u32)) -> Result<(), CopyError> {
        self.directory_at(path, owner).map(drop)
    }

    /// Puts the items of one picked path at `base`.
    pub(crate) fn place(
        &mut self,
        items: &'a [Item],
        contents: &[Option<Content>],
        base: &Path,
        owner: (u32, u32),
        change: impl Fn(&Item) -> Attributes,
    ) -> Result<(), CopyError> {
        if let Some(parent) = base.parent() {
            self.ensure_directory(parent, owner)?;
        }
        for (item, content) in items.iter().zip(contents) {
            let whole = item.target.as_os_str().is_empty();
            let target = match whole {
                true => base.to_path_buf(),
                false => base.join(&item.target),
            };
            let kind = match &item.kind {
                ItemKind::Dir if whole => {
                    self.ensure_directory(&target, owner)?;
                    continue;
                }
                ItemKind::Dir => {
                    self.directory(&target, change(item))?;
                    continue;
                }
                ItemKind::Symlink(to) => NodeKind::Symlink(to.clone()),
                ItemKind::Special(special) => NodeKind::Special(*special),
                ItemKind::File => NodeKind::Item(item, *content),
            };
            self.leaf(&target, kind, change(item), (0, 0))?;
        }
        Ok(())
    }

    /// Puts a file with this text at `path`.
    pub(crate) fn text(
        &mut self,
        path: &Path,
        text: &'a str,
        attributes: Attributes,
    ) -> Result<(), CopyError> {
        let owner = (attributes.uid, attributes.gid);
        self.leaf(path, NodeKind::Text(text), attributes, owner)
    }

    /// Puts a copy of `file`, of which it takes `size` bytes, at `path`.
    pub(crate) fn file(
        &mut self,
        path: &Path,
        file: &'a File,
        size: u64,
        attributes: Attributes,
    ) -> Result<(), CopyError> {
        let owner = (attributes.uid, attributes.gid);
        self.leaf(path, NodeKind::File(file, size), attributes, owner)
    }

    /// A directory of the copied tree. One that exists stays as it is.
    fn directory(&mut self, path: &Path, attributes: Attributes) -> Result<(), CopyError> {
        let before = self.nodes.len();
        let real = match self.directory_at(path, (0, 0)) {
            Err(CopyError::Io(error)) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(refused(
                    path,
                    io::ErrorKind::NotADirectory,
                    "a directory over the file",
                ));
            }
            other => other?,
        };
        if let Some(place) = self.places.get(&real).copied().filter(|place| *place >= before) {
            let node = &mut self.nodes[place];
            if matches!(node.kind, NodeKind::Dir { new: true }) {
                node.attributes = attributes;
            }
        }
        Ok(())
    }

    fn leaf(
        &mut self,
        path: &Path,
        kind: NodeKind<'a>,
        attributes: Attributes,
        owner: (u32, u32),
    ) -> Result<(), CopyError> {
        let invalid = || files::named(path, Errno::INVAL);
        let name = path.file_name().ok_or_else(invalid)?.as_bytes();
        let parent = self.directory_at(path.parent().unwrap_or(Path::new("")), owner)?;
        if matches!(self.look(&parent, name)?, Found::Dir) {
            return Err(refused(
                path,
                io::ErrorKind::IsADirectory,
                "a file over the directory",
            ));
        }
        self.keep(&parent)?;
        let path = joined(&parent, name);
        self.put(Node {
            path,
            kind,
            attributes,
        })
    }

    fn put(&mut self, node: Node<'a>) -> Result<(), CopyError> {
        let name = node.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if name.starts_with(b".wh.") {
            return Err(CopyError::Whiteout {
                path: shown(&node.path),
            });
        }
        match self.places.get(&node.path) {
            Some(place) => self.nodes[*place] = node,
            None => {
                self.places.insert(node.path.clone(), self.nodes.len());
                self.nodes.push(node);
            }
        }
        Ok(())
    }

    /// Entries for a directory and its parents as they are below.
    fn keep(&mut self, directory: &[u8]) -> Result<(), CopyError> {
        let mut path = directory;
        let mut missing = Vec::new();
        while !self.places.contains_key(path) {
            missing.push(path);
            match path.iter().rposition(|byte| *byte == b'/') {
                Some(slash) => path = &path[..slash],
                None if path.is_empty() => break,
                None => path = b"",
            }
        }
        for path in missing {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let fd = self
                .below
                .open_at(Path::new(OsStr::from_bytes(path)), flags, Mode::empty())?;
            let status = rustix::fs::fstat(&fd).map_err(io::Error::from)?;
            let attributes = Attributes {
                mode: status.st_mode & 0o7777,
                uid: status.st_uid,
                gid: status.st_gid,
                mtime: (status.st_mtime, 0),
                xattrs: files::layer_xattrs(&fd)?,
            };
            self.put(Node {
                path: path.to_vec(),
                kind: NodeKind::Dir { new: false },
                attributes,
            })?;
        }
        Ok(())
    }

    /// The real place of a directory, made if missing.
    fn directory_at(&mut self, path: &Path, owner: (u32, u32)) -> Result<Vec<u8>, CopyError> {
        if let Some(real) = self.directories.get(path) {
            return Ok(real.clone());
        }
        // The usual case: a child of a directory that was just asked for.
        let real = self
            .locate(path, Some(owner))?
            .ok_or_else(|| files::named(path, Errno::NOENT))?;
        self.directories.insert(path.to_path_buf(), real.clone());
        Ok(real)
    }

    /// Follows a path to a directory. What is missing is made if `make` says whose it is, else there is no such place.
    fn locate(&mut self, path: &Path, make: Option<(u32, u32)>) -> Result<Option<Vec<u8>>, CopyError> {
        let mut real = Vec::new();
        let mut pending: Vec<Vec<u8>> = Vec::new();
        push(&mut pending, path);
        // Beneath a known directory the way is short.
        let known = path
            .ancestors()
            .skip(1)
            .find_map(|parent| Some((parent, self.directories.get(parent)?)));
        if let Some((parent, known)) = known
            && let Ok(rest) = path.strip_prefix(parent)
        {
            real.clone_from(known);
            pending.clear();
            push(&mut pending, rest);
        }
        let mut links = 0;
        while let Some(name) = pending.pop() {
            match name.as_slice() {
                b"/" => real.clear(),
                b".." => {
                    let end = real.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                    real.truncate(end);
                }
                name => match self.look(&real, name)? {
                    Found::Dir => real = joined(&real, name),
                    Found::Symlink(target) => {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(files::named(path, Errno::LOOP).into());
                        }
                        push(&mut pending, &target);
                    }
                    Found::Other => return Err(files::named(path, Errno::NOTDIR).into()),
                    Found::Nothing => {
                        let Some((uid, gid)) = make else {
                            return Ok(None);
                        };
                        self.keep(&real)?;
                        real = joined(&real, name);
                        self.put(Node {
                            path: real.clone(),
                            kind: NodeKind::Dir { new: true },
                            attributes: Attributes {
                                mode: 0o755,
                                uid,
                                gid,
                                mtime: (0, 0),
                                xattrs: Vec::new(),
                            },
                        })?;
                    }
                },
            }
        }
        Ok(Some(real))
    }

    fn look(&self, directory: &[u8], name: &[u8]) -> Result<Found, CopyError> {
        let path = joined(directory, name);
        if let Some(place) = self.places.get(&path) {
            return Ok(match &self.nodes[*place].kind {
                NodeKind::Dir { .. } => Found::Dir,
                NodeKind::Symlink(target) => Found::Symlink(target.clone()),
                _ => Found::Other,
            });
        }
        let parent = self.places.get(directory).map(|place| &self.nodes[*place].kind);
        if matches!(parent, Some(NodeKind::Dir { new: true })) {
            return Ok(Found::Nothing);
        }
        let path = Path::new(OsStr::from_bytes(&path));
        let status = match self.below.stat(path, false) {
            Ok(status) => status,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error.into()),
        };
        Ok(match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => Found::Dir,
            FileType::Symlink => Found::Symlink(self.below.read_link(path)?),
            _ => Found::Other,
        })
    }
}

/// Puts the names of `path` on a stack, the first on top; `/` stands for the root.
fn push(pending: &mut Vec<Vec<u8>>, path: &Path) {
    pending.extend(path.components().rev().filter_map(|component| match component {
        Component::RootDir => Some(b"/".to_vec()),
        Component::ParentDir => Some(b"..".to_vec()),
        Component::Normal(name) => Some(name.as_bytes().to_vec()),
        Component::CurDir | Component::Prefix(_) => None,
    }));
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        return name.to_vec();
    }
    [directory, b"/", name].concat()
}

fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

fn refused(path: &Path, kind: io::ErrorKind, what: &str) -> CopyError {
    io::Error::new(kind, format!("cannot copy {what} {}", path.display())).into()
}
