//! Where everything lies in the image, and the bytes of it.

use std::io::Write;

use crate::{ErofsError, Tree};

/// A complete tree with the place of every piece of metadata. Equal sequences of entries give equal bytes.
#[derive(Debug)]
pub struct Layout {
    tree: Tree,
    offset: u64,
}

impl Layout {
    /// Lays out `tree` behind data that end at the byte `data_end` of the image (at least
    /// [`DATA_START`](crate::DATA_START)). Data of files that reach further are an error.
    pub fn new(tree: Tree, data_end: u64) -> Result<Self, ErofsError> {
        Ok(Self {
            tree,
            offset: data_end,
        })
    }

    /// Where the metadata belong: `data_end`, rounded up to a block. Bytes between are to be zero.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of metadata: whole blocks.
    pub fn len(&self) -> u64 {
        todo!()
    }

    /// Never: a file system has a root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Bytes of the whole image.
    pub fn size(&self) -> u64 {
        self.offset() + self.len()
    }

    /// Inodes: entries, with files of several names counted once.
    pub fn inodes(&self) -> u64 {
        todo!()
    }

    /// Writes [`len`](Self::len) bytes in pieces of a few KiB to MiB, for the place [`offset`](Self::offset).
    pub fn write_metadata(&self, out: &mut impl Write) -> Result<(), ErofsError> {
        let _ = (out, &self.tree);
        todo!()
    }

    /// The first 4 KiB of the image. Written last and synced after everything else, it is what makes the file a file system.
    pub fn superblock(&self, uuid: [u8; 16]) -> [u8; 4096] {
        let _ = uuid;
        todo!()
    }
}
