//! Times of directories, which are set when nothing more is made in them.

use std::io::{self, BufReader, ErrorKind, Read, Seek, Write};
use std::path::Path;

use rustix::fs::Timespec;
use tempfile::SpooledTempFile;

/// Bytes kept in memory; more are in a file without a name.
const IN_MEMORY: usize = 1 << 20;

/// Paths and times, in the order they came.
pub(super) struct Times(SpooledTempFile);

impl Times {
    /// What doesn't fit into memory goes into the directory `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        Self(SpooledTempFile::new_in(IN_MEMORY, dir))
    }

    pub(super) fn push(&mut self, path: &[u8], time: Timespec) -> io::Result<()> {
        let mut record = Vec::with_capacity(20 + path.len());
        record.extend_from_slice(&time.tv_sec.to_le_bytes());
        record.extend_from_slice(&time.tv_nsec.to_le_bytes());
        record.extend_from_slice(&(path.len() as u32).to_le_bytes());
        record.extend_from_slice(path);
        self.0.write_all(&record)
    }

    /// Calls `each` for all of them.
    pub(super) fn replay(mut self, mut each: impl FnMut(&[u8], Timespec)) -> io::Result<()> {
        self.0.rewind()?;
        let mut input = BufReader::with_capacity(64 << 10, self.0);
        let mut path = Vec::new();
        loop {
            let mut seconds = [0; 8];
            match input.read_exact(&mut seconds) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
            let mut nanoseconds = [0; 8];
            input.read_exact(&mut nanoseconds)?;
            let mut length = [0; 4];
            input.read_exact(&mut length)?;
            path.resize(u32::from_le_bytes(length) as usize, 0);
            input.read_exact(&mut path)?;
            let time = Timespec {
                tv_sec: i64::from_le_bytes(seconds),
                tv_nsec: i64::from_le_bytes(nanoseconds),
            };
            each(&path, time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_come_back_in_order_from_memory_and_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        for count in [0, 3, 100_000_i64] {
            let mut times = Times::new(dir.path());
            let path = |n: i64| format!("some/dir-{n}").into_bytes();
            for n in 0..count {
                let time = Timespec {
                    tv_sec: -n,
                    tv_nsec: n,
                };
                times.push(&path(n), time).unwrap();
            }
            let mut seen = 0;
            let replayed = times.replay(|there, time| {
                assert_eq!((there, time.tv_sec, time.tv_nsec), (&*path(seen), -seen, seen));
                seen += 1;
            });
            replayed.unwrap();
            assert_eq!(seen, count);
            assert_eq!(dir.path().read_dir().unwrap().count(), 0);
        }
    }
}
