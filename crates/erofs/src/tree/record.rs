//! How an entry is kept.

use crate::format::{S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT};

/// A name and, unless it is a hard link, its inode.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Record {
    /// The directory it is in. In a layout: the inode's nid.
    pub(crate) parent: u32,
    /// Place of the name.
    pub(crate) name: u32,
    /// File: first block. Chunked: number of the map. Symbolic link: place of the target. Device: its number. Hard link: the
    /// record it shares. Directory: nothing, in a layout the first of its children.
    pub(crate) data: u32,
    /// File: low bits of the size. Directory: nothing, in a layout the number of its children.
    pub(crate) size: u32,
    /// Seconds of the time, or the number of its [`Extra`].
    pub(crate) time: u32,
    pub(crate) uid: u16,
    pub(crate) gid: u16,
    pub(crate) mode: u16,
    pub(crate) flags: u16,
}

const _: () = assert!(size_of::<Record>() == 28);

/// What few entries have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extra {
    pub(crate) mtime: i64,
    pub(crate) nanos: u32,
    /// High bits of the size.
    pub(crate) size: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Number of its set of attributes.
    pub(crate) xattrs: u32,
    /// Names, counted when laid out.
    pub(crate) links: u32,
}

const _: () = assert!(size_of::<Extra>() == 32);

/// It has an [`Extra`].
pub(crate) const EXTRA: u16 = 1;
/// A hard link: nothing but name and `data` counts.
pub(crate) const LINK: u16 = 2;
/// There are hard links to it, or were.
pub(crate) const SHARED: u16 = 4;
/// Its name was taken by something else; it lives on through hard links, if at all.
pub(crate) const UNNAMED: u16 = 8;
/// A file in pieces.
pub(crate) const CHUNKED: u16 = 16;
/// It has its place in the layout.
pub(crate) const PLACED: u16 = 32;

impl Record {
    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn kind(&self) -> u16 {
        self.mode & S_IFMT
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind() == S_IFDIR && !self.has(LINK)
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.kind() == S_IFLNK && !self.has(LINK)
    }

    pub(crate) fn is_whiteout(&self) -> bool {
        self.kind() == S_IFCHR && self.data == 0 && !self.has(LINK)
    }
}
