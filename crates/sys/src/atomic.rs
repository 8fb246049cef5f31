//! Files that appear whole or not at all.

use std::io;
use std::path::Path;

/// Writes `bytes` aside, syncs them, and renames the file to `path`; then syncs the directory. Readers see the old or the
/// new content, also after a power cut. `mode` as of chmod.
pub fn write(_path: &Path, _bytes: &[u8], _mode: u32) -> io::Result<()> {
    todo!()
}

/// As [`write`], but without waiting for the disk: whole or not at all after a crash of the process.
pub fn write_relaxed(_path: &Path, _bytes: &[u8], _mode: u32) -> io::Result<()> {
    todo!()
}
