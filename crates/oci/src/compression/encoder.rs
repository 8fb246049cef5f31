//! Compressing writers.

use std::io::{self, Write};

use flate2::write::GzEncoder;

use super::{Compression, CompressionError};

/// A compressing writer; [`finish`](Self::finish) must be called. The same input, in whatever pieces, gives the same
/// output: gzip headers carry no time and no name.
pub struct Encoder<W: Write>(Format<W>);

enum Format<W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

/// The middle of gzip's scale; what Docker and the `gzip` tool use.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// Compresses what is written, at `level` (clamped to the format's scale) or the format's default. Fails for formats that
/// are only read ([`CompressionError::EncodeUnsupported`]).
pub fn encoder<W: Write>(writer: W, compression: Compression, level: Option<i32>) -> io::Result<Encoder<W>> {
    Ok(Encoder(match compression {
        Compression::None => Format::None(writer),
        Compression::Gzip => {
            let level = level.map_or(GZIP_LEVEL, |level| level.clamp(0, 9).unsigned_abs());
            Format::Gzip(flate2::GzBuilder::new().write(writer, flate2::Compression::new(level)))
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(writer, level.unwrap_or(ZSTD_LEVEL))?;
            encoder.include_checksum(true)?;
            Format::Zstd(encoder)
        }
        other @ (Compression::Bzip2 | Compression::Xz) => {
            return Err(CompressionError::EncodeUnsupported(other).into());
        }
    }))
}

impl<W: Write> Encoder<W> {
    /// Writes what is left and gives the writer back.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Format::None(writer) => Ok(writer),
            Format::Gzip(encoder) => encoder.finish(),
            Format::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Format::None(writer) => writer.write(bytes),
            Format::Gzip(encoder) => encoder.write(bytes),
            Format::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Format::None(writer) => writer.flush(),
            Format::Gzip(encoder) => encoder.flush(),
            Format::Zstd(encoder) => encoder.flush(),
        }
    }
}
