//! The on-disk format, as far as it is written here.
//!
//! From the kernel's `Documentation/filesystems/erofs.rst` and `fs/erofs/erofs_fs.h` (the latter is also under Apache-2.0).
//! Everything is little endian.
//!
//! ```text
//! superblock, at byte 1024                      inode, "extended" form, at meta_blkaddr * block + 32 * nid
//!   0  u32 magic 0xE0F5E1E2                       0  u16 format: bit 0 extended, bits 1-3 layout of the contents
//!   4  u32 crc32c, see below                      2  u16 xattr_icount: 0, or (bytes of attributes - 12) / 4 + 1
//!   8  u32 compatible features                    4  u16 mode with the type of file
//!  12  u8  log2 of the block                      8  u64 size
//!  13  u8  extra slots                           16  u32 first block | device number | chunk format
//!  14  u16 nid of the root                       20  u32 number shown by 32-bit stat
//!  16  u64 number of inodes                      24  u32 uid
//!  24  u64 + 32 u32 build time                   28  u32 gid
//!  36  u32 blocks of the image                   32  u64 mtime   40 u32 nanoseconds
//!  40  u32 meta_blkaddr                          44  u32 links
//!  44  u32 first block of shared attributes      64  attributes, then a chunk map, then the tail of the contents
//!  48  uuid   64 volume name
//!  80  u32 incompatible features               attributes
//!  84  u16 compression                           0  u32 name filter, u8 number of shared ones, 7 zeros; shared ids (u32)
//!  86  u16 number of further devices            12  entries at multiples of 4: u8 length of the name without its prefix,
//!  90  u8  log2 of directory blocks per block       u8 prefix, u16 length of the value, name, value
//! ```
//!
//! - **Contents** are *plain* (whole blocks from the first one), *inline* (all but the last block likewise, the rest right
//!   behind the attributes, all of it in one block), or *chunked* (a map of block numbers, `0xFFFF_FFFF` for a hole).
//! - **Directories** are made of blocks: an array of entries (u64 nid, u16 offset of the name in the block, u8 type, u8 0), then
//!   the names without separators; what is left of a block is zero. Names ascend as strings of unsigned bytes within and across
//!   blocks, `.` and `..` among them: the kernel searches by halving.
//! - **The checksum** is CRC-32C without the final inversion, its own field taken as zero, over the superblock's block: from
//!   1024 to its end with 4 KiB blocks, over 512 bytes from 1024 with 512-byte blocks (`erofs_superblock_csum_verify`).

use crate::BlockSize;

pub(crate) const SUPERBLOCK: u64 = 1024;
pub(crate) const MAGIC: u32 = 0xE0F5_E1E2;

pub(crate) const COMPAT_CHECKSUM: u32 = 1;
/// Times are modification times, not those of the last change.
pub(crate) const COMPAT_MTIME: u32 = 2;
pub(crate) const INCOMPAT_CHUNKED: u32 = 4;

/// Inodes lie at multiples of this.
pub(crate) const SLOT: u64 = 32;
pub(crate) const INODE: u64 = 64;
pub(crate) const COMPACT_INODE: u64 = 32;

pub(crate) const PLAIN: u16 = 0;
pub(crate) const INLINE: u16 = 2;
pub(crate) const CHUNKED: u16 = 4;

/// In a chunk format: the map has 8-byte entries.
pub(crate) const CHUNK_INDEXES: u16 = 0x20;
/// In a chunk format: log2 of blocks per chunk.
pub(crate) const CHUNK_BITS: u16 = 0x1F;
/// In a chunk map: a hole.
pub(crate) const NO_BLOCK: u32 = u32::MAX;

/// Bytes of a directory entry without its name.
pub(crate) const DIRENT: usize = 12;
pub(crate) const MAX_NAME: usize = 255;
/// The longest path the kernel takes, without its final zero byte; also the longest target of a symbolic link.
pub(crate) const MAX_PATH: usize = 4095;

pub(crate) const XATTR_HEADER: usize = 12;
/// What `xattr_icount` can say.
pub(crate) const MAX_XATTRS: usize = XATTR_HEADER + 4 * (u16::MAX as usize - 1);
pub(crate) const MAX_XATTR_VALUE: usize = u16::MAX as usize;

pub(crate) const S_IFMT: u16 = 0o170_000;
pub(crate) const S_IFSOCK: u16 = 0o140_000;
pub(crate) const S_IFLNK: u16 = 0o120_000;
pub(crate) const S_IFREG: u16 = 0o100_000;
pub(crate) const S_IFBLK: u16 = 0o060_000;
pub(crate) const S_IFDIR: u16 = 0o040_000;
pub(crate) const S_IFCHR: u16 = 0o020_000;
pub(crate) const S_IFIFO: u16 = 0o010_000;

/// The type a directory entry has for an inode of this mode (0: none).
pub(crate) fn file_type(mode: u16) -> u8 {
    match mode & S_IFMT {
        S_IFREG => 1,
        S_IFDIR => 2,
        S_IFCHR => 3,
        S_IFBLK => 4,
        S_IFIFO => 5,
        S_IFSOCK => 6,
        S_IFLNK => 7,
        _ => 0,
    }
}

/// A device number as the kernel's `new_encode_dev` has it.
pub(crate) fn encode_device(major: u32, minor: u32) -> u32 {
    (minor & 0xFF) | (major << 8) | ((minor & !0xFF) << 12)
}

pub(crate) fn decode_device(number: u32) -> (u32, u32) {
    (
        (number >> 8) & 0xFFF,
        (number & 0xFF) | ((number >> 12) & 0xF_FF00),
    )
}

/// What the superblock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) block: BlockSize,
    pub(crate) root_nid: u16,
    pub(crate) inodes: u64,
    pub(crate) blocks: u32,
    pub(crate) meta_block: u32,
    pub(crate) xattr_block: u32,
    pub(crate) chunked: bool,
    /// The time of compact inodes: seconds since 1970 and nanoseconds.
    pub(crate) build_time: (i64, u32),
    pub(crate) uuid: [u8; 16],
}

impl Superblock {
    /// The first 4 KiB of the image.
    pub(crate) fn encode(&self) -> [u8; 4096] {
        let mut image = [0; 4096];
        let mut put = |at: usize, bytes: &[u8]| {
            let at = SUPERBLOCK as usize + at;
            image[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &MAGIC.to_le_bytes());
        put(8, &(COMPAT_CHECKSUM | COMPAT_MTIME).to_le_bytes());
        put(12, &[self.block.bits()]);
        put(14, &self.root_nid.to_le_bytes());
        put(16, &self.inodes.to_le_bytes());
        put(24, &self.build_time.0.to_le_bytes());
        put(32, &self.build_time.1.to_le_bytes());
        put(36, &self.blocks.to_le_bytes());
        put(40, &self.meta_block.to_le_bytes());
        put(44, &self.xattr_block.to_le_bytes());
        put(48, &self.uuid);
        let incompatible = if self.chunked { INCOMPAT_CHUNKED } else { 0 };
        put(80, &incompatible.to_le_bytes());
        let sum = checksum(&image, self.block);
        image[SUPERBLOCK as usize + 4..][..4].copy_from_slice(&sum.to_le_bytes());
        image
    }
}

/// The checksum of the superblock in the first 4 KiB of an image.
pub(crate) fn checksum(image: &[u8; 4096], block: BlockSize) -> u32 {
    let start = SUPERBLOCK as usize;
    let end = match block {
        BlockSize::B512 => start + 512,
        BlockSize::B4096 => 4096,
    };
    let crc = crc32c(u32::MAX, &image[start..start + 4]);
    let crc = crc32c(crc, &[0; 4]);
    crc32c(crc, &image[start + 8..end])
}

/// CRC-32C, reflected, without any inversion; bit by bit, since it sees 3 KiB per image.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg())
        })
    })
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | (u32::from(u16_at(bytes, at + 2)) << 16)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | (u64::from(u32_at(bytes, at + 4)) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        // RFC 3720, B.4: 32 bytes of zeros, and 0..31.
        assert_eq!(crc32c(u32::MAX, &[0; 32]) ^ u32::MAX, 0x8A91_36AA);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(u32::MAX, &ascending) ^ u32::MAX, 0x46DD_794E);
    }

    #[test]
    fn device_numbers_survive() {
        for (major, minor) in [(0, 0), (1, 3), (8, 255), (259, 256), (0xFFF, 0xF_FFFF)] {
            assert_eq!(decode_device(encode_device(major, minor)), (major, minor));
        }
        // As the kernel encodes 259:65793.
        assert_eq!(encode_device(259, 65793), 0x1011_0301);
    }
}
