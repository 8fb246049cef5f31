//! What goes into a tree.

use crate::BlockSize;
use crate::format::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK};

/// Owner, permissions and time of an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// Permission, set-id and sticky bits: at most `0o7777`, other bits are ignored. Symbolic links always have `0o777`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970; may be negative.
    pub mtime: i64,
    /// 0 to 999 999 999, added to `mtime`.
    pub mtime_nanos: u32,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node<'a> {
    Directory,
    /// A file whose contents lie in one piece at the byte `offset` of the image, a multiple of the block size (ignored when
    /// `size` is 0).
    File {
        offset: u64,
        size: u64,
    },
    /// A file in pieces of `chunk` bytes (a power of two, at least a block), each at the byte offset `map` gives, a multiple
    /// of the block size, or [`HOLE`](Self::HOLE), or among the data that are [`APPENDED`](Self::APPENDED). The last piece may
    /// be shorter, every other has its full length in the image. The map takes 4 bytes per piece, in memory as in the image.
    Sparse {
        size: u64,
        chunk: u64,
        map: &'a [u64],
    },
    /// A symbolic link to this text of 1 to 4095 bytes.
    Symlink(&'a [u8]),
    /// A character device 0:0 is an overlay's whiteout.
    Device {
        kind: DeviceKind,
        /// Below 2^12.
        major: u32,
        /// Below 2^20.
        minor: u32,
    },
    Fifo,
    Socket,
}

impl Node<'_> {
    /// In a sparse file's map: a piece of zeros that is nowhere.
    pub const HOLE: u64 = u64::MAX;

    /// In a sparse file's map, added to a byte offset: counted from where the data end, the place of which is not known yet
    /// ([`Layout::appended`](crate::Layout::appended)).
    pub const APPENDED: u64 = 1 << 63;

    /// The type of file in a mode.
    pub(crate) fn kind(&self) -> u16 {
        match self {
            Self::Directory => S_IFDIR,
            Self::File { .. } | Self::Sparse { .. } => S_IFREG,
            Self::Symlink(_) => S_IFLNK,
            Self::Device {
                kind: DeviceKind::Char,
                ..
            } => S_IFCHR,
            Self::Device {
                kind: DeviceKind::Block,
                ..
            } => S_IFBLK,
            Self::Fifo => S_IFIFO,
            Self::Socket => S_IFSOCK,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    Char,
    Block,
}

/// How a tree is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub block: BlockSize,
    /// Bytes a tree may take in memory, the working space of [`Layout`](crate::Layout) included. See [`Tree`](crate::Tree) for what
    /// entries cost.
    pub memory: u64,
}

impl Default for Options {
    /// 512-byte blocks, 256 MiB: four million entries with names of some 25 bytes.
    fn default() -> Self {
        Self {
            block: BlockSize::default(),
            memory: 256 << 20,
        }
    }
}
