//! One piece of a stream, compressed by itself: the same input gives the same bytes on whichever thread, at whatever time.

use std::io;
use std::ops::Range;

use crc32fast::Hasher;
use flate2::{Compress, FlushCompress};

use super::fast::{Fast, ROOM};

/// Deflate looks back this far: every piece but the first knows the last bytes of the one before it.
pub(super) const WINDOW: usize = 32 << 10;

/// The level at which speed counts: of our own making.
const FAST: u32 = 1;

/// What a piece becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// Deflate blocks that end on a byte boundary and are not the last ones; level 0 to 9.
    Deflate(u32),
    /// A zstd frame; level 1 to 19.
    Zstd(i32),
}

impl Form {
    /// What the memory of an input has at least.
    pub(super) fn room(self) -> usize {
        match self {
            Form::Deflate(FAST) => ROOM,
            _ => 0,
        }
    }
}

/// A compressed piece.
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    /// CRC-32 of the input, for deflate.
    pub(super) crc: Hasher,
    /// Bytes of the input without the window.
    pub(super) size: usize,
    /// The input's memory, to be used again.
    pub(super) input: Vec<u8>,
}

/// The compressors a thread keeps.
#[derive(Default)]
pub(super) struct Coders {
    fast: Option<Fast>,
    zstd: Option<(i32, zstd::bulk::Compressor<'static>)>,
}

impl Coders {
    /// Compresses the part of `input` that is the piece; what is before it is the window. `bytes` is memory to use for the output.
    pub(super) fn piece(
        &mut self,
        form: Form,
        input: Vec<u8>,
        Range { start, end }: Range<usize>,
        mut bytes: Vec<u8>,
    ) -> io::Result<Piece> {
        let mut crc = Hasher::new();
        let size = end - start;
        bytes.clear();
        match form {
            Form::Deflate(level) => {
                crc.update(&input[start..end]);
                if level == FAST {
                    let fast = self.fast.get_or_insert_default();
                    let room = input.first_chunk().ok_or(io::ErrorKind::InvalidInput)?;
                    fast.piece(room, start, end, &mut bytes);
                    return Ok(Piece {
                        bytes,
                        crc,
                        size,
                        input,
                    });
                }
                deflate(level, &input[..start], &input[start..end], &mut bytes)?;
            }
            Form::Zstd(level) => self.zstd(level, &input[start..end], &mut bytes)?,
        }
        Ok(Piece {
            bytes,
            crc,
            size,
            input,
        })
    }

    fn zstd(&mut self, level: i32, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if self.zstd.as_ref().is_none_or(|(of, _)| *of != level) {
            let mut coder = zstd::bulk::Compressor::new(level)?;
            coder.include_checksum(true)?;
            self.zstd = Some((level, coder));
        }
        let Some((_, coder)) = &mut self.zstd else {
            unreachable!("it was just made")
        };
        out.reserve(zstd::zstd_safe::compress_bound(input.len()));
        coder.compress_to_buffer(input, out)?;
        Ok(())
    }
}

/// A compressor of its own: one that is reset remembers enough of what it did before to choose other matches.
fn deflate(level: u32, window: &[u8], input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut coder = Compress::new(flate2::Compression::new(level), false);
    if !window.is_empty() {
        coder.set_dictionary(window)?;
    }
    out.reserve(input.len() + input.len() / 8 + 64);
    loop {
        let taken = usize::try_from(coder.total_in()).map_err(io::Error::other)?;
        coder.compress_vec(&input[taken..], out, FlushCompress::Sync)?;
        // Room left over means that nothing waits inside.
        if out.len() < out.capacity() {
            return Ok(());
        }
        out.reserve(64 << 10);
    }
}
