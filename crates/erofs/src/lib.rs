//! EROFS file systems whose file contents already lie in the image.
//!
//! A layer's archive holds every byte of its files already, each payload on a 512-byte boundary. So the archive itself, with
//! a superblock before it and metadata behind it that points into it, is a file system the kernel mounts:
//!
//! ```text
//! 0            1024        4096 = DATA_START              data_end, rounded up to a block
//! │ zeros      │ superblock │ data: the tar byte for byte, │ metadata: inodes, attributes,  │
//! │            │            │ or payloads at 4 KiB bounds  │ directories, long link targets │
//! └────────────┴────────────┴──────────────────────────────┴────────────────────────────────┘
//! ```
//!
//! ```
//! use havre_erofs::{BlockSize, DATA_START, Layout, Metadata, Node, Options, Tree};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut tree = Tree::new(Options::default());
//! let metadata = Metadata { mode: 0o644, ..Metadata::default() };
//! tree.add(b"etc/hostname", Node::File { offset: DATA_START, size: 5 }, &metadata, &[])?;
//! tree.whiteout(b"etc/motd")?;
//! let layout = Layout::new(tree, DATA_START + 512)?;
//! let mut image = vec![0; usize::try_from(layout.offset())?]; // the file with its data
//! layout.write_metadata(&mut image)?;                         // at `layout.offset()`
//! image[..4096].copy_from_slice(&layout.superblock([7; 16])); // last
//! assert_eq!(image.len() as u64, layout.size());
//! # Ok(())
//! # }
//! ```
//!
//! [`Tree`] takes entries in any order and means by them what unpacking them one after the other would make. [`Layout`] says
//! where everything goes and writes it. [`read`] walks an image nobody vouches for.

mod acl;
mod error;
mod format;
mod layout;
mod node;
pub mod read;
mod tree;
mod xattr;

pub use error::ErofsError;
pub use layout::Layout;
pub use node::{DeviceKind, Metadata, Node, Options};
pub use tree::Tree;

/// Where data begins: the first 4 KiB hold zeros and, at 1024, the superblock.
pub const DATA_START: u64 = 4096;

/// The unit of addresses in an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum BlockSize {
    /// 512 bytes: the tar form, whose data are a tar's own payloads. Mounted by kernels from 6.4.
    #[default]
    B512,
    /// 4096 bytes: the aligned form, whose payloads were laid out at 4 KiB. Mounted by every kernel that has the 64-byte
    /// inodes and checksums used here (5.4; 5.15 when there are [sparse files](Node::Sparse)).
    B4096,
}

impl BlockSize {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.bits()
    }

    /// log2 of the bytes.
    pub const fn bits(self) -> u8 {
        match self {
            Self::B512 => 9,
            Self::B4096 => 12,
        }
    }
}
