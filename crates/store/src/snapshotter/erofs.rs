//! Layers as files that are EROFS file systems: `layer.erofs`, and `fs/`, where it is mounted.
//!
//! A layer is mounted once, when it is first needed. All stacks share that mount and with it the page cache. It stays until
//! the layer is removed or the store is closed with nothing running; the next process recognises it.
//!
//! **Memory.** Whoever writes a layer takes 64 MiB at most, whatever the layer. Its tree is held: 49 MiB for a million entries
//! with names of 12 bytes, less than 1 MiB for ten thousand. Contents are never held: they pass in pieces of 256 KiB, of which
//! the pipeline has up to twenty. A layer whose tree would take more than 50 MiB becomes a directory instead, from the archive that is
//! written already.

mod outline;
pub(super) mod probe;
mod sparse;
mod spool;
mod writer;

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fs_err as fs;
use havre_erofs::BlockSize;
use havre_oci::{Digest, Digester};
use havre_sys::erofs::Backing;
use havre_sys::mount;

pub use self::outline::Outline;
pub(crate) use self::outline::nameless;
use self::writer::{ImageWriter, Written};
use super::pack::{Pack, PackReader, Source};
use super::recipe::Rebuild;
use super::{Archive, Directory, FS, Form, IMAGE, LayerFile, RECIPE, Snapshotter, Unpacked, packing_error};
use crate::layers::pipeline;
use crate::{ApplyError, Limits, Result, StoreError};

/// Bytes the tree of a layer may take in memory.
const TREE: u64 = 50 << 20;
/// Where the file of a layer is that became a directory.
const OUTGROWN: &str = "outgrown";

/// A directory whose archive is no larger than this is packed without helping threads.
const SMALL: usize = 512 << 10;
/// Bytes read at once.
const PIECE: usize = 256 << 10;

/// One of the two forms of images.
#[derive(Debug)]
pub(crate) struct Erofs {
    block: BlockSize,
    /// How images are mounted, or why they can't be.
    backing: Result<Backing, String>,
    /// Bytes the tree of a layer may take in memory.
    memory: u64,
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
            memory: TREE,
            mounting: Mutex::new(()),
        }
    }

    /// Why images can't be mounted here.
    pub(crate) fn why_not(&self) -> Option<&str> {
        self.backing.as_ref().err().map(String::as_str)
    }

    /// Makes a directory of what was written of an archive that is too large for an image.
    fn unpack_outgrown(&self, staged: &Path, tar_size: u64, limits: &Limits) -> Result<Unpacked, ApplyError> {
        let aside = staged.join(OUTGROWN);
        fs::create_dir(&aside).map_err(StoreError::at("create", &aside))?;
        let recipe = (self.block == BlockSize::B4096).then_some(RECIPE);
        for name in [IMAGE].into_iter().chain(recipe) {
            let there = staged.join(name);
            fs::rename(&there, aside.join(name)).map_err(StoreError::at("move", &there))?;
        }
        let tree = staged.join(FS);
        fs::remove_dir(&tree).map_err(StoreError::at("remove", &tree))?;
        let archive: Box<dyn Read> = if recipe.is_some() {
            Box::new(Rebuild::of_image(&aside)?)
        } else {
            let path = aside.join(IMAGE);
            let mut file = fs::File::open(&path).map_err(StoreError::at("open", &path))?;
            file.seek(SeekFrom::Start(havre_erofs::DATA_START))
                .map_err(StoreError::at("read", &path))?;
            Box::new(file.take(tar_size))
        };
        let unpacked = Directory.unpack(&mut BufReader::with_capacity(PIECE, archive), staged, limits)?;
        fs::remove_dir_all(&aside).map_err(StoreError::at("remove", &aside))?;
        Ok(unpacked)
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
        match ImageWriter::create(staged, self.block, self.memory)?.write(tar, limits)? {
            Written::Image(unpacked) => Ok(unpacked),
            Written::Outgrown { tar_size } => self.unpack_outgrown(staged, tar_size, limits),
        }
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
    use havre_oci::layer::{Entry, Kind, encode_header};

    use super::*;

    fn file(direct: bool) -> Result<Backing, String> {
        Ok(Backing::File { direct })
    }

    /// A layer whose tree outgrows its memory is a directory: the same tree, and the archive byte for byte.
    #[test]
    fn what_outgrows_memory_becomes_a_directory() {
        let mut archive = Vec::new();
        for n in 0..5000 {
            let kind = if n % 10 == 0 { Kind::Dir } else { Kind::File };
            let size = if kind == Kind::File { n % 700 } else { 0 };
            let entry = Entry {
                path: format!(
                    "dir-{}{}",
                    n / 10 * 10,
                    if n % 10 == 0 {
                        String::new()
                    } else {
                        format!("/file-{n}")
                    }
                )
                .into(),
                kind,
                mode: 0o640,
                size,
                mtime: 1_600_000_000 + n as i64,
                ..Entry::default()
            };
            encode_header(&entry, &mut archive);
            archive.extend(std::iter::repeat_n(n as u8, size as usize));
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
        archive.resize(archive.len() + 1024, 0);
        let looped = || Ok(Backing::Loop);
        for erofs in [Erofs::tar(looped()), Erofs::aligned(looped())] {
            let erofs = Erofs {
                memory: 100 << 10,
                ..erofs
            };
            let staged = tempfile::tempdir().unwrap();
            let unpacked = erofs
                .unpack(&mut archive.as_slice(), staged.path(), &Limits::default())
                .unwrap();
            assert_eq!(unpacked.form, Form::Directory);
            assert_eq!(
                (unpacked.entries, unpacked.tar_size),
                (5000, archive.len() as u64)
            );
            let file = staged.path().join(FS).join("dir-4210/file-4213");
            assert_eq!(fs::read(&file).unwrap(), vec![4213_u64 as u8; 4213 % 700]);
            let dir = fs::metadata(staged.path().join(FS).join("dir-4210")).unwrap();
            assert_eq!(std::os::unix::fs::MetadataExt::mtime(&dir), 1_600_004_210);
            let Archive::Rebuilt(mut rebuilt) = Directory
                .tar(staged.path(), &unpacked.form, unpacked.tar_size)
                .unwrap()
            else {
                panic!("a directory has no archive of its own")
            };
            let mut back = Vec::new();
            rebuilt.read_to_end(&mut back).unwrap();
            assert!(back == archive);
            let mut left: Vec<_> = fs::read_dir(staged.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            left.sort();
            assert_eq!(left, [FS, RECIPE], "nothing of the image is left");
        }
    }

    crate::snapshotter::contract::suite!(direct, super::super::Erofs::tar(super::file(true)));
    crate::snapshotter::contract::suite!(buffered, super::super::Erofs::tar(super::file(false)));
    crate::snapshotter::contract::suite!(looped, super::super::Erofs::tar(Ok(super::Backing::Loop)));
    crate::snapshotter::contract::suite!(aligned, super::super::Erofs::aligned(Ok(super::Backing::Loop)));
}
