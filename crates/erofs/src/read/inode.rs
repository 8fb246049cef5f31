//! Inodes, their attributes and where their contents lie.

use super::{Content, Entry, Extent, Image, Source, Wrong};
use crate::format::{
    CHUNK_BITS, CHUNK_INDEXES, CHUNKED, COMPACT_INODE, INLINE, INODE, MAX_PATH, NO_BLOCK, PLAIN, S_IFBLK,
    S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, SLOT, XATTR_HEADER, decode_device, u16_at,
    u32_at, u64_at,
};
use crate::xattr::prefix_of;
use crate::{DeviceKind, Metadata};

/// An inode without its attributes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inode {
    pub(super) nid: u64,
    form: u16,
    pub(super) mode: u16,
    pub(super) size: u64,
    /// Block, device or chunk format.
    address: u32,
    metadata: Metadata,
    links: u32,
    /// Offset of the attributes in the image, and their length.
    xattrs: u64,
    xattrs_len: u64,
}

impl Inode {
    pub(super) fn is_dir(&self) -> bool {
        self.mode & S_IFMT == S_IFDIR
    }

    /// Where what follows the attributes begins.
    fn behind(&self) -> u64 {
        self.xattrs + self.xattrs_len
    }
}

pub(super) fn read<S: Source + ?Sized>(image: &Image<'_, S>, nid: u64) -> Result<Inode, Wrong> {
    let offset = nid
        .checked_mul(SLOT)
        .and_then(|offset| offset.checked_add(image.metadata_offset()))
        .ok_or(Wrong::Is("lies beyond the end of the image"))?;
    let mut bytes = [0; INODE as usize];
    image.window.read(offset, &mut bytes[..COMPACT_INODE as usize])?;
    let format = u16_at(&bytes, 0);
    if format & !0xF != 0 {
        return Err(Wrong::Unsupported("another form of inode"));
    }
    let extended = format & 1 != 0;
    let len = if extended { INODE } else { COMPACT_INODE };
    if extended {
        image.window.read(offset, &mut bytes)?;
    }
    let mode = u16_at(&bytes, 4);
    let icount = u64::from(u16_at(&bytes, 2));
    let id = |at: usize, wide: usize| {
        if extended {
            u32_at(&bytes, wide)
        } else {
            u16_at(&bytes, at).into()
        }
    };
    let (mtime, mtime_nanos) = if extended {
        (u64_at(&bytes, 32).cast_signed(), u32_at(&bytes, 40))
    } else {
        image.superblock.build_time
    };
    let inode = Inode {
        nid,
        form: format >> 1,
        mode,
        size: if extended {
            u64_at(&bytes, 8)
        } else {
            u32_at(&bytes, 8).into()
        },
        address: u32_at(&bytes, 16),
        metadata: Metadata {
            mode: u32::from(mode & !S_IFMT),
            uid: id(24, 24),
            gid: id(26, 28),
            mtime,
            mtime_nanos,
        },
        links: if extended {
            u32_at(&bytes, 44)
        } else {
            u16_at(&bytes, 6).into()
        },
        xattrs: offset + len,
        xattrs_len: if icount == 0 {
            0
        } else {
            XATTR_HEADER as u64 + 4 * (icount - 1)
        },
    };
    if !image.window.holds(inode.xattrs, inode.xattrs_len) {
        return Err(Wrong::Is("has attributes beyond the end of the image"));
    }
    if inode.metadata.mtime_nanos > 999_999_999 {
        return Err(Wrong::Is("has a time of more than a second of nanoseconds"));
    }
    if i64::try_from(inode.size).is_err() {
        return Err(Wrong::Is("has a size beyond all files"));
    }
    Ok(inode)
}

/// Everything about an inode but the path.
pub(super) fn fill<S: Source + ?Sized>(
    image: &Image<'_, S>,
    inode: &Inode,
    entry: &mut Entry,
) -> Result<(), Wrong> {
    entry.metadata = inode.metadata;
    entry.nid = inode.nid;
    entry.links = inode.links;
    read_xattrs(image, inode, &mut entry.xattrs)?;
    let device = |kind| {
        let (major, minor) = decode_device(inode.address);
        Content::Device { kind, major, minor }
    };
    entry.content = match inode.mode & S_IFMT {
        S_IFDIR => Content::Directory,
        S_IFREG => Content::File {
            size: inode.size,
            extents: extents(image, inode)?,
        },
        S_IFLNK => {
            if inode.size == 0 || inode.size > MAX_PATH as u64 {
                return Err(Wrong::Is("is a link to a path of impossible length"));
            }
            let mut target = vec![0; inode.size as usize];
            let mut at = 0;
            for extent in extents(image, inode)? {
                let piece = &mut target[at..at + extent.len as usize];
                at += extent.len as usize;
                if let Some(offset) = extent.offset {
                    image.window.read(offset, piece)?;
                }
            }
            if target.contains(&0) {
                return Err(Wrong::Is("is a link to a path with a zero byte"));
            }
            Content::Symlink(target)
        }
        S_IFCHR => device(DeviceKind::Char),
        S_IFBLK => device(DeviceKind::Block),
        S_IFIFO => Content::Fifo,
        S_IFSOCK => Content::Socket,
        _ => return Err(Wrong::Is("is no known type of file")),
    };
    Ok(())
}

/// Where the byte `at` of an inode's contents lies, which begins a block; for directories.
pub(super) fn block_offset<S: Source + ?Sized>(
    image: &Image<'_, S>,
    inode: &Inode,
    at: u64,
) -> Result<u64, Wrong> {
    let block = image.block_size().bytes();
    match inode.form {
        PLAIN => {}
        INLINE if at / block == (inode.size - 1) / block => return tail(image, inode),
        INLINE => {}
        CHUNKED => return Err(Wrong::Unsupported("directories in pieces")),
        _ => return Err(Wrong::Unsupported("compression")),
    }
    Ok((u64::from(inode.address) << image.block_size().bits()) + at)
}

/// Where the last piece of inline contents lies.
fn tail<S: Source + ?Sized>(image: &Image<'_, S>, inode: &Inode) -> Result<u64, Wrong> {
    let block = image.block_size().bytes();
    let start = inode.behind();
    if start % block + ((inode.size - 1) % block + 1) > block {
        return Err(Wrong::Is("has contents inline that cross a block"));
    }
    Ok(start)
}

fn extents<S: Source + ?Sized>(image: &Image<'_, S>, inode: &Inode) -> Result<Vec<Extent>, Wrong> {
    let mut extents = Vec::new();
    if inode.size == 0 {
        return Ok(extents);
    }
    let bits = image.block_size().bits();
    let block = image.block_size().bytes();
    let first = u64::from(inode.address) << bits;
    let mut put = |offset: Option<u64>, len: u64| {
        if len == 0 {
            return Ok(());
        }
        if offset.is_some_and(|offset| !image.window.holds(offset, len)) {
            return Err(Wrong::Is("has contents beyond the end of the image"));
        }
        if let Some(Extent {
            offset: before,
            len: so_far,
        }) = extents.last_mut()
            && before.map(|before| before + *so_far) == offset
        {
            *so_far += len;
            return Ok(());
        }
        if extents.len() == image.limits.extents {
            return Err(Wrong::Is("is in too many pieces"));
        }
        extents.push(Extent { offset, len });
        Ok(())
    };
    match inode.form {
        PLAIN => put(Some(first), inode.size)?,
        INLINE => {
            let flat = (inode.size - 1) / block * block;
            put(Some(first), flat)?;
            put(Some(tail(image, inode)?), inode.size - flat)?;
        }
        CHUNKED if image.superblock.chunked => {
            let format = inode.address as u16;
            let chunk_bits = u32::from(format & CHUNK_BITS) + u32::from(bits);
            if format & !(CHUNK_BITS | CHUNK_INDEXES) != 0 {
                return Err(Wrong::Unsupported("another form of chunks"));
            }
            let wide = format & CHUNK_INDEXES != 0;
            let unit = if wide { 8 } else { 4 };
            let mut at = inode.behind().next_multiple_of(unit);
            let chunk = 1_u64 << chunk_bits;
            let mut left = inode.size;
            if !image.window.holds(at, left.div_ceil(chunk).saturating_mul(unit)) {
                return Err(Wrong::Is("has a map beyond the end of the image"));
            }
            while left > 0 {
                let mut bytes = [0; 8];
                image.window.read(at, &mut bytes[..unit as usize])?;
                let number = u32_at(&bytes, unit as usize - 4);
                if wide && number != NO_BLOCK && u16_at(&bytes, 2) != 0 {
                    return Err(Wrong::Unsupported("several devices"));
                }
                let offset = (number != NO_BLOCK).then_some(u64::from(number) << bits);
                put(offset, left.min(chunk))?;
                left -= left.min(chunk);
                at += unit;
            }
        }
        _ => return Err(Wrong::Unsupported("compression")),
    }
    Ok(extents)
}

fn read_xattrs<S: Source + ?Sized>(
    image: &Image<'_, S>,
    inode: &Inode,
    xattrs: &mut Vec<(Vec<u8>, Vec<u8>)>,
) -> Result<(), Wrong> {
    xattrs.clear();
    if inode.xattrs_len == 0 {
        return Ok(());
    }
    let mut body = vec![0; inode.xattrs_len as usize];
    image.window.read(inode.xattrs, &mut body)?;
    let shared = usize::from(body[4]);
    let mut at = XATTR_HEADER + 4 * shared;
    if at > body.len() {
        return Err(Wrong::Is("has more shared attributes than places for them"));
    }
    while at < body.len() {
        let Some(header) = body.get(at..at + 4) else {
            return Err(Wrong::Is("has an incomplete attribute"));
        };
        let len = usize::from(header[0]) + usize::from(u16_at(header, 2));
        let Some(text) = body.get(at + 4..at + 4 + len) else {
            return Err(Wrong::Is("has an incomplete attribute"));
        };
        xattrs.push(attribute(header, text)?);
        at = (at + 4 + len).next_multiple_of(4);
    }
    for number in 0..shared {
        let id = u64::from(u32_at(&body, XATTR_HEADER + 4 * number));
        let start = (u64::from(image.superblock.xattr_block) << image.block_size().bits()) + 4 * id;
        let mut header = [0; 4];
        image.window.read(start, &mut header)?;
        let mut text = vec![0; usize::from(header[0]) + usize::from(u16_at(&header, 2))];
        image.window.read(start + 4, &mut text)?;
        xattrs.push(attribute(&header, &text)?);
    }
    xattrs.sort();
    if xattrs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(Wrong::Is("has an attribute twice"));
    }
    Ok(())
}

fn attribute(header: &[u8], text: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Wrong> {
    let prefix = prefix_of(header[1]).ok_or(Wrong::Unsupported("attributes of another namespace"))?;
    let (name, value) = text.split_at(usize::from(header[0]));
    Ok(([prefix, name].concat(), value.to_vec()))
}
