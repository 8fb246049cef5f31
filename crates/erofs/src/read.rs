//! A reader for images nobody vouches for: every number is checked, nothing is followed twice, memory is bounded.
//!
//! It understands what this crate writes (and what `mkfs.erofs` makes without compression): flat, inline and chunked
//! contents on one device.

use std::io;

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
}

impl Default for Limits {
    /// 4 million entries.
    fn default() -> Self {
        Self { entries: 4_000_000 }
    }
}

/// Why an image is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read the image")]
    Read(#[source] io::Error),
    #[error("not an EROFS image of a kind that is read here: {what}")]
    Unsupported { what: &'static str },
    #[error("superblock: {what}")]
    Superblock { what: &'static str },
    #[error("inode {nid} ({path:?}): {what}")]
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
    /// Sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The inode: names with the same number share it.
    pub nid: u64,
    pub links: u32,
}

/// What an entry is, and where its contents lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Content {
    #[default]
    Directory,
    File {
        size: u64,
        /// In order and without gaps.
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
    source: &'s S,
    limits: Limits,
    block: BlockSize,
}

impl<'s, S: Source + ?Sized> Image<'s, S> {
    /// Reads and checks the superblock of an image of `size` bytes.
    pub fn open(source: &'s S, size: u64, limits: Limits) -> Result<Self, ReadError> {
        let _ = size;
        Ok(Self {
            source,
            limits,
            block: BlockSize::B512,
        })
    }

    pub fn block_size(&self) -> BlockSize {
        self.block
    }

    pub fn uuid(&self) -> [u8; 16] {
        todo!()
    }

    /// Reads all entries in order: a directory before what is in it, names sorted by bytes, the root (empty path) first.
    pub fn walk<E: From<ReadError>>(&self, each: impl FnMut(&Entry) -> Result<(), E>) -> Result<(), E> {
        let _ = (each, self.source, self.limits);
        todo!()
    }

    /// Finds one entry by its path; links are not followed.
    pub fn find(&self, path: &[u8]) -> Result<Option<Entry>, ReadError> {
        let _ = path;
        todo!()
    }
}
