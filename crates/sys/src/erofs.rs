//! Mounts of EROFS images that are files.

use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::loop_device::LoopDevice;
use crate::mount::MountError;

/// How the kernel gets at an image's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// It reads the file itself (Linux 6.12 and later).
    File {
        /// Past the page cache of the file's own file system, so that nothing is cached twice (Linux 6.14 and later).
        direct: bool,
    },
    /// Through a loop device, which goes with the mount.
    Loop,
}

/// Mounts the EROFS image `image` read-only at the existing directory `target`. Device nodes in it are devices: where that
/// isn't wanted, what is stacked above must say so.
///
/// Nothing is tried in place of `backing`: a kernel that can't is an error.
pub fn mount(image: &Path, target: &Path, backing: Backing) -> Result<(), MountError> {
    let done = match backing {
        Backing::File { direct } => attach(image, target, direct),
        Backing::Loop => LoopDevice::attach(image).and_then(|device| attach(device.path(), target, false)),
    };
    done.map_err(|errno| MountError::new("mount an EROFS image at", target, errno))
}

fn attach(source: &Path, target: &Path, direct: bool) -> Result<(), Errno> {
    match attach_by_fsconfig(source, target, direct) {
        // No fsopen: before 5.2, or forbidden.
        Err(Errno::NOSYS | Errno::PERM) => attach_by_mount(source, target, direct),
        other => other,
    }
}

fn attach_by_fsconfig(source: &Path, target: &Path, direct: bool) -> Result<(), Errno> {
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // A path too long for fsconfig is named by its descriptor, which must stay until the superblock exists.
    let named = (source.as_os_str().len() > crate::mount::MAX_OPTION)
        .then(|| rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()))
        .transpose()?;
    match &named {
        None => fsconfig_set_string(&context, "source", source)?,
        Some(fd) => fsconfig_set_string(&context, "source", format!("/proc/self/fd/{}", fd.as_raw_fd()))?,
    }
    fsconfig_set_flag(&context, "ro")?;
    if direct {
        fsconfig_set_flag(&context, "directio")?;
    }
    fsconfig_create(&context)?;
    let mount = fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )?;
    move_mount(&mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn attach_by_mount(source: &Path, target: &Path, direct: bool) -> Result<(), Errno> {
    let options = if direct { c"directio" } else { c"" };
    rustix::mount::mount(source, target, "erofs", MountFlags::RDONLY, options)
}

#[cfg(test)]
mod tests {
    //! These mount, and make their images with mkfs.erofs: they need root and erofs-utils.
    use super::*;
    use crate::mount::{is_mount_point, unmount};
    use fs_err as fs;

    fn image(dir: &Path) -> std::path::PathBuf {
        let tree = dir.join("tree");
        fs::create_dir_all(tree.join("sub")).unwrap();
        fs::write(tree.join("sub/file"), "from the image").unwrap();
        let image = dir.join("image");
        let made = std::process::Command::new("mkfs.erofs")
            .args([&image, &tree])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        image
    }

    fn shows_the_file(mount: impl Fn(&Path, &Path)) {
        let dir = tempfile::tempdir().unwrap();
        let image = image(dir.path());
        let target = dir.path().join("target");
        fs::create_dir(&target).unwrap();
        mount(&image, &target);
        assert!(is_mount_point(&target).unwrap());
        assert_eq!(
            fs::read_to_string(target.join("sub/file")).unwrap(),
            "from the image"
        );
        let refused = fs::write(target.join("new"), "").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        unmount(&target, false).unwrap();
        assert!(!is_mount_point(&target).unwrap());
    }

    /// Whether this kernel mounts files, and whether past their page cache.
    fn mounts_files(direct: bool) -> bool {
        let uname = rustix::system::uname();
        let release = uname.release().to_str().unwrap();
        let mut numbers = release
            .split(['.', '-'])
            .map_while(|part| part.parse::<u32>().ok());
        (numbers.next(), numbers.next()) >= (Some(6), Some(if direct { 14 } else { 12 }))
    }

    #[test]
    fn a_file_is_mounted_directly() {
        for direct in [false, true].into_iter().filter(|direct| mounts_files(*direct)) {
            shows_the_file(|image, target| mount(image, target, Backing::File { direct }).unwrap());
        }
    }

    #[test]
    fn a_file_is_mounted_by_the_old_call() {
        for direct in [false, true].into_iter().filter(|direct| mounts_files(*direct)) {
            shows_the_file(|image, target| attach_by_mount(image, target, direct).unwrap());
        }
    }

    #[test]
    fn a_kernel_that_cannot_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let image = image(dir.path());
        for direct in [false, true].into_iter().filter(|direct| !mounts_files(*direct)) {
            mount(&image, dir.path(), Backing::File { direct }).unwrap_err();
        }
        assert!(!is_mount_point(dir.path()).unwrap());
    }

    /// The loop device that shows a file.
    fn loop_device_of(image: &Path) -> Option<std::path::PathBuf> {
        fs::read_dir("/sys/block").unwrap().find_map(|device| {
            let device = device.unwrap().path();
            let backing = fs::read_to_string(device.join("loop/backing_file")).ok()?;
            (Path::new(backing.trim()) == image).then_some(device)
        })
    }

    #[test]
    fn a_loop_device_goes_with_its_mount() {
        let dir = tempfile::tempdir().unwrap();
        let image = image(dir.path());
        let target = dir.path().join("target");
        fs::create_dir(&target).unwrap();
        mount(&image, &target, Backing::Loop).unwrap();
        assert!(target.join("sub/file").exists());
        assert!(loop_device_of(&image).is_some());
        // Lazily: a child of another test may still hold a copy of the mount's descriptor until it executes.
        unmount(&target, true).unwrap();
        // The kernel detaches it a moment after the last use.
        let gone = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            loop_device_of(&image).is_none()
        });
        assert!(gone, "the loop device is still attached");
    }

    #[test]
    fn long_paths_are_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(200)).join("y".repeat(200));
        fs::create_dir_all(&deep).unwrap();
        let image = image(&deep);
        let target = deep.join("target");
        fs::create_dir(&target).unwrap();
        let backing = match mounts_files(true) {
            true => Backing::File { direct: true },
            false => Backing::Loop,
        };
        mount(&image, &target, backing).unwrap();
        assert!(target.join("sub/file").exists());
        unmount(&target, false).unwrap();
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, vec![0; 8192]).unwrap();
        for backing in [Backing::File { direct: true }, Backing::Loop] {
            let error = mount(&file, dir.path(), backing).unwrap_err();
            if backing != Backing::Loop && !mounts_files(true) {
                continue;
            }
            assert_eq!(error.source.raw_os_error(), Some(libc::EINVAL), "{error:?}");
        }
        assert!(!is_mount_point(dir.path()).unwrap());
    }
}
