//! What the file system will hold.

pub(crate) mod arena;
mod index;
mod place;
pub(crate) mod record;

use std::hash::{BuildHasher, Hasher, RandomState};

use arena::{Items, Texts};
use index::Index;
use record::{CHUNKED, EXTRA, Extra, LINK, Record, SHARED, UNNAMED};

use crate::error::shown;
use crate::format::{MAX_PATH, NO_BLOCK, S_IFCHR, S_IFDIR, S_IFLNK, encode_device};
use crate::xattr::{Refused, Set, Sets};
use crate::{DATA_START, ErofsError, Metadata, Node, Options};

/// The entries of a file system, collected in any order.
///
/// # What a sequence of entries means
///
/// The same as unpacking them one after the other into an empty directory:
///
/// - The last entry of a path wins. A directory over a directory keeps its children and attributes not named again;
///   anything else takes the place of what was there, and of everything in it.
/// - Missing parents are made: `0755`, owner 0:0, time 0. Symbolic links among the parents are followed within the tree (and
///   missing directories made where they lead); any other parent that is no directory is an error.
/// - A hard link shares the file its target is *now*; it stays when the target's name is replaced later.
/// - [`whiteout`](Self::whiteout) and [`opaque`](Self::opaque) hide what lower layers have, never what this tree has. A
///   directory in the place of a whiteout is opaque.
/// - Attributes no file system keeps (namespaces other than `user`, `trusted`, `security` and ACLs; `user` on links and
///   devices) are left out with a warning. An ACL changes the mode as setting it would; it is not inherited.
///
/// Paths are relative, `/` between components, none of them empty, `.` or `..`; the empty path is the root.
///
/// # Memory
///
/// 28 bytes per entry, its name and one byte, 4.6 to 9.2 for the index; 32 more for entries with attributes, hard links,
/// fractions of a second, times before 1970 or after 2106, owners over 65 535 or 4 GiB of contents. Equal sets of attributes
/// are kept once. Nothing that grows is held twice while it grows.
/// [`Layout`](crate::Layout) replaces the index by 4 bytes per entry. A million entries with names of 12 bytes: 49 MiB.
#[derive(Debug, Clone)]
pub struct Tree {
    pub(crate) options: Options,
    pub(crate) records: Items<Record>,
    pub(crate) extras: Items<Extra>,
    pub(crate) texts: Texts,
    pub(crate) sets: Sets,
    /// Of files in pieces.
    pub(crate) maps: Vec<Map>,
    map_bytes: u64,
    /// Blocks that follow the data, for pieces of files that are not among these.
    pub(crate) appended: u32,
    index: Index,
    hasher: RandomState,
    cursor: place::Cursor,
}

/// Blocks of a file in pieces.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    /// log2 of blocks per piece.
    pub(crate) bits: u8,
    pub(crate) blocks: Box<[u32]>,
}

/// The root's record.
pub(crate) const ROOT: u32 = 0;

impl Tree {
    /// An empty tree: a root directory with mode `0755`, owner 0:0 and time 0.
    pub fn new(options: Options) -> Self {
        let mut tree = Self {
            options,
            records: Items::new(),
            extras: Items::new(),
            texts: Texts::new(),
            sets: Sets::new(),
            maps: Vec::new(),
            map_bytes: 0,
            appended: 0,
            index: Index::new(),
            hasher: RandomState::new(),
            cursor: place::Cursor::default(),
        };
        let name = tree.texts.push(b"").unwrap_or_default();
        tree.records.push(Record {
            name,
            mode: S_IFDIR | 0o755,
            ..Record::default()
        });
        tree
    }

    /// Adds or replaces `path`. `xattrs` are full names (`user.x`) and values.
    pub fn add(
        &mut self,
        path: &[u8],
        node: Node<'_>,
        metadata: &Metadata,
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), ErofsError> {
        self.check_memory(0)?;
        if path.is_empty() {
            if node != Node::Directory {
                return Err(ErofsError::Path {
                    path: String::new(),
                    what: "the root is a directory",
                });
            }
            return self.dress(path, ROOT, S_IFDIR, 0, metadata, xattrs);
        }
        let kind = node.kind();
        let (data, size) = self.contents(path, &node)?;
        let (parent, name) = self.parent(path)?;
        let existing = self.find(parent, name);
        if let Some(there) = existing
            && kind == S_IFDIR
            && self.records[there].is_dir()
        {
            return self.dress(path, there, kind, 0, metadata, xattrs);
        }
        let hidden = existing.is_some_and(|there| self.records[there].is_whiteout());
        let record = match existing {
            None => self.make(parent, name)?,
            Some(there) => self.vacate(there)?,
        };
        let fields = &mut self.records[record];
        (fields.mode, fields.data, fields.size) = (kind, data, size as u32);
        if matches!(node, Node::Sparse { size: 1.., .. }) {
            fields.flags |= CHUNKED;
        }
        self.dress(path, record, kind, (size >> 32) as u32, metadata, xattrs)?;
        if hidden && kind == S_IFDIR {
            // It was deleted and made anew: what lower layers have in it stays hidden.
            self.set_opaque(path, record)?;
        }
        Ok(())
    }

    /// Makes `path` another name of what `target` (a path like any other) is now.
    pub fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), ErofsError> {
        self.check_memory(0)?;
        let found = self.find_target(path, target)?;
        let (parent, name) = self.parent(path)?;
        let existing = self.find(parent, name);
        if existing.is_some_and(|there| self.inode(there) == found) {
            return Ok(());
        }
        let record = match existing {
            None => self.make(parent, name)?,
            Some(there) => self.vacate(there)?,
        };
        self.extra_mut(found);
        self.records[found].flags |= SHARED;
        let fields = &mut self.records[record];
        (fields.flags, fields.data) = (LINK, found);
        Ok(())
    }

    /// Hides what lower layers have at `path`. Something of this tree that is there already stays; a directory becomes opaque.
    pub fn whiteout(&mut self, path: &[u8]) -> Result<(), ErofsError> {
        self.check_memory(0)?;
        if path.is_empty() {
            return Err(ErofsError::Path {
                path: String::new(),
                what: "the root cannot be hidden",
            });
        }
        let (parent, name) = self.parent(path)?;
        match self.find(parent, name) {
            None => {
                let record = self.make(parent, name)?;
                self.records[record].mode = S_IFCHR;
                Ok(())
            }
            Some(there) if self.records[there].is_dir() => self.set_opaque(path, there),
            Some(_) => Ok(()),
        }
    }

    /// Hides everything lower layers have in the directory `path`, which is made if it is missing.
    pub fn opaque(&mut self, path: &[u8]) -> Result<(), ErofsError> {
        self.check_memory(0)?;
        let directory = self.directory(path)?;
        self.set_opaque(path, directory)
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        self.records.bytes()
            + self.extras.bytes()
            + self.texts.bytes()
            + self.sets.bytes()
            + self.map_bytes
            + self.index.bytes()
    }

    /// Gives the appended blocks their numbers, once it is known that they begin with `first`. There are as many blocks at the
    /// end of all numbers.
    pub(crate) fn place_appended(&mut self, first: u32) {
        let lowest = NO_BLOCK - self.appended;
        for number in self.maps.iter_mut().flat_map(|map| map.blocks.iter_mut()) {
            if (lowest..NO_BLOCK).contains(number) {
                *number = first + (NO_BLOCK - 1 - *number);
            }
        }
    }

    /// Once no more entries come.
    pub(crate) fn forget_index(&mut self) {
        self.index = Index::new();
    }

    fn check_memory(&self, more: u64) -> Result<(), ErofsError> {
        let limit = self.options.memory;
        if self.memory().saturating_add(more) > limit {
            return Err(ErofsError::Memory { limit });
        }
        Ok(())
    }

    /// What `data` and the size of a record for `node` are.
    fn contents(&mut self, path: &[u8], node: &Node<'_>) -> Result<(u32, u64), ErofsError> {
        let wrong = |what| ErofsError::Data {
            path: shown(path),
            what,
        };
        let block = self.options.block;
        let number = |offset: u64| {
            if offset < DATA_START {
                return Err(wrong("begin before the data"));
            }
            if !offset.is_multiple_of(block.bytes()) {
                return Err(wrong("do not begin at a block"));
            }
            u32::try_from(offset >> block.bits())
                .ok()
                .filter(|number| *number != NO_BLOCK)
                .ok_or_else(|| wrong("lie beyond what a block number reaches"))
        };
        match *node {
            Node::File { size: 0, .. } | Node::Sparse { size: 0, .. } => Ok((0, 0)),
            Node::File { offset, size } => Ok((number(offset)?, size)),
            Node::Sparse { size, chunk, map } => {
                let bits = chunk.checked_ilog2().unwrap_or(0);
                if !chunk.is_power_of_two() || !(0..=31).contains(&(bits as i32 - i32::from(block.bits()))) {
                    return Err(wrong("have pieces of a length that cannot be"));
                }
                if size.div_ceil(chunk) != map.len() as u64 {
                    return Err(wrong("do not have as many pieces as their size asks for"));
                }
                self.check_memory(map.len() as u64 * 4)?;
                let mut appended = self.appended;
                let pieces = map.iter().zip((0..).step_by(chunk as usize));
                let blocks: Result<Box<[u32]>, _> = pieces
                    .map(|(offset, at)| match *offset {
                        Node::HOLE => Ok(NO_BLOCK),
                        offset if offset & Node::APPENDED != 0 => {
                            let first = number(DATA_START + (offset ^ Node::APPENDED))?;
                            let first = first - (DATA_START >> block.bits()) as u32;
                            let len = chunk.min(size - at).div_ceil(block.bytes());
                            let end = u64::from(first) + len;
                            // From the other end of all numbers, until it is known where they begin.
                            appended =
                                appended.max(u32::try_from(end).map_err(|_| wrong("have too many pieces"))?);
                            Ok(NO_BLOCK - 1 - first)
                        }
                        offset => number(offset),
                    })
                    .collect();
                let blocks = blocks?;
                self.appended = appended;
                self.map_bytes += (size_of_val(&*blocks) + 2 * size_of::<Map>()) as u64;
                self.maps.push(Map {
                    bits: bits as u8 - block.bits(),
                    blocks,
                });
                Ok((self.maps.len() as u32 - 1, size))
            }
            Node::Symlink(target) => {
                let wrong = |what| ErofsError::LinkTarget {
                    path: shown(path),
                    what,
                };
                if target.is_empty() {
                    return Err(wrong("leads nowhere"));
                }
                if target.len() > MAX_PATH {
                    return Err(wrong("leads to a path longer than 4095 bytes"));
                }
                if target.contains(&0) {
                    return Err(wrong("leads to a path with a zero byte"));
                }
                Ok((self.text(target)?, target.len() as u64))
            }
            Node::Device { major, minor, .. } => {
                if major >> 12 != 0 || minor >> 20 != 0 {
                    return Err(ErofsError::DeviceNumber {
                        path: shown(path),
                        major,
                        minor,
                    });
                }
                Ok((encode_device(major, minor), 0))
            }
            Node::Directory | Node::Fifo | Node::Socket => Ok((0, 0)),
        }
    }

    fn text(&mut self, text: &[u8]) -> Result<u32, ErofsError> {
        self.texts.push(text).ok_or(ErofsError::TooLarge {
            what: "more than 4 GiB of names",
        })
    }

    /// Takes away what has the name of `there`, and returns the record that has it now: mode and flags are to be set.
    fn vacate(&mut self, there: u32) -> Result<u32, ErofsError> {
        self.cursor.forget();
        let old = self.records[there];
        let (parent, name) = (old.parent, old.name);
        let mut cleared = Record {
            parent,
            name,
            ..Record::default()
        };
        if !old.is_dir() && !old.has(SHARED) {
            // Nothing else knows this record.
            if old.has(EXTRA) {
                (cleared.flags, cleared.time) = (EXTRA, old.time);
                self.extras[old.time] = Extra::default();
            }
            self.records[there] = cleared;
            return Ok(there);
        }
        let record = self.push(cleared)?;
        self.records[there].flags |= UNNAMED;
        let hash = hash_name(&self.hasher, parent, self.texts.get(name));
        self.index.replace(hash, there, record);
        Ok(record)
    }

    /// A record for a name that is not there. Its mode is to be set.
    fn make(&mut self, parent: u32, name: &[u8]) -> Result<u32, ErofsError> {
        let hash = self.hash(parent, name);
        let text = self.text(name)?;
        let record = self.push(Record {
            parent,
            name: text,
            ..Record::default()
        })?;
        let (records, texts, hasher) = (&self.records, &self.texts, &self.hasher);
        self.index.insert(hash, record, || {
            let named = (1..record).filter(|number| !records[*number].has(UNNAMED));
            named.map(|number| {
                let record = &records[number];
                (number, hash_name(hasher, record.parent, texts.get(record.name)))
            })
        });
        Ok(record)
    }

    fn push(&mut self, record: Record) -> Result<u32, ErofsError> {
        if self.records.len() > index::MAX_ENTRIES as usize {
            return Err(ErofsError::TooLarge {
                what: "more than 16 million entries",
            });
        }
        Ok(self.records.push(record))
    }

    /// Gives a record owner, permissions, time and attributes. Attributes it has are kept unless named again.
    fn dress(
        &mut self,
        path: &[u8],
        record: u32,
        kind: u16,
        size_high: u32,
        metadata: &Metadata,
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), ErofsError> {
        let permissions = if kind == S_IFLNK {
            0o777
        } else {
            metadata.mode & 0o7777
        };
        let mut mode = kind | permissions as u16;
        let had = self.extra(record).map_or(0, |extra| extra.xattrs);
        let set = if had == 0 && xattrs.is_empty() {
            0
        } else {
            let mut set = self.sets.get(had);
            set.chmod(mode);
            self.set_xattrs(path, &mut set, &mut mode, xattrs)?
        };
        self.records[record].mode = mode;
        let extra = Extra {
            mtime: metadata.mtime,
            nanos: metadata.mtime_nanos.min(999_999_999),
            size: size_high,
            uid: metadata.uid,
            gid: metadata.gid,
            xattrs: set,
            links: 0,
        };
        self.set_extra(record, extra);
        Ok(())
    }

    fn set_xattrs(
        &mut self,
        path: &[u8],
        set: &mut Set,
        mode: &mut u16,
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<u32, ErofsError> {
        let refused = |refused| match refused {
            Refused::One { name, what } => ErofsError::Xattr {
                path: shown(path),
                name: shown(&name),
                what,
            },
            Refused::TooLarge { size } => ErofsError::XattrsTooLarge {
                path: shown(path),
                size,
            },
        };
        for name in set.set(mode, xattrs).map_err(refused)? {
            tracing::warn!(path = %shown(path), attribute = %shown(name), "attribute not kept");
        }
        self.sets.put(set).map_err(refused)
    }

    fn set_opaque(&mut self, path: &[u8], record: u32) -> Result<(), ErofsError> {
        let mut extra = self.extra(record).unwrap_or_default();
        let mut set = self.sets.get(extra.xattrs);
        let mut mode = self.records[record].mode;
        let mark = [(b"trusted.overlay.opaque".to_vec(), b"y".to_vec())];
        extra.xattrs = self.set_xattrs(path, &mut set, &mut mode, &mark)?;
        self.set_extra(record, extra);
        Ok(())
    }

    /// Everything about a record that may need an [`Extra`]; `None` for a hard link.
    pub(crate) fn extra(&self, record: u32) -> Option<Extra> {
        let record = &self.records[record];
        if record.has(LINK) {
            return None;
        }
        if record.has(EXTRA) {
            return Some(self.extras[record.time]);
        }
        Some(Extra {
            mtime: record.time.into(),
            uid: record.uid.into(),
            gid: record.gid.into(),
            ..Extra::default()
        })
    }

    fn set_extra(&mut self, record: u32, extra: Extra) {
        let fields = &mut self.records[record];
        if fields.has(EXTRA) {
            self.extras[fields.time] = extra;
            return;
        }
        let plain = (
            u32::try_from(extra.mtime),
            u16::try_from(extra.uid),
            u16::try_from(extra.gid),
        );
        if let (Ok(time), Ok(uid), Ok(gid)) = plain
            && (extra.nanos, extra.size, extra.xattrs) == (0, 0, 0)
        {
            (fields.time, fields.uid, fields.gid) = (time, uid, gid);
            return;
        }
        fields.flags |= EXTRA;
        fields.time = self.extras.push(extra);
    }

    /// Makes sure that a record has an [`Extra`].
    fn extra_mut(&mut self, record: u32) {
        let Some(extra) = self.extra(record) else { return };
        if !self.records[record].has(EXTRA) {
            self.records[record].flags |= EXTRA;
            self.records[record].time = self.extras.push(extra);
        }
    }

    /// The record with the inode of a name.
    pub(crate) fn inode(&self, record: u32) -> u32 {
        let fields = &self.records[record];
        if fields.has(LINK) { fields.data } else { record }
    }

    fn hash(&self, parent: u32, name: &[u8]) -> u64 {
        hash_name(&self.hasher, parent, name)
    }

    fn find(&self, parent: u32, name: &[u8]) -> Option<u32> {
        self.index.find(self.hash(parent, name), |number| {
            let record = &self.records[number];
            record.parent == parent && self.texts.get(record.name) == name
        })
    }
}

/// Seeded, so that nobody can choose names that all fall together.
fn hash_name(hasher: &RandomState, parent: u32, name: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u32(parent);
    hasher.write(name);
    hasher.finish()
}
