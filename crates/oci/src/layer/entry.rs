//! One thing in a layer.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Stored;

/// A validated entry. Texts are bytes, as Linux has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the layer's root, `/` between components, none of them empty, `.` or `..`; empty for the root itself.
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Where a symbolic link points (any text), or the [`path`](Self::path) a hard link shares; empty for other kinds.
    pub target: Vec<u8>,
    /// Permission, set-id and sticky bits: at most `0o7777`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970; may be negative.
    pub mtime: i64,
    /// 0 to 999 999 999, added to [`mtime`](Self::mtime).
    pub mtime_nanos: u32,
    /// Bytes of a file, holes included; 0 for everything else.
    pub size: u64,
    /// Which pieces of a sparse file the archive stores, in order and apart from each other. [`None`]: all of it.
    pub stored: Option<Vec<Stored>>,
    /// Names and values of extended attributes. Overlay's own (`trusted.overlay.*`, `user.overlay.*`) are never here: they
    /// would let a layer speak to the file system.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub class: Class,
}

/// What kind of file an entry is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    #[default]
    File,
    Dir,
    Symlink,
    Hardlink,
    Char {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
    Fifo,
}

/// What an entry means in a layer (OCI image specification, layer.md, "Whiteouts").
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Class {
    /// Adds or replaces [`Entry::path`].
    #[default]
    Normal,
    /// Removes the named path, which lower layers have.
    Whiteout { path: Vec<u8> },
    /// Hides everything lower layers have in the named directory (empty: the root).
    Opaque { dir: Vec<u8> },
    /// Book-keeping of aufs (`.wh..wh.plnk` and the like): to be left out.
    Metadata,
}

impl Entry {
    /// Bytes of its contents that the archive stores.
    pub fn stored_size(&self) -> u64 {
        match &self.stored {
            None => self.size,
            Some(pieces) => pieces.iter().map(|piece| piece.len).sum(),
        }
    }

    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    pub fn target(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.target))
    }
}
