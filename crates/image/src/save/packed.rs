//! Archives that are compressed as a whole, on all cores.

use std::io::{self, BufWriter, Write};
use std::thread;

use havre_oci::compression::{Pool, packed};

use super::output::Streamed;
use super::{Archive, COPY_BUFFER};
use crate::ImageError;
use crate::options::Packing;

/// Writes the compressed archive: one thread writes the tar into a pipe, this one what comes of it. The same images give the same
/// bytes.
pub(super) fn write(
    archive: Archive,
    packing: Packing,
    pool: &Pool,
    mut writer: impl Write,
) -> Result<(), ImageError> {
    let (read, write) = io::pipe().map_err(ImageError::Output)?;
    thread::scope(|scope| {
        let plain = scope.spawn(move || {
            let mut write = BufWriter::with_capacity(COPY_BUFFER, write);
            archive.write(Streamed(&mut write))?;
            write.flush().map_err(ImageError::Output)
        });
        let copied = packed(read, packing.compression, Some(packing.level), pool)
            .and_then(|mut packed| io::copy(&mut packed, &mut writer))
            .and_then(|_| writer.flush());
        // The pipe is closed by now: the other thread ends whatever it had still to write.
        let plain = plain.join().map_err(|_| ImageError::Interrupted)?;
        copied.map_err(ImageError::Output)?;
        plain
    })
}
