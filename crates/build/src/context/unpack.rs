//! A posted tar becomes a context directory.

use std::io::{self, Read};
use std::path::Path;

use havre_oci::compression::{self, Compression};
use havre_oci::layer::{self, Entry, Kind};
use havre_sys::rooted::Root;
use rustix::fs::FileType;

use super::{Context, ContextError, Limits, temporary};
use crate::files::{self, Attributes};

/// Unpacks the tar a client posts into a fresh directory beneath `scratch` (plain, gzip or zstd; detected). Paths
/// are resolved beneath the new directory, devices and fifos refused; owners and extended attributes are dropped,
/// since nothing of a context keeps them. Blocking.
pub fn unpack(reader: impl Read + Send, scratch: &Path, limits: &Limits) -> Result<Context, ContextError> {
    unpack_plain(plain(reader, limits)?, scratch, limits)
}

/// The tar in what a client posts.
pub(super) fn plain<'a>(
    mut reader: impl Read + Send + 'a,
    limits: &Limits,
) -> Result<impl Read + Send + 'a, ContextError> {
    let mut head = Vec::with_capacity(compression::DETECT_LEN);
    (&mut reader)
        .take(compression::DETECT_LEN as u64)
        .read_to_end(&mut head)?;
    let found = Compression::detect(&head);
    match found {
        Compression::Bzip2 => return Err(ContextError::Compression("bzip2")),
        Compression::Xz => return Err(ContextError::Compression("xz")),
        _ => {}
    }
    let bounds = compression::Limits {
        output: limits.bytes,
        ..compression::Limits::default()
    };
    Ok(compression::decoder(
        io::Cursor::new(head).chain(reader),
        found,
        bounds,
    )?)
}

pub(super) fn unpack_plain(
    stream: impl Read + Send,
    scratch: &Path,
    limits: &Limits,
) -> Result<Context, ContextError> {
    let owned = temporary(scratch)?;
    let root = Root::open(owned.path())?;
    let bounds = layer::Limits {
        entries: limits.entries,
        size: limits.bytes,
        ..layer::Limits::default()
    };
    let mut archive = layer::Reader::new(stream, bounds, |_| Ok(())).with_plain_names(true);
    let mut entry = Entry::default();
    let mut directories = Vec::new();
    while archive.next_entry(&mut entry)? {
        if entry.path.is_empty() {
            continue;
        }
        let path = entry.path();
        let attributes = Attributes {
            mode: entry.mode,
            uid: 0,
            gid: 0,
            mtime: (entry.mtime, entry.mtime_nanos),
            xattrs: Vec::new(),
        };
        match entry.kind {
            Kind::Dir => {
                files::directory(&root, path, &attributes, true)?;
                directories.push((path.to_path_buf(), attributes));
            }
            Kind::Symlink => files::symlink(&root, path, entry.target(), &attributes)?,
            Kind::Hardlink => files::hard_link(&root, path, entry.target())?,
            Kind::File => {
                let mut failure = None;
                let written = files::file(
                    &root,
                    path,
                    &mut |file| {
                        use std::io::Write as _;
                        let mut written = 0;
                        loop {
                            match archive.next_chunk() {
                                Ok(Some(chunk)) => {
                                    file.write_all(chunk)?;
                                    written += chunk.len() as u64;
                                }
                                Ok(None) => return Ok(written),
                                Err(error) => {
                                    failure = Some(error);
                                    return Ok(written);
                                }
                            }
                        }
                    },
                    &attributes,
                );
                if let Some(error) = failure {
                    return Err(error.into());
                }
                written?;
            }
            Kind::Char { .. } | Kind::Block { .. } | Kind::Fifo => {
                return Err(ContextError::Special {
                    path: path.display().to_string(),
                });
            }
        }
    }
    // Last: every file made in a directory changes its time.
    for (path, attributes) in directories.iter().rev() {
        // A later entry can have taken its place.
        let status = root.stat(path, false);
        if status.is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Directory) {
            files::touch_directory(&root, path, attributes)?;
        }
    }
    Context::owned(owned)
}
