//! A reader for images nobody vouches for: every number is checked, nothing is entered twice, memory is bounded.
//!
//! It understands what this crate writes and what `mkfs.erofs` makes without compression: both forms of inodes, flat, inline
//! and chunked contents on one device, inline and shared attributes.
//!
//! ```
//! use havre_erofs::read::{Image, Limits, ReadError};
//! # fn main() -> Result<(), ReadError> {
//! # let tree = havre_erofs::Tree::new(havre_erofs::Options::default());
//! # let layout = havre_erofs::Layout::new(tree, 4096).unwrap();
//! # let mut bytes = layout.superblock([0; 16]).to_vec();
//! # layout.write_metadata(&mut bytes).unwrap();
//! let image = Image::open(bytes.as_slice(), bytes.len() as u64, Limits::default())?;
//! image.walk(|entry| {
//!     println!("{} {:?}", String::from_utf8_lossy(&entry.path), entry.content);
//!     Ok::<(), ReadError>(())
//! })?;
//! # Ok(())
//! # }
//! ```

mod directory;
mod inode;
mod walk;
mod window;

use std::io;

use window::Window;

use crate::format::{
    COMPAT_CHECKSUM, INCOMPAT_CHUNKED, MAGIC, MAX_NAME, SUPERBLOCK, Superblock, checksum, u16_at, u32_at,
    u64_at,
};
use crate::{BlockSize, DeviceKind, Metadata};

/// Where an image is read from.
pub trait Source {
    /// Fills `buffer` with the bytes at `offset`. An end before that is [`io::ErrorKind::UnexpectedEof`].
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Source for std::fs::File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }
}

impl Source for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let piece = start.and_then(|start| self.get(start..start.checked_add(buffer.len())?));
        buffer.copy_from_slice(piece.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// How much an image may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Names in all directories.
    pub entries: u64,
    /// Pieces of one file, neighbours taken together.
    pub extents: usize,
}

impl Default for Limits {
    /// 4 million entries, 1 million pieces.
    fn default() -> Self {
        Self {
            entries: 4_000_000,
            extents: 1_000_000,
        }
    }
}

/// Why an image is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read the image")]
    Read(#[source] io::Error),
    #[error("not an EROFS image")]
    NotErofs,
    #[error("the image uses {what}, which is not read here")]
    Unsupported { what: &'static str },
    #[error("superblock: {what}")]
    Superblock { what: &'static str },
    #[error("{path:?} (inode {nid}): {what}")]
    Inode {
        nid: u64,
        path: String,
        what: &'static str,
    },
    #[error("image has more than {limit} entries")]
    TooManyEntries { limit: u64 },
}

/// One name of the file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// As in [`Tree::add`](crate::Tree::add).
    pub path: Vec<u8>,
    pub metadata: Metadata,
    pub content: Content,
    /// Full names and values, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The inode: names with the same number share it.
    pub nid: u64,
    pub links: u32,
}

impl Entry {
    /// Whether it stands for something deleted from lower layers.
    pub fn is_whiteout(&self) -> bool {
        let whiteout = Content::Device {
            kind: DeviceKind::Char,
            major: 0,
            minor: 0,
        };
        self.content == whiteout
    }

    /// Whether it is a directory that hides what lower layers have in it.
    pub fn is_opaque(&self) -> bool {
        let mark = (b"trusted.overlay.opaque".as_slice(), b"y".as_slice());
        let marked = |(name, value): &(Vec<u8>, Vec<u8>)| (name.as_slice(), value.as_slice()) == mark;
        self.content == Content::Directory && self.xattrs.iter().any(marked)
    }
}

/// What an entry is, and where its contents lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Content {
    #[default]
    Directory,
    File {
        size: u64,
        /// In order and without gaps, neighbours taken together; all within the image.
        extents: Vec<Extent>,
    },
    Symlink(Vec<u8>),
    Device {
        kind: DeviceKind,
        major: u32,
        minor: u32,
    },
    Fifo,
    Socket,
}

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Byte offset in the image; `None` is a hole.
    pub offset: Option<u64>,
    /// In bytes, at least 1.
    pub len: u64,
}

/// An image whose superblock was checked.
#[derive(Debug)]
pub struct Image<'s, S: ?Sized> {
    window: Window<'s, S>,
    limits: Limits,
    superblock: Superblock,
}

impl<'s, S: Source + ?Sized> Image<'s, S> {
    /// Reads and checks the superblock of an image of `size` bytes.
    pub fn open(source: &'s S, size: u64, limits: Limits) -> Result<Self, ReadError> {
        if size < 4096 {
            return Err(ReadError::NotErofs);
        }
        let mut start = [0; 4096];
        source.read_exact_at(&mut start, 0).map_err(ReadError::Read)?;
        let superblock = decode(&start)?;
        let end = u64::from(superblock.blocks) << superblock.block.bits();
        if end > size {
            return Err(ReadError::Superblock {
                what: "the image is longer than what holds it",
            });
        }
        Ok(Self {
            window: Window::new(source, end),
            limits,
            superblock,
        })
    }

    pub fn block_size(&self) -> BlockSize {
        self.superblock.block
    }

    pub fn uuid(&self) -> [u8; 16] {
        self.superblock.uuid
    }

    /// Bytes of the image.
    pub fn size(&self) -> u64 {
        u64::from(self.superblock.blocks) << self.superblock.block.bits()
    }

    /// Byte offset of the metadata: what is before it and behind the superblock is data.
    pub fn metadata_offset(&self) -> u64 {
        u64::from(self.superblock.meta_block) << self.superblock.block.bits()
    }

    /// Inodes the superblock announces.
    pub fn inodes(&self) -> u64 {
        self.superblock.inodes
    }

    /// Reads all entries: the root (the empty path) first, a directory right before what is in it, names in the order of their
    /// bytes. Takes memory for the directories on the way only, and 16 bytes for each directory of the image.
    pub fn walk<E: From<ReadError>>(&self, each: impl FnMut(&Entry) -> Result<(), E>) -> Result<(), E> {
        walk::walk(self, each)
    }

    /// Reads the entries of the directory at `path`, names in the order of their bytes; links are not followed. Says whether
    /// there is such a directory.
    pub fn list<E: From<ReadError>>(
        &self,
        path: &[u8],
        each: impl FnMut(&Entry) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some((nid, parent)) = self.locate(path)? else {
            return Ok(false);
        };
        walk::list(self, nid, parent, path, each)
    }

    /// Finds one entry by its path. Links are not followed.
    pub fn find(&self, path: &[u8]) -> Result<Option<Entry>, ReadError> {
        let Some((nid, _)) = self.locate(path)? else {
            return Ok(None);
        };
        let inode = inode::read(self, nid).map_err(|what| what.at(nid, path))?;
        let mut entry = Entry {
            path: path.to_vec(),
            ..Entry::default()
        };
        inode::fill(self, &inode, &mut entry).map_err(|what| what.at(nid, path))?;
        Ok(Some(entry))
    }

    /// The nids of what is at `path` and of the directory it is in.
    fn locate(&self, path: &[u8]) -> Result<Option<(u64, u64)>, ReadError> {
        let root = u64::from(self.superblock.root_nid);
        let (mut nid, mut parent) = (root, root);
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            if matches!(name, b"." | b"..") || name.len() > MAX_NAME {
                return Ok(None);
            }
            let inode = inode::read(self, nid).map_err(|what| what.at(nid, path))?;
            if !inode.is_dir() {
                return Ok(None);
            }
            match directory::find(self, &inode, name).map_err(|what| what.at(nid, path))? {
                Some(found) => (nid, parent) = (found, nid),
                None => return Ok(None),
            }
        }
        Ok(Some((nid, parent)))
    }
}

/// What is wrong with an inode, before it is known how it was come by.
#[derive(Debug)]
enum Wrong {
    Read(io::Error),
    Is(&'static str),
    Unsupported(&'static str),
}

impl Wrong {
    fn at(self, nid: u64, path: &[u8]) -> ReadError {
        match self {
            Self::Read(error) => ReadError::Read(error),
            Self::Unsupported(what) => ReadError::Unsupported { what },
            Self::Is(what) => ReadError::Inode {
                nid,
                path: crate::error::shown(path),
                what,
            },
        }
    }
}

fn decode(start: &[u8; 4096]) -> Result<Superblock, ReadError> {
    let wrong = |what| Err(ReadError::Superblock { what });
    let unsupported = |what| Err(ReadError::Unsupported { what });
    let bytes = &start[SUPERBLOCK as usize..];
    if u32_at(bytes, 0) != MAGIC {
        return Err(ReadError::NotErofs);
    }
    let block = match bytes[12] {
        9 => BlockSize::B512,
        12 => BlockSize::B4096,
        _ => return unsupported("blocks of neither 512 nor 4096 bytes"),
    };
    if u32_at(bytes, 8) & COMPAT_CHECKSUM == 0 {
        return unsupported("no checksum");
    }
    if u32_at(bytes, 4) != checksum(start, block) {
        return wrong("wrong checksum");
    }
    // 1: compressed data begin with padding, which says nothing without compression. mkfs.erofs sets it.
    let incompatible = u32_at(bytes, 80) & !1;
    if incompatible & !INCOMPAT_CHUNKED != 0 {
        return unsupported("compression, several devices or another feature");
    }
    if u16_at(bytes, 86) != 0 || bytes[90] != 0 {
        return unsupported("several devices or directory blocks of their own size");
    }
    Ok(Superblock {
        block,
        root_nid: u16_at(bytes, 14),
        inodes: u64_at(bytes, 16),
        blocks: u32_at(bytes, 36),
        meta_block: u32_at(bytes, 40),
        xattr_block: u32_at(bytes, 44),
        chunked: incompatible & INCOMPAT_CHUNKED != 0,
        build_time: (u64_at(bytes, 24).cast_signed(), u32_at(bytes, 32)),
        uuid: std::array::from_fn(|at| bytes[48 + at]),
    })
}
