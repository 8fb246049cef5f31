//! A posted tar becomes a tree to copy from.

use std::io::{self, Read};
use std::path::Path;

use havre_store::{ApplyError, Store};

use super::unpack::{plain, unpack_plain};
use super::{Context, ContextError, Limits};

/// Takes the tar a client posts (plain, gzip or zstd; detected) as it comes: one file with an index of its entries, mounted
/// as a file system, so that not a file is made for an entry. Where the store's layers are directories it is unpacked into
/// one beneath `scratch`. Devices and fifos are refused; owners and extended attributes are dropped, since nothing of a
/// context keeps them. Blocking.
pub fn receive(
    reader: impl Read + Send,
    store: &Store,
    scratch: &Path,
    limits: &Limits,
) -> Result<Context, ContextError> {
    let mut stream = plain(reader, limits)?;
    let bounds = havre_store::Limits {
        tar_size: limits.bytes,
        entries: limits.entries,
    };
    match store.layers().spool(&mut stream, &bounds) {
        Ok(Some(spool)) => Context::spooled(spool),
        Ok(None) => unpack_plain(stream, scratch, limits),
        Err(ApplyError::Read(error)) => Err(error.into()),
        Err(ApplyError::Entry { path, source }) if source.kind() == io::ErrorKind::Unsupported => {
            Err(ContextError::Special { path })
        }
        Err(ApplyError::Entry { path, source }) => {
            Err(io::Error::new(source.kind(), format!("{path}: {source}")).into())
        }
        Err(error) => Err(ContextError::Spool(error)),
    }
}
