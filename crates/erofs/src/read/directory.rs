//! Directory blocks.

use super::inode::{Inode, block_offset};
use super::{Image, Source, Wrong};
use crate::format::{DIRENT, MAX_NAME, u16_at, u64_at};

/// An entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dirent<'b> {
    pub(super) name: &'b [u8],
    pub(super) nid: u64,
    pub(super) file_type: u8,
}

/// A block of a directory whose entries were checked, alone and against each other.
#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    entries: usize,
}

impl Block {
    /// Reads the block at the byte `at` of the directory `inode`, which must lie in its size.
    pub(super) fn read<S: Source + ?Sized>(
        &mut self,
        image: &Image<'_, S>,
        inode: &Inode,
        at: u64,
    ) -> Result<(), Wrong> {
        let len = image.block_size().bytes().min(inode.size - at);
        self.bytes.resize(len as usize, 0);
        image
            .window
            .read(block_offset(image, inode, at)?, &mut self.bytes)?;
        self.check()
    }

    fn check(&mut self) -> Result<(), Wrong> {
        self.entries = 0;
        let bytes = &self.bytes;
        if bytes.len() < DIRENT {
            return Err(Wrong::Is("has a directory block without entries"));
        }
        let names = usize::from(u16_at(bytes, 8));
        if names < DIRENT || !names.is_multiple_of(DIRENT) || names >= bytes.len() {
            return Err(Wrong::Is(
                "has a directory block with an impossible number of entries",
            ));
        }
        let entries = names / DIRENT;
        for at in 0..entries {
            let (start, end) = (self.start(at), self.end(at, entries));
            if start < names || start >= end || end > bytes.len() || end - start > MAX_NAME {
                return Err(Wrong::Is("has a directory entry with an impossible name"));
            }
            let name = &bytes[start..end];
            if name.iter().any(|byte| matches!(byte, 0 | b'/')) {
                return Err(Wrong::Is(
                    "has a directory entry with a slash or zero byte in its name",
                ));
            }
            if at > 0 && bytes[self.start(at - 1)..start] >= *name {
                return Err(Wrong::Is("has directory entries out of order"));
            }
        }
        self.entries = entries;
        Ok(())
    }

    fn start(&self, at: usize) -> usize {
        u16_at(&self.bytes, at * DIRENT + 8).into()
    }

    /// The last name may be followed by zeros.
    fn end(&self, at: usize, entries: usize) -> usize {
        if at + 1 < entries {
            return self.start(at + 1);
        }
        let rest = self.bytes.get(self.start(at)..).unwrap_or_default();
        self.start(at) + rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len())
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// `at` is below [`len`](Self::len).
    pub(super) fn get(&self, at: usize) -> Dirent<'_> {
        Dirent {
            name: &self.bytes[self.start(at)..self.end(at, self.entries)],
            nid: u64_at(&self.bytes, at * DIRENT),
            file_type: self.bytes[at * DIRENT + 10],
        }
    }
}

/// The nid of `name` in a directory, found by halving as the kernel does.
pub(super) fn find<S: Source + ?Sized>(
    image: &Image<'_, S>,
    directory: &Inode,
    name: &[u8],
) -> Result<Option<u64>, Wrong> {
    let bytes = image.block_size().bytes();
    let mut block = Block::default();
    let (mut low, mut high) = (0, directory.size.div_ceil(bytes));
    while low < high {
        let middle = low + (high - low) / 2;
        block.read(image, directory, middle * bytes)?;
        if name < block.get(0).name {
            high = middle;
        } else if name > block.get(block.len() - 1).name {
            low = middle + 1;
        } else {
            let found = (0..block.len())
                .map(|at| block.get(at))
                .find(|entry| entry.name == name);
            return Ok(found.map(|entry| entry.nid));
        }
    }
    Ok(None)
}
