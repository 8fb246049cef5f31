//! Layers as directories: `fs/` is the tree in overlay form.

mod times;
mod unpack;

use std::io::BufRead;
use std::path::{Path, PathBuf};

use fs_err as fs;
use havre_oci::{Digest, Digester};

use super::pack::{Pack, Piece, Source};
use super::recipe::{Rebuild, RecipeWriter};
use super::{Archive, FS, Form, RECIPE, Snapshotter, Unpacked};
use crate::{ApplyError, Limits, Result, StoreError};

/// Works on every file system that overlayfs accepts beneath.
#[derive(Debug)]
pub(crate) struct Directory;

impl Snapshotter for Directory {
    fn unpack(&self, tar: &mut dyn BufRead, staged: &Path, limits: &Limits) -> Result<Unpacked, ApplyError> {
        unpack::unpack(tar, staged, limits)
    }

    fn adopt(&self, upper: &Path, staged: &Path) -> Result<(Digest, Unpacked)> {
        let mut digester = Digester::sha256();
        let mut recipe = RecipeWriter::create(&staged.join(RECIPE))?;
        let mut unpacked = Unpacked::default();
        let mut buffer = vec![0; 256 << 10];
        let mut pack = Pack::open(upper, Source::Still)?;
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

    fn tar(&self, layer: &Path, _: &Form, _: u64) -> Result<Archive> {
        Ok(Archive::Rebuilt(Box::new(Rebuild::of_directory(layer)?)))
    }

    fn attach(&self, layer: &Path, _: &Form) -> Result<PathBuf> {
        Ok(layer.join(FS))
    }

    fn is_sound(&self, _: &Path, _: &Form) -> Result<bool> {
        Ok(true)
    }
}

#[cfg(test)]
crate::snapshotter::contract::suite!(contract, super::Directory);
