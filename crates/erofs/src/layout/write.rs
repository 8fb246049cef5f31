//! The bytes of the metadata, in the order they were laid out.

use std::io::Write;

use super::directory::{Listed, Listing};
use super::{Directories, Layout, Position, Shape};
use crate::ErofsError;
use crate::format::{
    CHUNKED, DIRENT, INLINE, INODE, PLAIN, S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, XATTR_HEADER,
    file_type,
};
use crate::tree::ROOT;
use crate::tree::record::{CHUNKED as IN_PIECES, SHARED};

/// Bytes gathered before they are given on.
const BUFFER: usize = 64 << 10;

struct Output<'o, W> {
    out: &'o mut W,
    buffer: Vec<u8>,
    /// Bytes given on.
    written: u64,
}

impl<W: Write> Output<'_, W> {
    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ErofsError> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() > BUFFER {
            self.written += bytes.len() as u64;
            return self.out.write_all(bytes).map_err(ErofsError::Write);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn zeros_to(&mut self, position: u64) -> Result<(), ErofsError> {
        while self.position() < position {
            let missing = (position - self.position()).min(4096);
            self.put(&[0; 4096][..missing as usize])?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ErofsError> {
        self.out.write_all(&self.buffer).map_err(ErofsError::Write)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

pub(super) fn metadata(layout: &Layout, out: &mut impl Write) -> Result<(), ErofsError> {
    let mut output = Output {
        out,
        buffer: Vec::with_capacity(BUFFER),
        written: 0,
    };
    let mut scratch = Vec::new();
    each_inode(layout, |inode, parent, start, shape, block| {
        output.zeros_to(start)?;
        put_inode(layout, &mut output, &mut scratch, (inode, parent), shape, block)
    })?;
    let block = layout.block().bytes();
    output.zeros_to(layout.inode_blocks * block)?;
    each_inode(layout, |inode, parent, _, shape, _| {
        if shape.blocks == 0 {
            return Ok(());
        }
        let end = output.position() + shape.blocks * block;
        let whole = shape.blocks * block;
        if layout.record(inode).kind() == S_IFDIR {
            let listing = Listing::new(layout, inode);
            let mut first = 0;
            for _ in 0..shape.blocks {
                first = directory_block(layout, listing, (inode, parent), first, &mut scratch);
                scratch.resize(block as usize, 0);
                output.put(&scratch)?;
            }
        } else {
            let target = layout.tree.texts.get(layout.record(inode).data);
            output.put(&target[..target.len().min(whole as usize)])?;
        }
        output.zeros_to(end)
    })?;
    output.flush()
}

/// Calls `each` for every inode in order with the directory it was met in first, its place, its shape and its first block.
fn each_inode(
    layout: &Layout,
    mut each: impl FnMut(u32, u32, u64, Shape, u64) -> Result<(), ErofsError>,
) -> Result<(), ErofsError> {
    let mut at = Position::first();
    let mut visit = |inode: u32, parent: u32| {
        let first = at.block;
        let (start, shape) = layout.next(inode, &mut at);
        debug_assert_eq!(
            start,
            u64::from(layout.record(inode).parent) * crate::format::SLOT
        );
        let block = u64::from(layout.meta_block) + layout.inode_blocks + first;
        each(inode, parent, start, shape, block)
    };
    visit(ROOT, ROOT)?;
    // Numbers ascend, so one that doesn't was met before.
    let mut last = 0;
    let mut directories = Directories::new();
    while let Some((directory, _)) = directories.next(layout) {
        for child in layout.children(directory) {
            let inode = layout.tree.inode(*child);
            let nid = layout.record(inode).parent;
            if nid > last {
                last = nid;
                visit(inode, directory)?;
            }
        }
    }
    Ok(())
}

fn put_inode(
    layout: &Layout,
    output: &mut Output<'_, impl Write>,
    scratch: &mut Vec<u8>,
    (inode, parent): (u32, u32),
    shape: Shape,
    block: u64,
) -> Result<(), ErofsError> {
    let record = layout.record(inode);
    let extra = layout.tree.extra(inode).unwrap_or_default();
    let pieces = record.kind() == S_IFREG && record.has(IN_PIECES);
    let form = match (pieces, shape.inline) {
        (true, _) => CHUNKED,
        (false, 0) => PLAIN,
        (false, _) => INLINE,
    };
    let xattrs = layout.tree.sets.bytes_of(extra.xattrs);
    let icount = if xattrs.is_empty() {
        0
    } else {
        (xattrs.len() - XATTR_HEADER) / 4 + 1
    };
    let address = match record.kind() {
        S_IFREG if pieces => layout.tree.maps[record.data as usize].bits.into(),
        S_IFREG if shape.size == 0 => 0,
        S_IFREG | S_IFCHR | S_IFBLK => record.data,
        S_IFDIR | S_IFLNK if shape.blocks > 0 => block as u32,
        _ => 0,
    };
    let links = match record.kind() {
        S_IFDIR => {
            let directories = layout.children(inode).iter();
            2 + directories
                .filter(|child| layout.record(**child).is_dir())
                .count() as u32
        }
        _ if record.has(SHARED) => extra.links,
        _ => 1,
    };
    let mut bytes = [0; INODE as usize];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &(1 | form << 1).to_le_bytes());
    put(2, &(icount as u16).to_le_bytes());
    put(4, &record.mode.to_le_bytes());
    put(8, &shape.size.to_le_bytes());
    put(16, &address.to_le_bytes());
    put(20, &record.parent.to_le_bytes());
    put(24, &extra.uid.to_le_bytes());
    put(28, &extra.gid.to_le_bytes());
    put(32, &extra.mtime.to_le_bytes());
    put(40, &extra.nanos.to_le_bytes());
    put(44, &links.to_le_bytes());
    output.put(&bytes)?;
    output.put(xattrs)?;
    if pieces {
        for number in &layout.tree.maps[record.data as usize].blocks {
            output.put(&number.to_le_bytes())?;
        }
        return Ok(());
    }
    if shape.inline == 0 {
        return Ok(());
    }
    if record.kind() == S_IFLNK {
        return output.put(layout.tree.texts.get(record.data));
    }
    let listing = Listing::new(layout, inode);
    let mut first = 0;
    for _ in 0..shape.blocks {
        first = listing.block(first).0;
    }
    directory_block(layout, listing, (inode, parent), first, scratch);
    output.put(scratch)
}

/// Makes the block of a directory that begins with the name `first`, as far as it is used; returns where the next begins.
fn directory_block(
    layout: &Layout,
    listing: Listing<'_>,
    (directory, parent): (u32, u32),
    first: usize,
    block: &mut Vec<u8>,
) -> usize {
    let (end, _) = listing.block(first);
    block.clear();
    let mut offset = DIRENT * (end - first);
    for at in first..end {
        let (listed, name) = listing.get(at);
        let inode = match listed {
            Listed::Itself => directory,
            Listed::Parent => parent,
            Listed::Child(child) => layout.tree.inode(child),
        };
        let record = layout.record(inode);
        block.extend_from_slice(&u64::from(record.parent).to_le_bytes());
        block.extend_from_slice(&(offset as u16).to_le_bytes());
        block.extend_from_slice(&[file_type(record.mode), 0]);
        offset += name.len();
    }
    for at in first..end {
        block.extend_from_slice(listing.get(at).1);
    }
    end
}
