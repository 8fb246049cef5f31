//! How layers lie on the disk and become a file system.
//!
//! A [`Snapshotter`] knows one form of layer. It is stateless: it works on directories it is given and neither knows the
//! database nor decides what is published, leased or removed. [`LayerStore`](crate::LayerStore) and
//! [`Snapshots`](crate::Snapshots) do that, the same for every form.
//!
//! # What every implementation promises
//!
//! 1. `unpack` and `adopt` write into an empty directory `staged` and nowhere else, whatever the archive holds: no path,
//!    link or device in it reaches outside. After an error `staged` is thrown away by the caller.
//! 2. `unpack` reads its input to the end and verifies nothing about its digest: the caller hashes what flows by.
//! 3. `tar` gives back, byte for byte, the archive `unpack` read or `adopt` announced.
//! 4. Mounting layers shows the tree their archives describe, applied in order, as the OCI image specification says
//!    (layer.md): contents, modes, owners, times (to the second at least), links, devices, extended attributes; whiteouts and
//!    opaque directories hide what is beneath and are not seen themselves.
//! 5. A staged directory may be renamed; nothing in it refers to its own path.
//! 6. `changes` compares with the layers as they would be mounted, without them being mounted.
//!
//! The suite in `snapshotter/contract.rs` holds an implementation to this.
//!
//! ```text
//! archive ──unpack──► staged ──(caller: verify, rename)──► layer ──mount──► files
//!                                                           │  ▲              │ upper
//! archive ◄──tar────────────────────────────────────────────┘  └────adopt─────┘
//! ```

#[cfg(test)]
pub(crate) mod contract;
mod overlay;
mod tree;

pub(crate) use overlay::Overlay;
pub(crate) use tree::tree_size;

use std::fmt::Debug;
use std::io::Read;
use std::path::{Path, PathBuf};

use havre_oci::Digest;

use crate::{ApplyError, Change, Limits, Result};

/// What is known of a layer after writing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Sum of the regular files' sizes in bytes.
    pub(crate) size: u64,
    /// Size of the archive in bytes.
    pub(crate) tar_size: u64,
    /// Entries of the archive.
    pub(crate) entries: u64,
}

/// What is above the layers of a mount.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upper<'a> {
    /// Nothing: it is read-only.
    None,
    /// A directory, and the overlay's scratch directory beside it.
    Writable { upper: &'a Path, work: &'a Path },
    /// The same, without ever forcing writes to the disk.
    Volatile { upper: &'a Path, work: &'a Path },
}

/// One form of layer; the [module](self) is its specification.
pub(crate) trait Snapshotter: Debug + Send + Sync {
    /// Writes the uncompressed archive `tar` as a layer into the empty directory `staged`.
    fn unpack(&self, tar: &mut dyn Read, staged: &Path, limits: &Limits) -> Result<Unpacked, ApplyError>;

    /// Makes a layer in the empty directory `staged` of the overlay upper directory `upper`, which must not be mounted and
    /// is gone afterwards; and announces the digest of its archive. Equal directories give equal archives.
    fn adopt(&self, upper: &Path, staged: &Path) -> Result<(Digest, Unpacked)>;

    /// The archive of a layer, from its beginning.
    fn tar(&self, layer: &Path) -> Result<Box<dyn Read + Send>>;

    /// Mounts `layers` (base first) with `upper` at `target`.
    fn mount(&self, layers: &[PathBuf], upper: Upper<'_>, target: &Path) -> Result<()>;

    /// How `upper` differs from `layers` (base first), in Docker's order.
    fn changes(&self, layers: &[PathBuf], upper: &Path) -> Result<Vec<Change>>;
}

/// An archive of an upper directory that may be in use. Files that shrink while they are read are filled with zeros.
pub(crate) fn archive(upper: &Path) -> Result<impl Read + Send> {
    overlay::archive(upper)
}
