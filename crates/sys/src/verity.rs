//! fs-verity: files the kernel verifies block by block as they are read, and never lets anybody write to again
//! (Documentation/filesystems/fsverity.rst).

use std::fmt::Write as _;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use linux_raw_sys::ioctl::{FS_IOC_ENABLE_VERITY, FS_IOC_MEASURE_VERITY};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// `FS_VERITY_HASH_ALG_SHA256`
const SHA256: u16 = 1;
/// Bytes of file that one digest of the tree covers. Every kernel that has fs-verity takes the size of a page.
const BLOCK: u32 = 4096;
/// How often a file is tried that somebody still has open for writing: a child between fork and exec, for instance.
const ATTEMPTS: u32 = 20;

/// `struct fsverity_enable_arg`
#[repr(C)]
struct EnableArg {
    version: u32,
    hash_algorithm: u32,
    block_size: u32,
    salt_size: u32,
    salt_ptr: u64,
    sig_size: u32,
    reserved1: u32,
    sig_ptr: u64,
    reserved2: [u64; 11],
}

/// `struct fsverity_digest` with room for the longest digest.
#[repr(C)]
struct DigestArg {
    algorithm: u16,
    /// In: the room; out: the length.
    size: u16,
    digest: [u8; 64],
}

/// Makes `file` one that the kernel verifies: it hashes what the file holds now, and from then on a read of anything else is
/// an I/O error. It can no longer be written to, though still be renamed, linked and deleted. Nothing happens to a file that
/// is one already.
///
/// `EOPNOTSUPP` or `ENOTTY` where the file system, its configuration or the kernel has no fs-verity; `ETXTBSY` while somebody
/// has it open for writing.
pub fn enable(file: &Path) -> Result<(), Errno> {
    let file = open(file)?;
    let argument = EnableArg {
        version: 1,
        hash_algorithm: SHA256.into(),
        block_size: BLOCK,
        salt_size: 0,
        salt_ptr: 0,
        sig_size: 0,
        reserved1: 0,
        sig_ptr: 0,
        reserved2: [0; 11],
    };
    let mut attempts = 0;
    loop {
        // SAFETY: the kernel reads one fsverity_enable_arg, which lives through the call and names no other memory.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_ENABLE_VERITY.into(), &raw const argument) };
        match check(done) {
            Ok(()) | Err(Errno::EXIST) => return Ok(()),
            Err(Errno::TXTBSY | Errno::INTR | Errno::BUSY) if attempts < ATTEMPTS => {
                attempts += 1;
                std::thread::sleep(Duration::from_millis(5 * u64::from(attempts)));
            }
            Err(errno) => return Err(errno),
        }
    }
}

/// What the kernel holds the contents of `file` against, as `sha256:HEX` (of the tree of digests, not of the contents);
/// nothing if it doesn't verify them.
pub fn measure(file: &Path) -> Result<Option<String>, Errno> {
    let file = open(file)?;
    let mut argument = DigestArg {
        algorithm: 0,
        size: 64,
        digest: [0; 64],
    };
    // SAFETY: the kernel writes one fsverity_digest with as much digest as `size` allows, which is the room there is.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_MEASURE_VERITY.into(), &raw mut argument) };
    match check(done) {
        Ok(()) => {}
        // Of a file system that could, and of one that couldn't.
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOTTY) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    let mut text = match argument.algorithm {
        SHA256 => "sha256:".to_owned(),
        other => format!("fsverity-{other}:"),
    };
    let length = usize::from(argument.size).min(argument.digest.len());
    for byte in &argument.digest[..length] {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(Some(text))
}

fn open(file: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(
        file,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// ioctl(2)'s answer.
fn check(result: libc::c_int) -> Result<(), Errno> {
    if result >= 0 {
        return Ok(());
    }
    let errno = std::io::Error::last_os_error().raw_os_error();
    Err(errno.map_or(Errno::IO, Errno::from_raw_os_error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;

    #[test]
    fn the_structures_have_the_kernels_sizes() {
        // The sizes are part of the requests' numbers (ioctl.h: bits 16 to 29).
        let size = |request: u32| (request >> 16 & 0x3fff) as usize;
        assert_eq!(size(FS_IOC_ENABLE_VERITY), size_of::<EnableArg>());
        // Without the digest, whose length varies.
        assert_eq!(size(FS_IOC_MEASURE_VERITY), size_of::<DigestArg>() - 64);
    }

    /// In temporary directories of file systems with and without it: either everything works or nothing changes.
    #[test]
    fn a_file_is_verified_or_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let contents = vec![7; 100_000];
        fs::write(&path, &contents).unwrap();
        assert_eq!(measure(&path), Ok(None));
        match enable(&path) {
            Ok(()) => {
                let measured = measure(&path).unwrap().unwrap();
                assert!(
                    measured.starts_with("sha256:") && measured.len() == 71,
                    "{measured}"
                );
                assert_eq!(enable(&path), Ok(()), "again");
                assert!(fs::OpenOptions::new().write(true).open(&path).is_err());
            }
            Err(errno) => {
                assert!(matches!(errno, Errno::OPNOTSUPP | Errno::NOTTY), "{errno}");
                assert_eq!(measure(&path), Ok(None));
                fs::OpenOptions::new().write(true).open(&path).unwrap();
            }
        }
        assert_eq!(fs::read(&path).unwrap(), contents);
    }

    #[test]
    fn a_file_that_is_not_there() {
        let path = Path::new("/nonexistent/file");
        assert_eq!(enable(path), Err(Errno::NOENT));
        assert_eq!(measure(path), Err(Errno::NOENT));
    }
}
