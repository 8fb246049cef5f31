//! Where everything lies in the image, and the bytes of it.
//!
//! The metadata are two areas. First the inodes, in 32-byte slots from the second one (number 0 would be no inode to many
//! programs), each followed by its attributes and, where it pays, by the last piece of its contents. All inodes of a directory
//! lie together, directories before what is in them: reading a directory and asking for every file in it touches one place.
//! Then, in the same order, whole blocks of directories and of long link targets.
//!
//! Nothing but the number of each inode is kept: what an inode needs is worked out again when it is written.

mod directory;
mod write;

use std::io::Write;

use directory::Listing;

use crate::error::shown;
use crate::format::{INODE, S_IFDIR, S_IFLNK, S_IFREG, SLOT, Superblock};
use crate::tree::record::{CHUNKED, LINK, PLACED, Record, SHARED};
use crate::tree::{ROOT, Tree};
use crate::{BlockSize, DATA_START, ErofsError};

/// A complete tree with the place of every piece of metadata. Equal trees give equal bytes.
#[derive(Debug)]
pub struct Layout {
    tree: Tree,
    /// Names of each directory together, sorted.
    children: Vec<u32>,
    /// First block of what is appended to the data.
    appended: u32,
    /// First block of the metadata.
    meta_block: u32,
    inode_blocks: u64,
    content_blocks: u64,
    inodes: u64,
    file_bytes: u64,
    chunked: bool,
}

/// What is behind an inode.
#[derive(Debug, Clone, Copy, Default)]
struct Shape {
    xattrs: u64,
    /// Bytes of a chunk map.
    map: u64,
    /// Bytes of the contents.
    size: u64,
    /// Of these, the ones behind the inode.
    inline: u64,
    /// Blocks for the others.
    blocks: u64,
}

/// The place of the next inode and of the next block of contents.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    /// Bytes from the beginning of the metadata.
    inode: u64,
    /// Blocks from the beginning of the second area.
    block: u64,
}

impl Position {
    fn first() -> Self {
        Self {
            inode: SLOT,
            block: 0,
        }
    }
}

impl Layout {
    /// Lays out `tree` behind data that end at the byte `data_end` of the image (at least [`DATA_START`]), and what is
    /// [appended](crate::Node::APPENDED) to them. Data of files that reach further are an error.
    pub fn new(mut tree: Tree, data_end: u64) -> Result<Self, ErofsError> {
        let block = tree.options.block;
        let far = ErofsError::TooLarge {
            what: "block numbers have 32 bits: 2 TiB with blocks of 512 bytes, 16 TiB with 4096",
        };
        let Ok(appended) = u32::try_from(data_end.max(DATA_START).div_ceil(block.bytes())) else {
            return Err(far);
        };
        let Some(meta_block) = appended.checked_add(tree.appended) else {
            return Err(far);
        };
        tree.forget_index();
        let data_end = if tree.appended == 0 {
            data_end
        } else {
            tree.place_appended(appended);
            u64::from(meta_block) << block.bits()
        };
        check_data(&tree, data_end)?;
        let children = directory::gather(&mut tree);
        let mut layout = Self {
            tree,
            children,
            appended,
            meta_block,
            inode_blocks: 0,
            content_blocks: 0,
            inodes: 0,
            file_bytes: 0,
            chunked: false,
        };
        layout.place()?;
        let blocks = u64::from(meta_block) + layout.inode_blocks + layout.content_blocks;
        if blocks >= u64::from(u32::MAX) {
            return Err(far);
        }
        Ok(layout)
    }

    /// Where the [appended](crate::Node::APPENDED) data belong: `data_end`, rounded up to a block. Bytes between are to be zero.
    pub fn appended(&self) -> u64 {
        u64::from(self.appended) << self.block().bits()
    }

    /// Where the metadata belong: behind all data, on the bound of a block. Bytes between are to be zero.
    pub fn offset(&self) -> u64 {
        u64::from(self.meta_block) << self.block().bits()
    }

    /// Bytes of metadata: whole blocks.
    #[allow(clippy::len_without_is_empty, reason = "a file system has a root")]
    pub fn len(&self) -> u64 {
        (self.inode_blocks + self.content_blocks) << self.block().bits()
    }

    /// Bytes of the whole image.
    pub fn size(&self) -> u64 {
        self.offset() + self.len()
    }

    /// Inodes: entries and the directories made for them, files of several names counted once.
    pub fn inodes(&self) -> u64 {
        self.inodes
    }

    /// Sum of the sizes of all regular files, those of several names counted once.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        self.tree.memory() + (self.children.capacity() * size_of::<u32>()) as u64
    }

    /// Writes [`len`](Self::len) bytes in pieces of about 64 KiB, for the place [`offset`](Self::offset).
    pub fn write_metadata(&self, out: &mut impl Write) -> Result<(), ErofsError> {
        write::metadata(self, out)
    }

    /// The first 4 KiB of the image. Written last and synced after everything else, it is what makes the file a file system.
    pub fn superblock(&self, uuid: [u8; 16]) -> [u8; 4096] {
        Superblock {
            block: self.block(),
            root_nid: 1,
            inodes: self.inodes,
            // Checked when it was laid out.
            blocks: (u64::from(self.meta_block) + self.inode_blocks + self.content_blocks) as u32,
            meta_block: self.meta_block,
            xattr_block: 0,
            chunked: self.chunked,
            build_time: (0, 0),
            uuid,
        }
        .encode()
    }

    fn block(&self) -> BlockSize {
        self.tree.options.block
    }

    fn record(&self, number: u32) -> &Record {
        &self.tree.records[number]
    }

    fn name(&self, number: u32) -> &[u8] {
        self.tree.texts.get(self.record(number).name)
    }

    /// The names in a directory, sorted.
    fn children(&self, directory: u32) -> &[u32] {
        let record = self.record(directory);
        &self.children[record.data as usize..][..record.size as usize]
    }

    /// Gives every inode its number and counts names.
    fn place(&mut self) -> Result<(), ErofsError> {
        let mut at = Position::first();
        self.place_one(ROOT, &mut at)?;
        let mut directories = Directories::new();
        while let Some((directory, _)) = directories.next(self) {
            for child in 0..self.record(directory).size {
                let name = self.children(directory)[child as usize];
                let inode = self.tree.inode(name);
                let record = self.record(inode);
                if record.has(SHARED) {
                    let extra = record.time;
                    self.tree.extras[extra].links += 1;
                    if self.record(inode).has(PLACED) {
                        continue;
                    }
                }
                self.place_one(inode, &mut at)?;
            }
        }
        self.inode_blocks = at.inode.div_ceil(self.block().bytes());
        self.content_blocks = at.block;
        Ok(())
    }

    fn place_one(&mut self, inode: u32, at: &mut Position) -> Result<(), ErofsError> {
        let (start, shape) = self.next(inode, at);
        let nid = u32::try_from(start / SLOT).map_err(|_| ErofsError::TooLarge {
            what: "more than 128 GiB of metadata",
        })?;
        let record = &mut self.tree.records[inode];
        record.parent = nid;
        record.flags |= PLACED;
        self.inodes += 1;
        if record.kind() == S_IFREG {
            self.chunked |= record.has(CHUNKED);
            self.file_bytes = self.file_bytes.saturating_add(shape.size);
        }
        Ok(())
    }

    /// Where the inode goes whose turn it is, and what is behind it. Moves on behind all that.
    fn next(&self, inode: u32, at: &mut Position) -> (u64, Shape) {
        let block = self.block().bytes();
        let mut shape = self.shape(inode);
        let left = block - at.inode % block;
        let mut start = at.inode;
        let whole = INODE + shape.xattrs + shape.inline;
        if shape.inline > 0 {
            // All of it in one block: a tail must not cross, and old kernels want a link's inode with it.
            let fits = whole <= left;
            let worth = fits || left < block - shape.inline;
            if whole > block || (!worth && self.record(inode).kind() == S_IFDIR) {
                shape.inline = 0;
                shape.blocks += 1;
            } else if !fits {
                start += left;
            }
        }
        if shape.inline == 0 && left < INODE {
            start += left;
        }
        let end = start + INODE + shape.xattrs + shape.map + shape.inline;
        at.inode = end.next_multiple_of(SLOT);
        at.block += shape.blocks;
        (start, shape)
    }

    /// What is behind an inode if its last piece of contents fits there.
    fn shape(&self, inode: u32) -> Shape {
        let record = self.record(inode);
        let extra = self.tree.extra(inode).unwrap_or_default();
        let mut shape = Shape {
            xattrs: self.tree.sets.bytes_of(extra.xattrs).len() as u64,
            ..Shape::default()
        };
        let block = self.block().bytes();
        match record.kind() {
            S_IFDIR => {
                shape.size = Listing::new(self, inode).size();
                shape.inline = shape.size % block;
                shape.blocks = shape.size / block;
            }
            S_IFLNK => {
                shape.size = record.size.into();
                shape.inline = shape.size;
                if INODE + shape.xattrs + shape.size > block {
                    shape.inline = 0;
                    shape.blocks = shape.size.div_ceil(block);
                }
            }
            S_IFREG => {
                shape.size = u64::from(extra.size) << 32 | u64::from(record.size);
                if record.has(CHUNKED) {
                    shape.map = 4 * self.tree.maps[record.data as usize].blocks.len() as u64;
                }
            }
            _ => {}
        }
        shape
    }
}

/// All directories, each before those in it, with the one they are in.
struct Directories {
    started: bool,
    /// Directories on the way, and how many of their children were seen.
    way: Vec<(u32, u32)>,
}

impl Directories {
    fn new() -> Self {
        Self {
            started: false,
            way: Vec::new(),
        }
    }

    /// The next directory, and the one it is in (the root is in itself).
    fn next(&mut self, layout: &Layout) -> Option<(u32, u32)> {
        if !self.started {
            self.started = true;
            self.way.push((ROOT, 0));
            return Some((ROOT, ROOT));
        }
        while let Some((directory, seen)) = self.way.last_mut() {
            let parent = *directory;
            let rest = &layout.children(parent)[*seen as usize..];
            match rest.iter().position(|child| layout.record(*child).is_dir()) {
                Some(at) => {
                    let found = rest[at];
                    *seen += at as u32 + 1;
                    self.way.push((found, 0));
                    return Some((found, parent));
                }
                None => {
                    self.way.pop();
                }
            }
        }
        None
    }
}

/// Files must lie within the data.
fn check_data(tree: &Tree, data_end: u64) -> Result<(), ErofsError> {
    let block = tree.options.block;
    for number in 0..tree.records.len() as u32 {
        let record = &tree.records[number];
        if record.kind() != S_IFREG || record.has(LINK) {
            continue;
        }
        let high = tree.extra(number).map_or(0, |extra| extra.size);
        let size = u64::from(high) << 32 | u64::from(record.size);
        let within = |first: u32, len: u64| {
            let end = (u64::from(first) << block.bits()).checked_add(len);
            end.is_some_and(|end| end <= data_end)
        };
        let fine = if record.has(CHUNKED) {
            let map = &tree.maps[record.data as usize];
            let chunk = block.bytes() << map.bits;
            map.blocks.iter().zip(0..).all(|(first, piece): (_, u64)| {
                let len = (size - piece * chunk).min(chunk);
                *first == crate::format::NO_BLOCK || within(*first, len)
            })
        } else {
            size == 0 || within(record.data, size)
        };
        if !fine {
            return Err(ErofsError::Data {
                path: shown(&tree.real_path(number)),
                what: "reach beyond the data",
            });
        }
    }
    Ok(())
}
