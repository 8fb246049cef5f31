//! Files that appear whole or not at all.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fs_err as fs;

/// Writes `bytes` aside, syncs them, and renames the file to `path`; then syncs the directory. Readers see the old or the
/// new content, also after a power cut. `mode` as of chmod.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let parent = replace(path, bytes, mode, true)?;
    fs::File::open(parent)?.sync_all()
}

/// As [`write()`], but without waiting for the disk: whole or not at all after a crash of the process.
pub fn write_relaxed(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, bytes, mode, false).map(drop)
}

fn replace<'p>(path: &'p Path, bytes: &[u8], mode: u32, sync: bool) -> io::Result<&'p Path> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let naming = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("failed to write `{}`: {error}", path.display()),
        )
    };
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempfile_in(parent)
        .map_err(naming)?;
    file.write_all(bytes).map_err(naming)?;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(mode))
        .map_err(naming)?;
    if sync {
        rustix::fs::fsync(file.as_file().as_fd()).map_err(|errno| naming(errno.into()))?;
    }
    file.persist(path).map_err(|failed| naming(failed.error))?;
    Ok(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_content_and_mode_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, b"old", 0o600).unwrap();
        write_relaxed(&path, b"new", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = write(&dir.path().join("missing/file"), b"", 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("missing/file"), "{error}");
    }
}
