//! The contents of a file in a layer.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::time::Duration;

use havre_oci::layer::{self, LayerError, Limits};

use super::index::unpacked;

/// How long somebody may take to read a file.
const MAX_TIME: Duration = Duration::from_secs(3600);

/// Hands over the contents of an archive's entry (from 0), which is a file, piece by piece until there is enough of them.
pub(super) fn read(
    blob: impl Read + Send,
    entry: u64,
    most: u64,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), LayerError> {
    let limits = Limits {
        size: most,
        ..Default::default()
    };
    let mut reader = unpacked(blob, limits, MAX_TIME)?;
    let mut found = layer::Entry::default();
    for _ in 0..=entry {
        if !reader.next_entry(&mut found)? {
            let gone = io::Error::new(io::ErrorKind::UnexpectedEof, "the file is not there any more");
            return Err(LayerError::Read(gone));
        }
    }
    while let Some(piece) = reader.next_chunk()? {
        if each(piece).is_break() {
            break;
        }
    }
    Ok(())
}
