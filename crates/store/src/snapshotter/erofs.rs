//! Layers as files that are EROFS file systems: `layer.erofs`, and `fs/`, where it is mounted.
//!
//! A layer is mounted once, when it is first needed. All stacks share that mount and with it the page cache. It stays until
//! the layer is removed or the store is closed with nothing running; the next process recognises it.
//!
//! **Memory.** A layer being written holds its tree: 49 MiB for a million entries with names of 12 bytes, less than 1 MiB for
//! ten thousand. Contents are never held: they pass in pieces of 256 KiB, of which the pipeline has up to twenty. A process
//! that wrote a layer of a million entries had 56 MiB in all at most. Beyond 256 MiB (four million entries with names of some 25
//! bytes) a layer is refused.

pub(super) mod probe;
mod sparse;
mod spool;
mod writer;

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fs_err as fs;
use havre_erofs::BlockSize;
use havre_oci::{Digest, Digester};
use havre_sys::erofs::Backing;
use havre_sys::mount;

use self::writer::ImageWriter;
use super::pack::{Pack, PackReader, Source};
use super::recipe::Rebuild;
use super::{Archive, FS, Form, IMAGE, LayerFile, Snapshotter, Unpacked, packing_error};
use crate::layers::pipeline;
use crate::{ApplyError, Limits, Result, StoreError};

/// A directory whose archive is no larger than this is packed without helping threads.
const SMALL: usize = 512 << 10;

/// One of the two forms of images.
#[derive(Debug)]
pub(crate) struct Erofs {
    block: BlockSize,
    /// How images are mounted, or why they can't be.
    backing: Result<Backing, String>,
    /// Held while a mount is made.
    mounting: Mutex<()>,
}

impl Erofs {
    /// Images that hold the archive byte for byte.
    pub(crate) fn tar(backing: Result<Backing, String>) -> Self {
        Self::new(BlockSize::B512, backing)
    }

    /// Images with contents at 4 KiB bounds.
    pub(crate) fn aligned(backing: Result<Backing, String>) -> Self {
        Self::new(BlockSize::B4096, backing)
    }

    fn new(block: BlockSize, backing: Result<Backing, String>) -> Self {
        Self {
            block,
            backing,
            mounting: Mutex::new(()),
        }
    }

    /// Why images can't be mounted here.
    pub(crate) fn why_not(&self) -> Option<&str> {
        self.backing.as_ref().err().map(String::as_str)
    }

    fn file<'f>(&self, layer: &Path, form: &'f Form) -> Result<&'f LayerFile> {
        match (form, self.block) {
            (Form::Tar(file), BlockSize::B512) | (Form::Aligned(file), BlockSize::B4096) => Ok(file),
            _ => Err(StoreError::Corrupt {
                path: layer.to_path_buf(),
                reason: "it has another form".to_owned(),
            }),
        }
    }
}

/// The layer's file, if it has the size it was made with.
fn open(layer: &Path, expected: &LayerFile) -> Result<fs::File> {
    let path = layer.join(IMAGE);
    let file = fs::File::open(&path).map_err(StoreError::at("open", &path))?;
    let size = file.metadata().map_err(StoreError::at("query", &path))?.len();
    if size == expected.size {
        return Ok(file);
    }
    Err(StoreError::Corrupt {
        path,
        reason: format!("it has {size} bytes, {} were written", expected.size),
    })
}

impl Snapshotter for Erofs {
    fn unpack(&self, tar: &mut dyn BufRead, staged: &Path, limits: &Limits) -> Result<Unpacked, ApplyError> {
        ImageWriter::create(staged, self.block)?.write(tar, limits)
    }

    fn adopt(&self, upper: &Path, staged: &Path) -> Result<(Digest, Unpacked)> {
        let limits = Limits {
            tar_size: u64::MAX,
            entries: u64::MAX,
        };
        let mut archive = PackReader::new(Pack::open(upper, Source::Still)?);
        let start = archive
            .start(SMALL)
            .map_err(|error| packing_error(upper, ApplyError::Read(error)))?;
        let packed = if start.len() < SMALL {
            let unpacked = self.unpack(&mut start.as_slice(), staged, &limits);
            unpacked.map(|unpacked| (unpacked, Digest::sha256_of(&start)))
        } else {
            let archive = std::io::Read::chain(start.as_slice(), archive);
            pipeline::run(archive, &mut |_| {}, |tar| self.unpack(tar, staged, &limits))
        };
        let (unpacked, digest) = packed.map_err(|error| packing_error(upper, error))?;
        Ok((digest, unpacked))
    }

    fn tar(&self, layer: &Path, form: &Form, tar_size: u64) -> Result<Archive> {
        let file = open(layer, self.file(layer, form)?)?;
        Ok(match form {
            Form::Tar(_) => Archive::Range {
                file,
                offset: havre_erofs::DATA_START,
                len: tar_size,
            },
            _ => Archive::Rebuilt(Box::new(Rebuild::of_image(layer)?)),
        })
    }

    fn attach(&self, layer: &Path, form: &Form) -> Result<PathBuf> {
        let expected = self.file(layer, form)?;
        let target = layer.join(FS);
        let attached = || mount::is_mount_point(&target).map_err(StoreError::at("query", &target));
        if attached()? {
            return Ok(target);
        }
        let _mounting = self.mounting.lock().unwrap_or_else(PoisonError::into_inner);
        if attached()? {
            return Ok(target);
        }
        let backing = self.backing.as_ref().map_err(|reason| StoreError::Unmountable {
            path: layer.join(IMAGE),
            reason: reason.clone(),
        })?;
        open(layer, expected)?;
        let mounted = havre_sys::erofs::mount(&layer.join(IMAGE), &target, *backing);
        mounted.map_err(|source| StoreError::Mount {
            target: target.clone(),
            source,
        })?;
        Ok(target)
    }

    fn is_sound(&self, layer: &Path, form: &Form) -> Result<bool> {
        let expected = self.file(layer, form)?;
        let file = open(layer, expected)?;
        Ok(digest(&file, expected)? == expected.metadata)
    }
}

/// What [`LayerFile::metadata`] says, of the file as it is.
fn digest(file: &fs::File, expected: &LayerFile) -> Result<Digest> {
    let mut digester = Digester::sha256();
    let mut buffer = vec![0; 256 << 10];
    let mut hash = |mut offset: u64, end: u64| -> std::io::Result<()> {
        while offset < end {
            let room = buffer
                .len()
                .min(usize::try_from(end - offset).unwrap_or(usize::MAX));
            std::os::unix::fs::FileExt::read_exact_at(file.file(), &mut buffer[..room], offset)?;
            digester.update(&buffer[..room]);
            offset += room as u64;
        }
        Ok(())
    };
    hash(expected.metadata_offset, expected.size)
        .and_then(|()| hash(0, havre_erofs::DATA_START))
        .map_err(StoreError::at("read", file.path()))?;
    Ok(digester.finish())
}

/// The suite, for every way to mount.
#[cfg(test)]
mod tests {
    use super::*;

    fn file(direct: bool) -> Result<Backing, String> {
        Ok(Backing::File { direct })
    }

    crate::snapshotter::contract::suite!(direct, super::super::Erofs::tar(super::file(true)));
    crate::snapshotter::contract::suite!(buffered, super::super::Erofs::tar(super::file(false)));
    crate::snapshotter::contract::suite!(looped, super::super::Erofs::tar(Ok(super::Backing::Loop)));
    crate::snapshotter::contract::suite!(aligned, super::super::Erofs::aligned(Ok(super::Backing::Loop)));
}
