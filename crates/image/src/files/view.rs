//! Layers on top of each other, as overlayfs shows them.

use std::collections::BTreeMap;

use havre_store::{TreeEntry, TreeKind};

use super::{FileContents, ImageFiles, MAX_LINKS};
use crate::ImageError;

/// Some layers of an image, as one tree. Whatever is asked holds in memory one directory after the other, never the tree.
#[derive(Debug)]
pub struct View<'a> {
    pub(super) files: &'a ImageFiles,
    /// The uppermost first.
    layers: Vec<usize>,
    /// Whether they stand for themselves: then their whiteouts are seen.
    bare: bool,
    /// Whether contents of what is looked for will be wanted, all of them.
    keep: bool,
}

/// Something in a [`View`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    pub entry: TreeEntry,
    /// The layer it comes from.
    pub layer: usize,
    /// Of a directory: the layers that may have something in it, the uppermost first.
    within: Vec<usize>,
}

impl Located {
    pub fn is_dir(&self) -> bool {
        matches!(self.entry.kind, TreeKind::Directory { .. })
    }
}

/// What several layers have under one name, put together from the uppermost down.
#[derive(Debug, Default)]
struct Stack {
    found: Option<Located>,
    /// Nothing below is seen any more.
    closed: bool,
}

impl Stack {
    fn add(&mut self, entry: TreeEntry, layer: usize, bare: bool) {
        if self.closed {
            return;
        }
        match (&entry.kind, &mut self.found) {
            (TreeKind::Directory { opaque }, found) => {
                self.closed = *opaque;
                match found {
                    Some(upper) => upper.within.push(layer),
                    None => {
                        *found = Some(Located {
                            entry,
                            layer,
                            within: vec![layer],
                        });
                    }
                }
            }
            (kind, found) => {
                self.closed = true;
                if found.is_none() && (bare || *kind != TreeKind::Whiteout) {
                    *found = Some(Located {
                        entry,
                        layer,
                        within: Vec::new(),
                    });
                }
            }
        }
    }
}

impl Stack {
    /// What there is. In layers that stand for themselves, a directory that hides what is below is opaque, whichever of them
    /// hides it.
    fn finish(mut self, bare: bool) -> Option<Located> {
        if let Some(located) = self.found.as_mut().filter(|_| bare)
            && let TreeKind::Directory { opaque } = &mut located.entry.kind
        {
            *opaque = self.closed;
        }
        self.found
    }
}

impl<'a> View<'a> {
    pub(super) fn new(files: &'a ImageFiles, layers: Vec<usize>, bare: bool) -> Self {
        Self {
            files,
            layers,
            bare,
            keep: false,
        }
    }

    /// The same, for somebody who will read everything in what is [located](Self::locate).
    #[must_use]
    pub fn for_contents(mut self) -> Self {
        self.keep = true;
        self
    }

    /// What is at `path`, whose components are not followed if they are links.
    pub(super) fn find(&self, path: &[u8]) -> Result<Option<Located>, ImageError> {
        let mut within = self.layers.clone();
        let mut found = self.stacked(&within, b"")?;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends: Vec<usize> = ends.map(|(at, _)| at).chain([path.len()]).collect();
        for end in ends {
            if end == 0 {
                continue;
            }
            found = self.stacked(&within, &path[..end])?;
            match &mut found {
                Some(located) => within.clone_from(&located.within),
                None => return Ok(None),
            }
        }
        Ok(found)
    }

    fn stacked(&self, layers: &[usize], path: &[u8]) -> Result<Option<Located>, ImageError> {
        let mut stack = Stack::default();
        for layer in layers {
            if let Some(entry) = self.files.with_tree(*layer, |tree| tree.find(path))? {
                stack.add(entry, *layer, self.bare);
            }
            if stack.closed {
                break;
            }
        }
        Ok(stack.finish(self.bare))
    }

    /// What a user calls `path`: absolute or relative to the root, with `.` and `..`, through links, which never lead out of the
    /// image. A link at its end is followed if `follow` says so, or the path ends in a slash.
    pub fn locate(&self, path: &[u8], follow: bool) -> Result<Located, ImageError> {
        let follow = follow || path.ends_with(b"/") || path.ends_with(b"/.");
        let missing = || self.files.no_such_file(path.strip_prefix(b"/").unwrap_or(path));
        let mut ahead: Vec<Vec<u8>> = components(path);
        let mut at: Vec<u8> = Vec::new();
        if ahead.is_empty() {
            self.files.prepare(&self.layers, b"", self.keep)?;
        }
        let mut here = self.find(b"")?.ok_or_else(missing)?;
        let mut links = 0;
        // Whether it was not yet seen to it that what lies ahead can be known.
        let mut unknown = true;
        while let Some(name) = ahead.pop() {
            if name == b".." {
                at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                here = self.find(&at)?.ok_or_else(missing)?;
                unknown = true;
                if ahead.is_empty() {
                    self.files.prepare(&self.layers, &at, self.keep)?;
                    here = self.find(&at)?.ok_or_else(missing)?;
                }
                continue;
            }
            if std::mem::take(&mut unknown) {
                let next = ahead.iter().rev().take_while(|name| *name != b"..");
                let way = std::iter::once(&name).chain(next).map(Vec::as_slice);
                let way: Vec<&[u8]> = [at.as_slice()]
                    .into_iter()
                    .filter(|at| !at.is_empty())
                    .chain(way)
                    .collect();
                self.files.prepare(&self.layers, &way.join(&b'/'), self.keep)?;
                here = self.find(&at)?.ok_or_else(missing)?;
            }
            if !here.is_dir() {
                return Err(missing());
            }
            let parent = at.len();
            if !at.is_empty() {
                at.push(b'/');
            }
            at.extend_from_slice(&name);
            let found = self.stacked(&here.within, &at)?.ok_or_else(missing)?;
            match &found.entry.kind {
                TreeKind::Symlink { target } if follow || !ahead.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(ImageError::TooManyLinks {
                            path: String::from_utf8_lossy(path).into_owned(),
                        });
                    }
                    at.truncate(if target.starts_with(b"/") { 0 } else { parent });
                    ahead.extend(components(target));
                    here = self.find(&at)?.ok_or_else(missing)?;
                    unknown = true;
                    if ahead.is_empty() {
                        self.files.prepare(&self.layers, &at, self.keep)?;
                        here = self.find(&at)?.ok_or_else(missing)?;
                    }
                }
                _ => here = found,
            }
        }
        Ok(here)
    }

    /// What is in a directory, names sorted by bytes.
    pub fn list(&self, directory: &Located) -> Result<Vec<Located>, ImageError> {
        let mut names: BTreeMap<Vec<u8>, Stack> = BTreeMap::new();
        for layer in &directory.within {
            let path = &directory.entry.path;
            let listed = self.files.with_tree(*layer, |tree| tree.list(path))?;
            for entry in listed.unwrap_or_default() {
                let stack = names.entry(entry.path.clone()).or_default();
                stack.add(entry, *layer, self.bare);
            }
        }
        Ok(names
            .into_values()
            .filter_map(|stack| stack.finish(self.bare))
            .collect())
    }

    /// Calls `each` for all that is beneath a directory, a directory before what is in it, names sorted by bytes. An error of
    /// `each` ends the walk.
    pub fn walk<E: From<ImageError>>(
        &self,
        directory: &Located,
        each: &mut dyn FnMut(&Located) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut levels = vec![self.list(directory)?.into_iter()];
        while let Some(level) = levels.last_mut() {
            let Some(located) = level.next() else {
                levels.pop();
                continue;
            };
            each(&located)?;
            if located.is_dir() {
                levels.push(self.list(&located)?.into_iter());
            }
        }
        Ok(())
    }

    /// The contents of a regular file.
    pub fn open(&self, file: &Located) -> Result<FileContents, ImageError> {
        let opened = match file.entry.kind {
            TreeKind::File { .. } => self.files.open_file(file.layer, &file.entry.path)?,
            _ => None,
        };
        opened.ok_or_else(|| ImageError::NotARegularFile {
            path: format!("/{}", String::from_utf8_lossy(&file.entry.path)),
            what: match file.entry.kind {
                TreeKind::Directory { .. } => "a directory",
                TreeKind::Symlink { .. } => "a link",
                TreeKind::Whiteout => "removed by this layer",
                _ => "no regular file",
            },
        })
    }
}

/// The last component first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').rev();
    let parts = parts.filter(|part| !part.is_empty() && *part != b".");
    parts.map(<[u8]>::to_vec).collect()
}
