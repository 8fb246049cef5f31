//! What the file system will hold.

use crate::{BlockSize, ErofsError};

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
    /// of the block size, or [`HOLE`](Self::HOLE). The last piece may be shorter, every other has its full length in the image.
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
    /// Bytes a tree may take in memory, the working space of [`Layout`](crate::Layout) included. See [`Tree`] for what
    /// entries cost.
    pub memory: u64,
}

impl Default for Options {
    /// 512-byte blocks, 512 MiB.
    fn default() -> Self {
        Self {
            block: BlockSize::default(),
            memory: 512 << 20,
        }
    }
}

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
/// - [`whiteout`](Self::whiteout) and [`opaque`](Self::opaque) hide what lower layers have, never what this tree has.
/// - Attributes no file system keeps (namespaces other than `user`, `trusted`, `security` and ACLs; `user` on links and
///   devices) are left out with a warning. An ACL changes the mode as setting it would.
///
/// Paths are relative, `/` between components, none of them empty, `.` or `..`; the empty path is the root.
///
/// # Memory
///
/// 28 bytes per entry, its name and one byte, 4 to 10 for the index; 32 more for entries with attributes, fractions of a
/// second, times before 1970 or after 2106, owners over 65 535 or 4 GiB of contents. Equal sets of attributes are kept once.
#[derive(Debug)]
pub struct Tree {
    options: Options,
}

impl Tree {
    /// An empty tree: a root directory with mode `0755`, owner 0:0 and time 0.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Adds or replaces `path`. `xattrs` are full names (`user.x`) and values.
    pub fn add(
        &mut self,
        path: &[u8],
        node: Node<'_>,
        metadata: &Metadata,
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), ErofsError> {
        let _ = (path, node, metadata, xattrs, self.options);
        todo!()
    }

    /// Makes `path` another name of what `target` (a path like any other) is now.
    pub fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), ErofsError> {
        let _ = (path, target);
        todo!()
    }

    /// Hides what lower layers have at `path`. Something of this tree that is there already stays; a directory becomes opaque.
    pub fn whiteout(&mut self, path: &[u8]) -> Result<(), ErofsError> {
        let _ = path;
        todo!()
    }

    /// Hides everything lower layers have in the directory `path`, which is made if it is missing.
    pub fn opaque(&mut self, path: &[u8]) -> Result<(), ErofsError> {
        let _ = path;
        todo!()
    }

    /// Sum of the sizes of all regular files, those with several names counted once.
    pub fn file_bytes(&self) -> u64 {
        todo!()
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        todo!()
    }
}
