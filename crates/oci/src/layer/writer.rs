//! The archive writer.

use std::io::{Read, Write};

use super::{Entry, LayerError};

/// Appends the header blocks of `entry` to `out`: ustar, preceded by a pax header only where ustar cannot say it (long
/// names, large numbers, fractions of a second, extended attributes). Equal entries give equal bytes. [`Entry::class`] is
/// not looked at: a whiteout is a file named as one. Directories get a trailing slash.
pub fn encode_header(entry: &Entry, out: &mut Vec<u8>) {
    let _ = (entry, out);
    todo!()
}

/// The zeros that follow a payload of `size` bytes.
pub fn padding(size: u64) -> &'static [u8] {
    &[0; 512][..(size.wrapping_neg() % 512) as usize]
}

/// Writes entries one after another, as the caller ordered them.
pub struct TarWriter<W: Write> {
    _output: W,
}

impl<W: Write> TarWriter<W> {
    pub fn new(output: W) -> Self {
        Self { _output: output }
    }

    /// Appends `entry` with exactly [`Entry::size`] bytes of `payload` (files only; others ignore it).
    pub fn entry(&mut self, entry: &Entry, payload: &mut dyn Read) -> Result<(), LayerError> {
        let _ = (entry, payload);
        todo!()
    }

    /// Writes the end-of-archive marker (two zero blocks) and gives the writer back.
    pub fn finish(self) -> Result<W, LayerError> {
        todo!()
    }
}
