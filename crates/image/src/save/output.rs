//! Where an archive goes, and the tar that is written there.

use std::fs::File;
use std::io::{self, Read, Write};

use havre_store::LayerTar;
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::COPY_BUFFER;

/// What the kernel copies at once, in bytes: as long, nobody asks whether it is still wanted.
const SPLICE: usize = 64 << 20;

/// Where an archive goes.
pub(super) trait Output: Write {
    /// Takes so many bytes of a file from `offset` on without their passing through here, if it can.
    fn splice(&mut self, source: &File, offset: u64, size: u64) -> io::Result<bool>;
}

/// Anything that takes bytes.
pub(super) struct Streamed<W>(pub(super) W);

/// A file on this machine, which the kernel copies into.
pub(super) struct Filed {
    pub(super) file: File,
    pub(super) cancel: CancellationToken,
}

impl Filed {
    fn check(&self) -> io::Result<()> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("nobody waits for the archive any more"));
        }
        Ok(())
    }
}

impl<W: Write> Write for Streamed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Output for Streamed<W> {
    fn splice(&mut self, _: &File, _: u64, _: u64) -> io::Result<bool> {
        Ok(false)
    }
}

impl Write for Filed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Output for Filed {
    fn splice(&mut self, source: &File, mut offset: u64, size: u64) -> io::Result<bool> {
        let end = offset + size;
        while offset < end {
            self.check()?;
            let want = usize::try_from(end - offset).map_or(SPLICE, |left| left.min(SPLICE));
            match rustix::fs::copy_file_range(source, Some(&mut offset), &self.file, None, want) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                // Two kinds of file systems, or one that can't: said at the first piece, when nothing is written.
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) if offset + size == end => {
                    return Ok(false);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(true)
    }
}

/// A tar of files and directories with nothing in their headers that changes.
pub(super) struct Tar<W> {
    writer: W,
    buffer: Vec<u8>,
}

impl<W: Output> Tar<W> {
    pub(super) fn new(writer: W) -> Self {
        Self {
            writer,
            buffer: vec![0; COPY_BUFFER],
        }
    }

    fn header(&mut self, name: &str, kind: tar::EntryType, mode: u32, size: u64) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_path(name)?;
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.writer.write_all(header.as_bytes())
    }

    pub(super) fn directory(&mut self, name: &str) -> io::Result<()> {
        self.header(name, tar::EntryType::Directory, 0o755, 0)
    }

    pub(super) fn file(&mut self, name: &str, size: u64, reader: impl Read) -> io::Result<()> {
        self.header(name, tar::EntryType::Regular, 0o644, size)?;
        self.contents(name, size, reader)
    }

    fn contents(&mut self, name: &str, size: u64, mut reader: impl Read) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let want = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = reader.read(&mut self.buffer[..want])?;
            if count == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("{name} is shorter than {size} bytes"),
                ));
            }
            self.writer.write_all(&self.buffer[..count])?;
            left -= count as u64;
        }
        self.pad(size)
    }

    pub(super) fn layer(&mut self, name: &str, size: u64, tar: LayerTar) -> io::Result<()> {
        self.header(name, tar::EntryType::Regular, 0o644, size)?;
        if let Some(range) = tar.range()
            && range.len == size
            && self.writer.splice(range.file, range.offset, size)?
        {
            return self.pad(size);
        }
        self.contents(name, size, tar)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = (512 - size % 512) % 512;
        self.writer
            .write_all(&[0; 512][..usize::try_from(padding).unwrap_or(0)])
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.writer.write_all(&[0; 1024])?;
        self.writer.flush()
    }
}
