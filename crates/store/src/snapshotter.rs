//! How layers lie on the disk and become a file system.
//!
//! A layer has one of three forms, and a store may hold layers of all three beside each other:
//!
//! | [`Form`] | on the disk | module |
//! |---|---|---|
//! | directory | the tree, and a recipe to rebuild the archive from it | `directory` |
//! | tar | one file: EROFS superblock, the archive byte for byte, EROFS metadata that points into it | `erofs` |
//! | aligned | one file: EROFS superblock, contents at 4 KiB bounds, EROFS metadata; and a recipe | `erofs` |
//!
//! A [`Snapshotter`] knows one form. It is told directories to work on and neither knows the database nor decides what is
//! published, leased or removed. [`LayerStore`](crate::LayerStore) and [`Snapshots`](crate::Snapshots) do that, the same for
//! every form. Whatever the form, an attached layer is a directory `fs/`, so [`Stack`] stacks any mixture.
//!
//! # What every implementation promises
//!
//! 1. `unpack` and `adopt` write into an empty directory `staged` and nowhere else, whatever the archive holds: no path,
//!    link or device in it reaches outside. After an error `staged` is thrown away by the caller.
//! 2. `unpack` reads its input to the end and verifies nothing about its digest: the caller hashes what flows by.
//! 3. `tar` gives back, byte for byte, the archive `unpack` read or `adopt` announced.
//! 4. Stacking attached layers shows the tree their archives describe, applied in order, as the OCI image specification says
//!    (layer.md): contents, modes, owners, times (to the second at least), links, devices, extended attributes; whiteouts and
//!    opaque directories hide what is beneath and are not seen themselves.
//! 5. A staged directory may be renamed as long as it isn't attached; nothing in it refers to its own path.
//! 6. `attach` is idempotent, may be called from several threads at once, and recognises what an earlier process attached.
//!    It never shows a file that doesn't have the size it was made with. To detach a layer, unmount its `fs/`, if it is a
//!    mount point.
//!
//! The suite in `snapshotter/contract.rs` holds an implementation to this.
//!
//! ```text
//! archive ──unpack──► staged ──(caller: verify, rename)──► layer ──attach, stack──► files
//!                                                           │  ▲                     │ upper
//! archive ◄──tar────────────────────────────────────────────┘  └────────adopt────────┘
//! ```

#[cfg(test)]
pub(crate) mod contract;
mod directory;
mod erofs;
mod forms;
mod pack;
mod recipe;
mod recorded;
mod stack;
mod tree;

pub(crate) use directory::Directory;
pub(crate) use erofs::Erofs;
pub use erofs::Outline;
pub(crate) use erofs::nameless;
pub(crate) use forms::Forms;
pub(crate) use pack::{open_dir, xattrs_of};
pub(crate) use recipe::MOVED;
pub use stack::Shift;
pub(crate) use stack::{Stack, Upper, changes};
pub(crate) use tree::{tree_blocks, tree_size};

use std::fmt::Debug;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use havre_oci::Digest;
use havre_oci::layer::{self, LayerError};

use crate::{ApplyError, Limits, Result, StoreError};

/// In a layer's directory: its tree, or where its tree is mounted.
pub(crate) const FS: &str = "fs";
/// In a layer's directory: its file.
pub(crate) const IMAGE: &str = "layer.erofs";
/// How an archive is rebuilt that isn't there as it is.
pub(crate) const RECIPE: &str = "recipe.zst";

/// How a layer lies on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A directory in overlay form with a recipe.
    #[default]
    Directory,
    /// One file: the archive byte for byte between an EROFS superblock and EROFS metadata.
    Tar(LayerFile),
    /// One file with contents at 4 KiB bounds and EROFS metadata; and a recipe.
    Aligned(LayerFile),
}

/// What is known of a layer's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFile {
    /// Its size in bytes. A file of any other size is never mounted.
    pub size: u64,
    /// Where begins what no archive covers: in the tar form what is put together of sparse files, then the metadata. They reach to
    /// the end.
    pub metadata_offset: u64,
    /// SHA-256 of all that followed by the first 4096 bytes of the file.
    pub metadata: Digest,
}

/// What is known of a layer after writing it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// How it was written.
    pub(crate) form: Form,
    /// Sum of the regular files' sizes in bytes.
    pub(crate) size: u64,
    /// Size of the archive in bytes.
    pub(crate) tar_size: u64,
    /// Entries of the archive.
    pub(crate) entries: u64,
}

/// Where the archive of a layer comes from.
pub(crate) enum Archive {
    /// It is there: `len` bytes of `file` at `offset`.
    Range {
        file: fs_err::File,
        offset: u64,
        len: u64,
    },
    /// It is put together.
    Rebuilt(Box<dyn Read + Send>),
}

/// One form of layer; the [module](self) is its specification. `layer` is the directory of a published layer.
pub(crate) trait Snapshotter: Debug + Send + Sync {
    /// Writes the uncompressed archive `tar` as a layer into the empty directory `staged`.
    fn unpack(&self, tar: &mut dyn BufRead, staged: &Path, limits: &Limits) -> Result<Unpacked, ApplyError>;

    /// Makes a layer in the empty directory `staged` of the overlay upper directory `upper`, which must not be mounted; and
    /// announces the digest of its archive. Equal directories give equal archives. What is left of `upper` afterwards is the
    /// caller's to discard; after an error it is as it was.
    fn adopt(&self, upper: &Path, staged: &Path) -> Result<(Digest, Unpacked)>;

    /// The archive of a layer, which has `tar_size` bytes, from its beginning.
    fn tar(&self, layer: &Path, form: &Form, tar_size: u64) -> Result<Archive>;

    /// Makes the layer's tree appear in its `fs/`, the path of which is returned.
    fn attach(&self, layer: &Path, form: &Form) -> Result<PathBuf>;

    /// Whether what no archive covers is as it was written.
    fn is_sound(&self, layer: &Path, form: &Form) -> Result<bool>;
}

/// An archive of an upper directory that may be in use. Files that shrink while they are read are filled with zeros.
pub(crate) fn archive(upper: &Path) -> Result<impl Read + Send> {
    pack::Pack::open(upper, pack::Source::Live).map(pack::PackReader::new)
}

/// What applying a packed directory met, as an error of the store. `upper` is the directory.
pub(crate) fn packing_error(upper: &Path, error: ApplyError) -> StoreError {
    match error {
        ApplyError::Store(error) => error,
        ApplyError::Read(source) => match source.downcast::<StoreError>() {
            Ok(error) => error,
            Err(source) => StoreError::io("copy", upper, source),
        },
        error => StoreError::io("copy", upper, io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

/// What the reader of archives calls the limits.
fn archive_limits(limits: &Limits) -> layer::Limits {
    layer::Limits {
        entries: limits.entries,
        size: limits.tar_size,
        ..layer::Limits::default()
    }
}

/// What reading an archive met.
fn archive_error(error: LayerError) -> ApplyError {
    match error {
        LayerError::Read(source) => ApplyError::Read(source),
        LayerError::TooManyEntries { limit } => ApplyError::Limit {
            what: "entries",
            limit,
        },
        LayerError::TooLarge { limit } => ApplyError::Limit { what: "bytes", limit },
        other => ApplyError::Invalid {
            reason: other.to_string(),
        },
    }
}
