//! The archive reader.

use std::io::{self, Read};

use super::{Entry, LayerError, Limits};

/// A piece of the archive, see the [module](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    Raw(&'a [u8]),
    Payload { len: u64 },
}

/// Reads entries from an uncompressed archive, reporting its segments to `record`.
pub struct Reader<R, F> {
    _input: R,
    _record: F,
}

impl<R: Read, F: FnMut(Segment<'_>) -> io::Result<()>> Reader<R, F> {
    /// Reads `input` in large pieces; it needs no buffer of its own.
    pub fn new(input: R, limits: Limits, record: F) -> Self {
        let _ = limits;
        Self {
            _input: input,
            _record: record,
        }
    }

    /// Moves on to the next entry, skipping what was not read of the current one's payload. `false` at the end.
    pub fn next_entry(&mut self, entry: &mut Entry) -> Result<bool, LayerError> {
        let _ = entry;
        todo!()
    }

    /// The next piece of the current entry's payload, borrowed from the reader's buffer; `None` when it is complete.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, LayerError> {
        todo!()
    }

    /// How many bytes of the archive were consumed.
    pub fn position(&self) -> u64 {
        todo!()
    }

    /// Reads what follows the last entry, to the end of the input, and gives the input back with the archive's length.
    pub fn finish(self) -> Result<(R, u64), LayerError> {
        todo!()
    }
}
