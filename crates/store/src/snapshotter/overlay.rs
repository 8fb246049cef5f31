//! Layers as directories, stacked by the kernel's overlay file system. `fs/` is the tree in overlay form.

mod changes;
mod pack;
mod recipe;
mod unpack;

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_oci::{Digest, Digester};
use havre_sys::mount;

use self::pack::{Pack, Piece};
use self::recipe::{Rebuild, RecipeWriter};
use super::{Snapshotter, Unpacked, Upper};
use crate::{ApplyError, Change, Limits, Result, StoreError};

/// The tree, in a layer's directory.
const FS: &str = "fs";
/// Files whose path was taken by a later entry of the archive.
const MOVED: &str = "moved";
/// How the archive is rebuilt.
const RECIPE: &str = "recipe.zst";

/// Directories; works on every kernel with overlayfs and every file system it accepts beneath.
#[derive(Debug)]
pub(crate) struct Overlay {
    /// Empty directories to stack where layers are missing.
    empty: [PathBuf; 2],
}

impl Overlay {
    /// `empty` is a directory of its own, which must stay as long as anything is mounted.
    pub(crate) fn new(empty: &Path) -> Result<Self> {
        let empty = ["0", "1"].map(|name| empty.join(name));
        for dir in &empty {
            fs::create_dir_all(dir).map_err(StoreError::at("create", dir))?;
        }
        Ok(Self { empty })
    }
}

impl Snapshotter for Overlay {
    fn unpack(&self, tar: &mut dyn Read, staged: &Path, limits: &Limits) -> Result<Unpacked, ApplyError> {
        unpack::unpack(tar, staged, limits)
    }

    fn adopt(&self, upper: &Path, staged: &Path) -> Result<(Digest, Unpacked)> {
        let mut digester = Digester::sha256();
        let mut recipe = RecipeWriter::create(&staged.join(RECIPE))?;
        let mut unpacked = Unpacked::default();
        let mut buffer = vec![0; 256 << 10];
        let mut pack = Pack::open(upper, pack::Source::Still)?;
        while let Some(piece) = pack.next()? {
            match piece {
                Piece::Raw(bytes) => {
                    digester.update(&bytes);
                    recipe.raw(&bytes)?;
                }
                Piece::File(mut file) => {
                    recipe.payload(file.size, &file.path)?;
                    unpacked.size += file.size;
                    while let Some(length) = file.read(&mut buffer)? {
                        digester.update(&buffer[..length]);
                    }
                }
            }
        }
        unpacked.entries = pack.entries();
        unpacked.tar_size = recipe.finish(&[])?;
        let target = staged.join(FS);
        fs::rename(upper, &target).map_err(StoreError::at("move", upper))?;
        Ok((digester.finish(), unpacked))
    }

    fn tar(&self, layer: &Path) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Rebuild::open(layer)?))
    }

    fn mount(&self, layers: &[PathBuf], upper: Upper<'_>, target: &Path) -> Result<()> {
        // An image may have the same layer twice (two steps that change nothing, or the same). The kernel refuses a
        // directory that is there twice; the uppermost says everything the others below it do.
        let mut seen = HashSet::new();
        let mut lower: Vec<PathBuf> = layers
            .iter()
            .rev()
            .filter(|layer| seen.insert(*layer))
            .map(|layer| layer.join(FS))
            .collect();
        // The kernel wants at least one lower directory, and two if nothing is above.
        let least = if matches!(upper, Upper::None) { 2 } else { 1 };
        let missing = least - lower.len().min(least);
        lower.extend(self.empty.iter().take(missing).cloned());
        let overlay = mount::Overlay {
            lower: lower.iter().map(PathBuf::as_path).collect(),
            upper: match upper {
                Upper::None => None,
                Upper::Writable { upper, work } | Upper::Volatile { upper, work } => Some((upper, work)),
            },
            volatile: matches!(upper, Upper::Volatile { .. }),
        };
        mount::overlay(&overlay, target).map_err(|source| StoreError::Mount {
            target: target.to_path_buf(),
            source,
        })
    }

    fn changes(&self, layers: &[PathBuf], upper: &Path) -> Result<Vec<Change>> {
        let lower: Vec<PathBuf> = layers.iter().rev().map(|layer| layer.join(FS)).collect();
        changes::changes(&lower, upper)
    }
}

/// See [`super::archive`].
pub(super) fn archive(upper: &Path) -> Result<impl Read + Send + use<>> {
    Pack::open(upper, pack::Source::Live).map(pack::PackReader::new)
}

#[cfg(test)]
crate::snapshotter::contract::suite!(contract, super::Overlay::new);
