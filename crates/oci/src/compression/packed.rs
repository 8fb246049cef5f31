//! A stream compressed on several threads.
//!
//! ```text
//! reader ─ pieces of fixed size ─► pool (each by itself) ─ in order ─► one gzip member, or zstd frames and their table
//! ```
//! Piece sizes are constants, so the output depends on input, format and level alone, not on cores or timing.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, sync_channel};

use crc32fast::Hasher;

use super::piece::{Form, Piece, WINDOW};
use super::pool::Pool;
use super::{Compression, CompressionError};

/// Input of one deflate piece. A smaller one costs ratio, a larger one memory: this loses under 1 % to no pieces at all.
const DEFLATE_PIECE: usize = 768 << 10;
/// Input of one zstd frame: nothing is looked up across frames, so they are larger.
const ZSTD_PIECE: usize = 2 << 20;

/// RFC 1952 section 2.3: deflate, no name, no time, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// RFC 1951: a last block with fixed codes that holds nothing but its end.
const DEFLATE_END: [u8; 2] = [3, 0];

/// RFC 8878 section 3.1.2 and the seekable format of zstd's contrib directory: the frame that holds the table of frames.
const SEEK_TABLE_MAGIC: u32 = 0x184d_2a5e;
const SEEK_FOOTER_MAGIC: u32 = 0x8f92_eab1;

/// The middle of gzip's scale, as the `gzip` tool has it.
const GZIP_LEVEL: i32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// The compressed form of `reader`, as a reader.
///
/// gzip gives one member, zstd frames of 2 MiB with a table of them at the end (zstd's seekable format, which other decoders
/// pass over). The bytes depend on the input, the format and the level alone. Memory: about two pieces (1 MiB for gzip,
/// 2 MiB for zstd) per thread of the pool, and two more.
pub struct Packed<R> {
    reader: R,
    pool: Pool,
    form: Form,
    /// Pieces on their way, the oldest first.
    pieces: VecDeque<Receiver<io::Result<Piece>>>,
    /// Buffers to use again.
    inputs: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
    /// The end of the last piece's input.
    window: Vec<u8>,
    state: State,
    current: Vec<u8>,
    position: usize,
    crc: Hasher,
    /// Bytes of the input, modulo 2^32 (RFC 1952 section 2.3.1).
    amount: u32,
    /// Compressed and uncompressed size of each zstd frame.
    frames: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    /// The reader has more.
    Reading,
    /// The reader ended, pieces are on their way.
    Draining,
    Ended,
}

/// Compresses what `reader` gives on the threads of `pool`, at `level` (clamped: gzip 0 to 9, zstd 1 to 19) or the format's
/// own. Only gzip and zstd are made ([`CompressionError::EncodeUnsupported`]).
pub fn packed<R: Read>(
    reader: R,
    compression: Compression,
    level: Option<i32>,
    pool: &Pool,
) -> io::Result<Packed<R>> {
    let form = match compression {
        Compression::Gzip => Form::Deflate(level.unwrap_or(GZIP_LEVEL).clamp(0, 9).unsigned_abs()),
        Compression::Zstd => Form::Zstd(level.unwrap_or(ZSTD_LEVEL).clamp(1, 19)),
        other => return Err(CompressionError::EncodeUnsupported(other).into()),
    };
    Ok(Packed {
        reader,
        pool: pool.clone(),
        form,
        pieces: VecDeque::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        window: Vec::new(),
        state: State::Begin,
        current: Vec::new(),
        position: 0,
        crc: Hasher::new(),
        amount: 0,
        frames: Vec::new(),
    })
}

impl<R: Read> Packed<R> {
    /// Gives a piece to the pool; at the end of the input, none.
    fn submit(&mut self) -> io::Result<()> {
        let mut input = self.inputs.pop().unwrap_or_default();
        let start = self.window.len();
        let size = match self.form {
            Form::Deflate(_) => DEFLATE_PIECE,
            Form::Zstd(_) => ZSTD_PIECE,
        };
        // Memory that was used before is neither cleared nor grown.
        input.resize((start + size).max(self.form.room()), 0);
        input[..start].copy_from_slice(&self.window);
        let read = fill(&mut self.reader, &mut input[start..start + size])?;
        let end = start + read;
        if read < size {
            self.state = State::Draining;
        }
        if read == 0 {
            return Ok(());
        }
        if matches!(self.form, Form::Deflate(_)) {
            self.window.clear();
            self.window
                .extend_from_slice(&input[end.saturating_sub(WINDOW)..end]);
        }
        let output = self.outputs.pop().unwrap_or_default();
        let (sender, receiver) = sync_channel(1);
        let form = self.form;
        self.pool.submit(Box::new(move |coders| {
            // Nobody waits for it when the stream was dropped.
            let _ = sender.send(coders.piece(form, input, start..end, output));
        }));
        self.pieces.push_back(receiver);
        Ok(())
    }

    /// The next compressed bytes into `current`.
    fn advance(&mut self) -> io::Result<()> {
        if self.state == State::Begin {
            self.state = State::Reading;
            if matches!(self.form, Form::Deflate(_)) {
                self.current.extend_from_slice(&GZIP_HEADER);
            }
        }
        while self.state == State::Reading && self.pieces.len() <= self.pool.threads() {
            self.submit()?;
        }
        let Some(receiver) = self.pieces.pop_front() else {
            self.state = State::Ended;
            self.end();
            return Ok(());
        };
        let piece = receiver
            .recv()
            .map_err(|_| io::Error::other("a compressing thread ended"))??;
        match self.form {
            Form::Deflate(_) => {
                self.crc.combine(&piece.crc);
                self.amount = self.amount.wrapping_add(piece.size as u32);
            }
            // Both are below 4 GiB by the size of pieces.
            Form::Zstd(_) => self.frames.push((piece.bytes.len() as u32, piece.size as u32)),
        }
        self.inputs.push(piece.input);
        if self.current.is_empty() {
            self.outputs
                .push(std::mem::replace(&mut self.current, piece.bytes));
        } else {
            self.current.extend_from_slice(&piece.bytes);
            self.outputs.push(piece.bytes);
        }
        Ok(())
    }

    fn end(&mut self) {
        match self.form {
            Form::Deflate(_) => {
                self.current.extend_from_slice(&DEFLATE_END);
                self.current
                    .extend_from_slice(&self.crc.clone().finalize().to_le_bytes());
                self.current.extend_from_slice(&self.amount.to_le_bytes());
            }
            Form::Zstd(_) => {
                let out = &mut self.current;
                let count = self.frames.len() as u32;
                out.extend_from_slice(&SEEK_TABLE_MAGIC.to_le_bytes());
                out.extend_from_slice(&(count * 8 + 9).to_le_bytes());
                for (compressed, plain) in &self.frames {
                    out.extend_from_slice(&compressed.to_le_bytes());
                    out.extend_from_slice(&plain.to_le_bytes());
                }
                out.extend_from_slice(&count.to_le_bytes());
                out.push(0);
                out.extend_from_slice(&SEEK_FOOTER_MAGIC.to_le_bytes());
            }
        }
    }
}

impl<R: Read> BufRead for Packed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.position == self.current.len() && self.state != State::Ended {
            self.current.clear();
            self.position = 0;
            self.advance()?;
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount;
    }
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buf)?;
        self.consume(length);
        Ok(length)
    }
}

/// Reads until `buf` is full or the reader ends; how many bytes it got.
fn fill(reader: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match reader.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl<R> std::fmt::Debug for Packed<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Packed")
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}
