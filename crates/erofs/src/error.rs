//! Why a tree is refused or an image cannot be written.

use std::io;

/// What is wrong with an entry, or with writing. Paths are shown lossily.
#[derive(Debug, thiserror::Error)]
pub enum ErofsError {
    #[error("hard link {path:?} points to {target:?}, which does not exist or is a directory")]
    DanglingHardLink { path: String, target: String },
    #[error("cannot place {path:?}: {ancestor:?} is not a directory")]
    NotADirectory { path: String, ancestor: String },
    #[error("cannot place {path:?}: too many symbolic links")]
    LinkLoop { path: String },
    #[error("invalid path {path:?}: {what}")]
    Path { path: String, what: &'static str },
    #[error("symbolic link {path:?}: {what}")]
    LinkTarget { path: String, what: &'static str },
    #[error("device {path:?}: number {major}:{minor} is out of range")]
    DeviceNumber { path: String, major: u32, minor: u32 },
    #[error("extended attribute {name:?} of {path:?}: {what}")]
    Xattr {
        path: String,
        name: String,
        what: &'static str,
    },
    #[error(
        "extended attributes of {path:?} take {size} bytes, more than an inode holds (262148, 65536 of names)"
    )]
    XattrsTooLarge { path: String, size: u64 },
    #[error("contents of {path:?}: {what}")]
    Data { path: String, what: &'static str },
    #[error("description of the tree needs more than {limit} bytes of memory")]
    Memory { limit: u64 },
    #[error("image is too large: {what}")]
    TooLarge { what: &'static str },
    #[error("cannot write the metadata")]
    Write(#[source] io::Error),
}

pub(crate) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
