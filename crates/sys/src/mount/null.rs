//! A null device of one's own.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, fchmod, makedev, mknodat, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};

/// A null device, open for reading and writing, that is nowhere else: who gives it to somebody gives away nothing of the
/// machine's `/dev/null`. Needs Linux 5.2.
pub fn null_device() -> Result<OwnedFd, Errno> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "mode", "700")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let everybody = Mode::from_raw_mode(0o666);
    mknodat(&root, "null", FileType::CharacterDevice, everybody, makedev(1, 3))?;
    let device = openat(&root, "null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // Whatever the umask took.
    fchmod(&device, everybody)?;
    Ok(device)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::{MetadataExt as _, fchown};

    use super::*;

    #[test]
    fn it_is_a_null_device_and_nobody_elses() {
        let mut device = File::from(null_device().unwrap());
        let machines = fs_err::metadata("/dev/null").unwrap();
        assert_eq!(device.metadata().unwrap().rdev(), machines.rdev());
        device.write_all(b"gone").unwrap();
        let mut read = Vec::new();
        device.read_to_end(&mut read).unwrap();
        assert!(read.is_empty());
        fchown(&device, Some(5), Some(6)).unwrap();
        let after = fs_err::metadata("/dev/null").unwrap();
        assert_eq!((after.uid(), after.gid()), (machines.uid(), machines.gid()));
        assert_eq!(device.metadata().unwrap().uid(), 5);
    }
}
