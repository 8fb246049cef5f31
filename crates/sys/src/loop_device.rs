//! Loop devices: a file as a read-only block device (loop(4)).

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux_raw_sys::loop_device::{
    LO_FLAGS_AUTOCLEAR, LO_FLAGS_DIRECT_IO, LO_FLAGS_READ_ONLY, LOOP_CONFIGURE, LOOP_CTL_GET_FREE,
    loop_config,
};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// How often a device that somebody else took first is given up for the next one.
const ATTEMPTS: usize = 64;

/// A device that shows a file. It goes when this value is dropped and nothing is mounted from it any more.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    path: PathBuf,
    _device: OwnedFd,
}

impl LoopDevice {
    /// Attaches `file` read-only, with logical blocks of 512 bytes, so that file systems with blocks of any size mount. The
    /// file is read past the page cache where its file system allows that; the device's own cache is enough.
    pub(crate) fn attach(file: &Path) -> Result<Self, Errno> {
        let open = |path: &Path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        let backing = open(file, OFlags::RDONLY)?;
        let control = open(Path::new("/dev/loop-control"), OFlags::RDWR)?;
        let mut failure = Errno::BUSY;
        for _ in 0..ATTEMPTS {
            // SAFETY: LOOP_CTL_GET_FREE takes no argument and touches no memory of ours.
            let number = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE.into()) })?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = open(&path, OFlags::RDONLY)?;
            let config = configuration(&backing, file);
            // SAFETY: the kernel reads one loop_config, which lives through the call.
            let done = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE.into(), &raw const config) };
            match check(done) {
                Ok(_) => {
                    return Ok(Self {
                        path,
                        _device: device,
                    });
                }
                Err(Errno::BUSY) => failure = Errno::BUSY,
                Err(errno) => return Err(errno),
            }
        }
        Err(failure)
    }

    /// Its node in `/dev`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn configuration(backing: &OwnedFd, file: &Path) -> loop_config {
    // SAFETY: integers and arrays of them; zero is every field's "not used".
    let mut config: loop_config = unsafe { std::mem::zeroed() };
    config.fd = backing.as_raw_fd().unsigned_abs();
    config.block_size = 512;
    config.info.lo_flags = LO_FLAGS_READ_ONLY as u32 | LO_FLAGS_AUTOCLEAR as u32 | LO_FLAGS_DIRECT_IO as u32;
    // For people who look at `losetup`; the last byte stays zero.
    let name = file.as_os_str().as_encoded_bytes();
    for (place, byte) in config.info.lo_file_name[..63].iter_mut().zip(name) {
        *place = *byte;
    }
    config
}

/// ioctl(2)'s answer.
fn check(result: libc::c_int) -> Result<libc::c_int, Errno> {
    if result < 0 {
        let errno = std::io::Error::last_os_error().raw_os_error();
        return Err(errno.map_or(Errno::IO, Errno::from_raw_os_error));
    }
    Ok(result)
}
