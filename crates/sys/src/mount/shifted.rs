//! Mounts that show owners shifted: what belongs to 0 on the disk belongs to a container's root (idmapped mounts, Linux 5.12
//! and later; beneath overlays 5.19).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use linux_raw_sys::general::{MOUNT_ATTR_IDMAP, mount_attr};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::{MountError, Overlay, overlay};
use crate::userns;

/// A copy of the mount at `source`, which is nowhere yet. The descriptor is its root.
///
/// With `shift`, a user namespace, owners appear as that namespace shifts ids, of all mounts in the copy. File systems that
/// can't are refused with `EINVAL`.
pub fn copy(source: &Path, recursive: bool, shift: Option<BorrowedFd<'_>>) -> Result<OwnedFd, MountError> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree =
        open_tree(CWD, source, flags).map_err(|errno| MountError::new("copy the mount of", source, errno))?;
    if let Some(namespace) = shift {
        let failed = |errno| MountError::new("shift the owners of", source, errno);
        set_shift(&tree, recursive, namespace).map_err(failed)?;
    }
    Ok(tree)
}

fn set_shift(tree: &OwnedFd, recursive: bool, namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    let attributes = mount_attr {
        attr_set: MOUNT_ATTR_IDMAP.into(),
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(namespace.as_raw_fd().unsigned_abs()),
    };
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is an empty string with its NUL, the attributes are of the size that is told, and both last.
    let set = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<mount_attr>(),
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// Puts a mount that is nowhere yet at `target`.
pub fn place(tree: impl AsFd, target: &Path) -> Result<(), MountError> {
    move_mount(
        tree.as_fd(),
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .map_err(|errno| MountError::new("mount at", target, errno))
}

/// As [`overlay`], of layers whose owners are shifted by a user namespace, where `root` is its root's user and group: on the
/// disk everything stays as if there was none.
///
/// The overlay takes copies of the mounts its layers are reached through. So there is a mount namespace, for a moment, in which
/// every layer is covered by a shifted copy of itself.
pub fn overlay_shifted(
    layers: &Overlay<'_>,
    target: &Path,
    namespace: BorrowedFd<'_>,
    root: (u32, u32),
) -> Result<(), MountError> {
    let failed = |errno| MountError::new("mount an overlay at", target, errno);
    // Its maker must have a name in the shifted upper directory.
    let made = userns::acting_as(root.0, root.1, || {
        in_copy_of_mounts(target, || {
            // Both in one mount, as the kernel wants it.
            let above = layers.upper.and_then(|(upper, _)| upper.parent());
            for covered in layers.lower.iter().copied().chain(above) {
                place(copy(covered, false, Some(namespace))?, covered)?;
            }
            overlay(layers, target)?;
            copy(target, false, None)
        })
    });
    let tree = made.map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))??;
    place(tree, target)
}

/// Runs `work` with the calling thread in a copy of its mount namespace, which nothing leaves: for threads that end soon.
fn in_copy_of_mounts<T>(shown: &Path, work: impl FnOnce() -> Result<T, MountError>) -> Result<T, MountError> {
    let failed = |errno| MountError::new("copy the mounts for", shown, errno);
    // SAFETY: the thread's own mount namespace, current directory and root; no descriptor is touched.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.map_err(failed)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(failed)?;
    work()
}

/// Mounts that this process sees and nobody else, until the value is dropped; what is mounted outside meanwhile appears, too.
/// For processes with one thread.
#[derive(Debug)]
pub struct Apart {
    before: OwnedFd,
    /// The current directory, which goes with the mounts.
    directory: OwnedFd,
}

impl Apart {
    pub fn enter() -> Result<Self, MountError> {
        let failed = |errno| MountError::new("copy the mounts for", Path::new("/"), errno);
        let before = rustix::fs::open(
            "/proc/self/ns/mnt",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(failed)?;
        let directory =
            rustix::fs::open(".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        // SAFETY: as above; there is no other thread that would notice.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(failed)?;
        let apart = Self { before, directory };
        mount_change(
            "/",
            MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
        )
        .map_err(failed)?;
        Ok(apart)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let back = move_into_link_name_space(self.before.as_fd(), Some(LinkNameSpaceType::Mount));
        if let Err(error) = back.and_then(|()| rustix::process::fchdir(&self.directory)) {
            tracing::error!(%error, "cannot return to the mounts of before");
        }
    }
}

#[cfg(test)]
mod tests {
    //! These mount: they need root.
    use std::os::unix::fs::MetadataExt;

    use fs_err as fs;

    use super::*;
    use crate::mount::unmount;
    use crate::userns::{IdMap, IdRange, acting_as, create};

    fn namespace() -> OwnedFd {
        let ranges = vec![IdRange {
            inside: 0,
            outside: 200_000,
            count: 65536,
        }];
        let map = IdMap {
            uids: ranges.clone(),
            gids: ranges,
        };
        create(&map).unwrap()
    }

    #[test]
    fn a_copy_shows_owners_shifted() {
        let dir = tempfile::tempdir().unwrap();
        let [source, target] = ["source", "target"].map(|name| dir.path().join(name));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(source.join("file"), "x").unwrap();
        place(copy(&source, false, Some(namespace().as_fd())).unwrap(), &target).unwrap();
        assert_eq!(fs::metadata(target.join("file")).unwrap().uid(), 200_000);
        acting_as(200_007, 200_000, || fs::write(target.join("new"), "x"))
            .unwrap()
            .unwrap();
        assert_eq!(fs::metadata(source.join("new")).unwrap().uid(), 7);
        unmount(&target, true).unwrap();
    }

    #[test]
    fn an_overlay_shows_owners_shifted_and_stores_them_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let [lower, upper, work, merged] =
            ["lower", "upper", "work", "merged"].map(|name| dir.path().join(name));
        for made in [&lower, &upper, &work, &merged] {
            fs::create_dir(made).unwrap();
        }
        fs::write(lower.join("file"), "below").unwrap();
        std::os::unix::fs::chown(lower.join("file"), Some(5), Some(6)).unwrap();
        let namespace = namespace();
        let layers = Overlay {
            lower: vec![&lower],
            upper: Some((&upper, &work)),
            volatile: false,
        };
        let root = (200_000, 200_000);
        overlay_shifted(&layers, &merged, namespace.as_fd(), root).unwrap();
        let shown = fs::metadata(merged.join("file")).unwrap();
        assert_eq!((shown.uid(), shown.gid()), (200_005, 200_006));
        acting_as(root.0, root.1, || -> io::Result<()> {
            fs::write(merged.join("file"), "above")?;
            fs::write(merged.join("new"), "")?;
            fs::create_dir(merged.join("directory"))?;
            std::os::unix::fs::chown(merged.join("directory"), Some(200_009), None)
        })
        .unwrap()
        .unwrap();
        unmount(&merged, false).unwrap();
        let owner = |name: &str| fs::metadata(upper.join(name)).unwrap().uid();
        assert_eq!((owner("file"), owner("new"), owner("directory")), (5, 0, 9));
        assert_eq!(fs::read_to_string(upper.join("file")).unwrap(), "above");
        // The same layers again, for somebody who isn't shifted.
        overlay(&layers, &merged).unwrap();
        assert_eq!(fs::metadata(merged.join("directory")).unwrap().uid(), 9);
        unmount(&merged, false).unwrap();
    }

    #[test]
    fn what_cannot_be_shifted_is_named() {
        let error = copy(Path::new("/proc"), false, Some(namespace().as_fd())).unwrap_err();
        assert!(error.to_string().contains("/proc"), "{error}");
    }
}
