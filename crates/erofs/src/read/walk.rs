//! All entries of an image, once.

use std::collections::HashSet;

use super::directory::Block;
use super::inode::{self, Inode};
use super::{Entry, Image, ReadError, Source, Wrong};
use crate::format::{MAX_PATH, file_type};

/// A directory being read.
struct Level {
    inode: Inode,
    /// Of the directory it is in.
    parent: u64,
    /// Bytes of its path.
    path: usize,
    /// Where its block begins, and how many entries of it were seen.
    at: u64,
    seen: usize,
    block: Block,
    /// The last name, to compare across blocks.
    last: Vec<u8>,
    dots: u8,
}

pub(super) fn walk<S: Source + ?Sized, E: From<ReadError>>(
    image: &Image<'_, S>,
    mut each: impl FnMut(&Entry) -> Result<(), E>,
) -> Result<(), E> {
    let mut walk = Walk::new(image);
    let root = u64::from(image.superblock.root_nid);
    let inode = walk.read(root, 0)?;
    if !inode.is_dir() {
        return Err(ReadError::Superblock {
            what: "the root is no directory",
        }
        .into());
    }
    each(&walk.entry)?;
    walk.enter(inode, root)?;
    while let Some((inode, parent)) = walk.next()? {
        each(&walk.entry)?;
        if inode.is_dir() {
            walk.enter(inode, parent)?;
        }
    }
    Ok(())
}

/// The entries of the directory `nid` at `path`, which is in `parent`; whether it is one.
pub(super) fn list<S: Source + ?Sized, E: From<ReadError>>(
    image: &Image<'_, S>,
    nid: u64,
    parent: u64,
    path: &[u8],
    mut each: impl FnMut(&Entry) -> Result<(), E>,
) -> Result<bool, E> {
    let mut walk = Walk::new(image);
    walk.entry.path.extend_from_slice(path);
    let inode = walk.read(nid, 0)?;
    if !inode.is_dir() {
        return Ok(false);
    }
    walk.enter(inode, parent)?;
    while walk.next()?.is_some() {
        each(&walk.entry)?;
    }
    Ok(true)
}

struct Walk<'i, 's, S: ?Sized> {
    image: &'i Image<'s, S>,
    levels: Vec<Level>,
    entered: HashSet<u64>,
    entry: Entry,
    met: u64,
}

impl<'i, 's, S: Source + ?Sized> Walk<'i, 's, S> {
    fn new(image: &'i Image<'s, S>) -> Self {
        Self {
            image,
            levels: Vec::new(),
            entered: HashSet::new(),
            entry: Entry::default(),
            met: 0,
        }
    }

    fn wrong(&self, nid: u64, what: Wrong) -> ReadError {
        what.at(nid, &self.entry.path)
    }

    /// Reads an inode into the entry, whose path is there.
    fn read(&mut self, nid: u64, expected: u8) -> Result<Inode, ReadError> {
        let inode = inode::read(self.image, nid).map_err(|what| self.wrong(nid, what))?;
        if expected != 0 && file_type(inode.mode) != expected {
            return Err(self.wrong(nid, Wrong::Is("is another type of file than its directory says")));
        }
        let mut entry = std::mem::take(&mut self.entry);
        let filled = inode::fill(self.image, &inode, &mut entry);
        self.entry = entry;
        filled.map_err(|what| self.wrong(nid, what))?;
        Ok(inode)
    }

    fn enter(&mut self, inode: Inode, parent: u64) -> Result<(), ReadError> {
        if !self.entered.insert(inode.nid) {
            return Err(self.wrong(inode.nid, Wrong::Is("is a directory in two places")));
        }
        self.levels.push(Level {
            inode,
            parent,
            path: self.entry.path.len(),
            at: 0,
            seen: 0,
            block: Block::default(),
            last: Vec::new(),
            dots: 0,
        });
        Ok(())
    }

    /// The next entry, and the nid of the directory it is in.
    fn next(&mut self) -> Result<Option<(Inode, u64)>, ReadError> {
        while let Some(mut level) = self.levels.pop() {
            self.entry.path.truncate(level.path);
            let found = level
                .next(self.image)
                .map_err(|what| self.wrong(level.inode.nid, what))?;
            let directory = level.inode.nid;
            let Some((nid, expected)) = found else {
                if level.dots != 2 {
                    return Err(self.wrong(directory, Wrong::Is("is a directory without . and ..")));
                }
                continue;
            };
            self.met += 1;
            let limit = self.image.limits.entries;
            if self.met > limit {
                return Err(ReadError::TooManyEntries { limit });
            }
            if !self.entry.path.is_empty() {
                self.entry.path.push(b'/');
            }
            self.entry.path.extend_from_slice(&level.last);
            self.levels.push(level);
            if self.entry.path.len() > MAX_PATH {
                return Err(self.wrong(nid, Wrong::Is("has a path longer than 4095 bytes")));
            }
            let inode = self.read(nid, expected)?;
            return Ok(Some((inode, directory)));
        }
        Ok(None)
    }
}

impl Level {
    /// The next entry's nid and type; its name is in `last`.
    fn next<S: Source + ?Sized>(&mut self, image: &Image<'_, S>) -> Result<Option<(u64, u8)>, Wrong> {
        loop {
            if self.seen == self.block.len() {
                if self.block.len() > 0 {
                    self.at += image.block_size().bytes();
                }
                if self.at >= self.inode.size {
                    return Ok(None);
                }
                self.block.read(image, &self.inode, self.at)?;
                self.seen = 0;
            }
            let dirent = self.block.get(self.seen);
            self.seen += 1;
            if !self.last.is_empty() && self.last.as_slice() >= dirent.name {
                return Err(Wrong::Is("has directory entries out of order"));
            }
            self.last.clear();
            self.last.extend_from_slice(dirent.name);
            let expected = match dirent.name {
                b"." => self.inode.nid,
                b".." => self.parent,
                _ if dirent.file_type == 0 => return Err(Wrong::Is("has a directory entry without a type")),
                _ => return Ok(Some((dirent.nid, dirent.file_type))),
            };
            if dirent.nid != expected {
                return Err(Wrong::Is("has . or .. that lead elsewhere"));
            }
            self.dots += 1;
        }
    }
}
