//! Metadata is read in large pieces, of which a few are kept: inodes and directories lie in different places.

use std::cell::RefCell;
use std::io;

use super::{Source, Wrong};

const PIECE: u64 = 64 << 10;
const PIECES: usize = 4;

#[derive(Debug)]
struct Piece {
    /// Offset in the image.
    start: u64,
    bytes: Vec<u8>,
}

/// An image of `end` bytes.
#[derive(Debug)]
pub(super) struct Window<'s, S: ?Sized> {
    source: &'s S,
    end: u64,
    /// The one used last is last.
    pieces: RefCell<Vec<Piece>>,
}

impl<'s, S: Source + ?Sized> Window<'s, S> {
    pub(super) fn new(source: &'s S, end: u64) -> Self {
        Self {
            source,
            end,
            pieces: RefCell::new(Vec::new()),
        }
    }

    /// Whether these bytes are in the image.
    pub(super) fn holds(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.end)
    }

    /// Fills `buffer` with the bytes at `offset`.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Wrong> {
        if !self.holds(offset, buffer.len() as u64) {
            return Err(Wrong::Is("lies beyond the end of the image"));
        }
        let (mut offset, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let within = (offset % PIECE) as usize;
            let len = rest.len().min(PIECE as usize - within);
            let (now, later) = rest.split_at_mut(len);
            self.piece(offset - within as u64, |bytes| {
                now.copy_from_slice(&bytes[within..within + len]);
            })
            .map_err(Wrong::Read)?;
            offset += len as u64;
            rest = later;
        }
        Ok(())
    }

    fn piece(&self, start: u64, copy: impl FnOnce(&[u8])) -> io::Result<()> {
        let mut pieces = self.pieces.borrow_mut();
        let piece = match pieces.iter().position(|piece| piece.start == start) {
            Some(at) => pieces.remove(at),
            None => {
                let mut bytes = if pieces.len() < PIECES {
                    Vec::new()
                } else {
                    pieces.remove(0).bytes
                };
                bytes.resize((self.end - start).min(PIECE) as usize, 0);
                self.source.read_exact_at(&mut bytes, start)?;
                Piece { start, bytes }
            }
        };
        copy(&piece.bytes);
        pieces.push(piece);
        Ok(())
    }
}
