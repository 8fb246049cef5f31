//! Compression of layers and archives: recognised by content, bounded when undone.

use std::io::{self, Read, Write};

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
    /// Only undone, never made: `docker load`, `docker import` and `ADD` take it.
    Bzip2,
    /// Only undone, never made.
    Xz,
}

/// How many first bytes [`Compression::detect`] wants to see.
pub const DETECT_LEN: usize = 6;

/// How much may come out of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in total.
    pub output: u64,
    /// Bytes out per byte in, checked once more than [`ratio_from`](Self::ratio_from) bytes came out.
    pub ratio: u64,
    pub ratio_from: u64,
}

impl Default for Limits {
    /// 1 TiB in total; 200 times the input once past 128 MiB. Real layers stay below 30.
    fn default() -> Self {
        Self {
            output: 1 << 40,
            ratio: 200,
            ratio_from: 128 << 20,
        }
    }
}

/// Why a decoder stopped. It travels inside [`io::Error`]; [`CompressionError::of`] finds it there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    #[error("decompressed data exceeds the limit of {limit} bytes")]
    Output { limit: u64 },
    #[error(
        "decompressed data is more than {limit} times its compressed size: refusing a decompression bomb"
    )]
    Ratio { limit: u64 },
    #[error("cannot compress as {0:?}")]
    EncodeUnsupported(Compression),
}

impl CompressionError {
    /// The typed cause inside an I/O error of a decoder, if it is one of ours.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl Compression {
    /// Recognises the compression of what starts with `head` (give at least [`DETECT_LEN`] bytes if there are as many).
    pub fn detect(head: &[u8]) -> Self {
        let _ = head;
        todo!()
    }
}

/// Undoes `compression`. Reads with large buffers of its own; read from it in large pieces.
pub fn decoder<'a, R: Read + Send + 'a>(
    reader: R,
    compression: Compression,
    limits: Limits,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let _ = (reader, compression, limits);
    todo!()
}

/// Looks at the first bytes and undoes what they show.
pub fn detecting_decoder<'a, R: Read + Send + 'a>(
    reader: R,
    limits: Limits,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let _ = (reader, limits);
    todo!()
}

/// A compressing writer; [`finish`](Self::finish) must be called. The same input gives the same output.
pub struct Encoder<W: Write>(std::marker::PhantomData<W>);

/// Compresses what is written, at `level` or the format's default.
pub fn encoder<W: Write>(writer: W, compression: Compression, level: Option<i32>) -> io::Result<Encoder<W>> {
    let _ = (writer, compression, level);
    todo!()
}

impl<W: Write> Encoder<W> {
    /// Writes what is left and gives the writer back.
    pub fn finish(self) -> io::Result<W> {
        todo!()
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = bytes;
        todo!()
    }

    fn flush(&mut self) -> io::Result<()> {
        todo!()
    }
}
