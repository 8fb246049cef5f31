//! Directories stacked by the kernel's overlay file system.

mod changes;

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_sys::mount;

pub(crate) use self::changes::changes;
use crate::{Result, StoreError};

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

/// The user namespace whose owners a mounted snapshot shows: what belongs to 0 on the disk belongs to its root, and so on. On
/// the disk nothing differs, so that the same layers and snapshots serve everybody.
#[derive(Clone, Copy, Debug)]
pub struct Shift<'a> {
    /// The namespace.
    pub namespace: BorrowedFd<'a>,
    /// User and group that its root is outside.
    pub root: (u32, u32),
}

/// Mounts stacks of layers. Works on every kernel with overlayfs and every file system it accepts beneath.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Empty directories to stack where layers are missing.
    empty: [PathBuf; 2],
}

impl Stack {
    /// `empty` is a directory of its own, which must stay as long as anything is mounted.
    pub(crate) fn new(empty: &Path) -> Result<Self> {
        let empty = ["0", "1"].map(|name| empty.join(name));
        for dir in &empty {
            fs::create_dir_all(dir).map_err(StoreError::at("create", dir))?;
        }
        Ok(Self { empty })
    }

    /// Mounts the trees `layers` (base first; in overlay form) with `upper` at `target`.
    pub(crate) fn mount(&self, layers: &[PathBuf], upper: Upper<'_>, target: &Path) -> Result<()> {
        self.mount_as(layers, upper, target, None)
    }

    /// As [`mount`](Self::mount), with owners shifted.
    pub(crate) fn mount_as(
        &self,
        layers: &[PathBuf],
        upper: Upper<'_>,
        target: &Path,
        shift: Option<Shift<'_>>,
    ) -> Result<()> {
        // An image may have the same layer twice (two steps that change nothing, or the same). The kernel refuses a
        // directory that is there twice; the uppermost says everything the others below it do.
        let mut seen = HashSet::new();
        let mut lower: Vec<&Path> = layers
            .iter()
            .rev()
            .filter(|layer| seen.insert(*layer))
            .map(PathBuf::as_path)
            .collect();
        // The kernel wants at least one lower directory, and two if nothing is above.
        let least = if matches!(upper, Upper::None) { 2 } else { 1 };
        let missing = least - lower.len().min(least);
        lower.extend(self.empty.iter().take(missing).map(PathBuf::as_path));
        let overlay = mount::Overlay {
            lower,
            upper: match upper {
                Upper::None => None,
                Upper::Writable { upper, work } | Upper::Volatile { upper, work } => Some((upper, work)),
            },
            volatile: matches!(upper, Upper::Volatile { .. }),
        };
        let mounted = match shift {
            None => mount::overlay(&overlay, target),
            Some(Shift { namespace, root }) => mount::overlay_shifted(&overlay, target, namespace, root),
        };
        mounted.map_err(|source| StoreError::Mount {
            target: target.to_path_buf(),
            source,
        })
    }
}
