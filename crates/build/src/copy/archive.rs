//! `ADD` of a local archive: recognised by its content, unpacked in process.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use havre_oci::compression::{self, Compression};
use havre_oci::layer::{self, Entry, Kind, LayerError};
use havre_sys::rooted::Root;

use super::CopyError;
use crate::files::{self, Attributes, Special};

/// Whether a file is a tar that can be unpacked. What looks like a compressed tar but can't be read here is an error:
/// copying it packed would be a surprise.
pub(crate) fn is_archive(file: &mut std::fs::File, path: &str) -> Result<bool, CopyError> {
    let mut head = Vec::new();
    Read::by_ref(file)
        .take(compression::DETECT_LEN as u64)
        .read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    let found = Compression::detect(&head);
    let lower = path.to_ascii_lowercase();
    let named_so = |ends: &[&str]| ends.iter().any(|end| lower.ends_with(end));
    let refuse = |compression| {
        Err(CopyError::Compression {
            path: path.to_owned(),
            compression,
        })
    };
    match found {
        Compression::Xz if named_so(&[".tar.xz", ".txz"]) => return refuse("xz"),
        Compression::Bzip2 if named_so(&[".tar.bz2", ".tbz2", ".tbz"]) => return refuse("bzip2"),
        Compression::Xz | Compression::Bzip2 => return Ok(false),
        _ => {}
    }
    let mut block = Vec::with_capacity(512);
    let read = match compression::decoder(&mut *file, found, compression::Limits::default()) {
        Ok(stream) => stream.take(512).read_to_end(&mut block).map(drop),
        Err(error) => Err(error),
    };
    file.seek(SeekFrom::Start(0))?;
    Ok(read.is_ok() && is_tar_header(&block))
}

/// The checksum of a tar header: the sum of its bytes with the checksum field as blanks.
fn is_tar_header(block: &[u8]) -> bool {
    if block.len() < 512 || block.iter().all(|byte| *byte == 0) {
        return false;
    }
    let field: String = block[148..156]
        .iter()
        .map(|byte| char::from(*byte))
        .filter(|char| char.is_digit(8))
        .collect();
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                u32::from(b' ')
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    u32::from_str_radix(&field, 8) == Ok(sum)
}

/// Unpacks `file` into the directory `base` beneath `root`. Owners are the archive's unless `owner` says otherwise.
pub(crate) fn unpack(
    file: &mut std::fs::File,
    name: &str,
    root: &Root,
    base: &Path,
    owner: Option<(u32, u32)>,
    mode: Option<u32>,
) -> Result<(), CopyError> {
    let fail = |source: LayerError| CopyError::Archive {
        path: name.to_owned(),
        source,
    };
    let mut head = Vec::new();
    Read::by_ref(file)
        .take(compression::DETECT_LEN as u64)
        .read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    let stream = compression::decoder(file, Compression::detect(&head), compression::Limits::default())?;
    let mut archive = layer::Reader::new(stream, layer::Limits::default(), |_| Ok(()));
    let mut entry = Entry::default();
    let mut directories = Vec::new();
    while archive.next_entry(&mut entry).map_err(fail)? {
        if entry.path.is_empty() {
            continue;
        }
        let target = base.join(entry.path());
        let (uid, gid) = owner.unwrap_or((entry.uid, entry.gid));
        let attributes = Attributes {
            mode: mode.unwrap_or(entry.mode),
            uid,
            gid,
            mtime: (entry.mtime, entry.mtime_nanos),
            xattrs: entry.xattrs.clone(),
        };
        match entry.kind {
            Kind::Dir => {
                files::directory(root, &target, &attributes, true)?;
                directories.push((target, attributes));
            }
            Kind::Symlink => files::symlink(root, &target, entry.target(), &attributes)?,
            Kind::Hardlink => files::hard_link(root, &target, &base.join(entry.target()))?,
            Kind::Fifo => files::special(root, &target, Special::Fifo, &attributes)?,
            Kind::Char { major, minor } => {
                files::special(root, &target, Special::Char { major, minor }, &attributes)?;
            }
            Kind::Block { major, minor } => {
                files::special(root, &target, Special::Block { major, minor }, &attributes)?;
            }
            Kind::File => {
                let mut failure = None;
                let mut pour = |to: &mut std::fs::File| -> io::Result<u64> {
                    let mut written = 0;
                    loop {
                        match archive.next_chunk() {
                            Ok(Some(chunk)) => {
                                to.write_all(chunk)?;
                                written += chunk.len() as u64;
                            }
                            Ok(None) => return Ok(written),
                            Err(error) => {
                                failure = Some(error);
                                return Ok(written);
                            }
                        }
                    }
                };
                let written = files::file(root, &target, &mut pour, &attributes);
                if let Some(error) = failure {
                    return Err(fail(error));
                }
                written?;
            }
        }
    }
    for (path, attributes) in directories.iter().rev() {
        files::touch_directory(root, path, attributes)?;
    }
    Ok(())
}
