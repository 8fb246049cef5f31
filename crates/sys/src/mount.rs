//! Mounts through the new mount API, with mount(2) where the kernel lacks it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount,
    mount_bind, mount_bind_recursive, mount_change, mount_remount, move_mount,
};
use rustix::process::chdir;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// A mount or unmount that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", target.display())]
pub struct MountError {
    /// What was attempted, as a verb.
    pub action: &'static str,
    /// Where.
    pub target: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

impl MountError {
    fn new(action: &'static str, target: &Path, errno: Errno) -> Self {
        Self {
            action,
            target: target.to_path_buf(),
            source: errno.into(),
        }
    }
}

/// An overlay: layers beneath, at most one writable directory above.
#[derive(Clone, Debug, Default)]
pub struct Overlay<'a> {
    /// Lower directories, topmost first.
    pub lower: Vec<&'a Path>,
    /// Upper and work directory; read-only without.
    pub upper: Option<(&'a Path, &'a Path)>,
    /// Writes are never forced to the disk, whatever the programs inside ask for. After a power cut the upper directory is
    /// worthless. The kernel marks the work directory and refuses to mount it again until the mark
    /// (`work/incompat/volatile`) is removed.
    pub volatile: bool,
}

/// How a bind mount is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindOptions {
    /// With what is mounted beneath the source.
    pub recursive: bool,
    /// Nothing can be written through it. Other mounts beneath the source keep their own setting.
    pub read_only: bool,
}

/// How mounts and unmounts travel between copies of a mount tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    Private,
    /// Both ways.
    Shared,
    /// In only.
    Slave,
    /// Not at all, and it can't be bind mounted.
    Unbindable,
}

/// Most layers the kernel stacks in one overlay.
pub const MAX_LOWER: usize = 500;

/// Longest string fsconfig takes, without the final zero.
const MAX_OPTION: usize = 255;

/// Mounts an overlay at `target`.
///
/// Features that would leave marks in the upper directory which mean nothing elsewhere (redirects, metadata-only copies,
/// inode index) are off, so that the upper directory is a layer as it stands.
pub fn overlay(overlay: &Overlay<'_>, target: &Path) -> Result<(), MountError> {
    let done = match overlay_by_fsconfig(overlay, target) {
        // No fsopen (before 5.2), or no "lowerdir+" (before 6.5).
        Err(Errno::NOSYS | Errno::INVAL | Errno::NODEV) => overlay_by_mount(overlay, target),
        other => other,
    };
    done.map_err(|errno| MountError::new("mount an overlay at", target, errno))
}

fn overlay_by_fsconfig(overlay: &Overlay<'_>, target: &Path) -> Result<(), Errno> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    // A path too long for fsconfig is named by its descriptor, which the kernel resolves at once.
    let set_path = |key: &str, path: &Path| {
        if path.as_os_str().len() <= MAX_OPTION {
            return fsconfig_set_string(&context, key, path);
        }
        let fd = open_path(path)?;
        fsconfig_set_string(&context, key, format!("/proc/self/fd/{}", fd.as_raw_fd()))
    };
    for lower in &overlay.lower {
        set_path("lowerdir+", lower)?;
    }
    if let Some((upper, work)) = overlay.upper {
        set_path("upperdir", upper)?;
        set_path("workdir", work)?;
    }
    for (key, value) in [
        ("redirect_dir", "nofollow"),
        ("metacopy", "off"),
        ("index", "off"),
    ] {
        match fsconfig_set_string(&context, key, value) {
            // A kernel built without the feature doesn't know its switch.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    if overlay.volatile {
        fsconfig_set_flag(&context, "volatile")?;
    }
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    move_mount(&mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// mount(2) takes one page of options: 500 layers only fit if each is named in a few characters. Descriptors are such names
/// for a thread whose current directory is `/proc/self/fd`.
fn overlay_by_mount(overlay: &Overlay<'_>, target: &Path) -> Result<(), Errno> {
    let lower = overlay
        .lower
        .iter()
        .map(|path| open_path(path))
        .collect::<Result<Vec<_>, _>>()?;
    let upper = overlay
        .upper
        .map(|(upper, work)| Ok::<_, Errno>((open_path(upper)?, open_path(work)?)))
        .transpose()?;
    let target = open_path(target)?;

    let names: Vec<_> = lower.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let mut options = format!("lowerdir={}", names.join(":"));
    if let Some((upper, work)) = &upper {
        options += &format!(",upperdir={},workdir={}", upper.as_raw_fd(), work.as_raw_fd());
    }
    if overlay.volatile {
        options += ",volatile";
    }
    let target = target.as_raw_fd().to_string();
    let attempt = |options: &str| {
        let options = CString::new(options).map_err(|_| Errno::INVAL)?;
        mount(
            "overlay",
            target.as_str(),
            "overlay",
            MountFlags::empty(),
            options.as_c_str(),
        )
    };
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            // SAFETY: only this thread's current directory, root and umask stop being shared; no descriptor is touched.
            unsafe { unshare_unsafe(UnshareFlags::FS) }?;
            chdir("/proc/self/fd")?;
            // Kernels without a feature refuse its switch; kernels older than the switches don't have the features on.
            match attempt(&format!("{options},redirect_dir=nofollow,metacopy=off,index=off")) {
                Err(Errno::INVAL) => attempt(&options),
                other => other,
            }
        });
        worker.join().unwrap_or(Err(Errno::IO))
    })
}

fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Shows `source` (a file or directory) at `target`, which must exist.
pub fn bind(source: &Path, target: &Path, options: BindOptions) -> Result<(), MountError> {
    let done = if options.recursive {
        mount_bind_recursive(source, target)
    } else {
        mount_bind(source, target)
    };
    done.map_err(|errno| MountError::new("bind mount at", target, errno))?;
    if options.read_only {
        let flags = MountFlags::BIND | MountFlags::RDONLY;
        if let Err(errno) = mount_remount(target, flags, "") {
            // Never leave a writable mount where a read-only one was asked for.
            let _ = rustix::mount::unmount(target, UnmountFlags::DETACH);
            return Err(MountError::new("make read-only", target, errno));
        }
    }
    Ok(())
}

/// Mounts a tmpfs with options as of mount(8), `size=64m,mode=1777`.
pub fn tmpfs(target: &Path, options: &str) -> Result<(), MountError> {
    let data =
        CString::new(options).map_err(|_| MountError::new("mount a tmpfs at", target, Errno::INVAL))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", target, "tmpfs", flags, data.as_c_str())
        .map_err(|errno| MountError::new("mount a tmpfs at", target, errno))
}

/// Sets the propagation of the mount at `target`, and of those beneath if `recursive`.
pub fn set_propagation(target: &Path, propagation: Propagation, recursive: bool) -> Result<(), MountError> {
    let mut flags = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Shared => MountPropagationFlags::SHARED,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Unbindable => MountPropagationFlags::UNBINDABLE,
    };
    if recursive {
        flags |= MountPropagationFlags::REC;
    }
    mount_change(target, flags).map_err(|errno| MountError::new("set the propagation of", target, errno))
}

/// Unmounts what is at `target`; not an error if nothing is. `lazily`: out of sight at once, for real when unused.
pub fn unmount(target: &Path, lazily: bool) -> Result<(), MountError> {
    let mut flags = UnmountFlags::NOFOLLOW;
    if lazily {
        flags |= UnmountFlags::DETACH;
    }
    match rustix::mount::unmount(target, flags) {
        // EINVAL: not a mount point.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(errno) => Err(MountError::new("unmount", target, errno)),
    }
}

/// Whether `path` is the root of a mount. `false` if it doesn't exist.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(CWD, path, flags, StatxFlags::empty()) {
        Ok(status) => Ok(status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(io::Error::new(
            io::Error::from(errno).kind(),
            format!("failed to query status of `{}`: {errno}", path.display()),
        )),
    }
}

#[cfg(test)]
mod tests {
    //! These mount: they need root.
    use super::*;
    use fs_err as fs;

    struct Mounted(PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = unmount(&self.0, true);
        }
    }

    fn stack(dir: &Path, count: usize) -> Vec<PathBuf> {
        (0..count)
            .map(|n| {
                let lower = dir.join(format!("layer-{n}"));
                fs::create_dir_all(&lower).unwrap();
                fs::write(lower.join(format!("file-{n}")), n.to_string()).unwrap();
                fs::write(lower.join("top"), n.to_string()).unwrap();
                lower
            })
            .collect()
    }

    fn check_stack(dir: &Path, count: usize, mount: impl Fn(&Overlay<'_>, &Path) -> Result<(), Errno>) {
        let layers = stack(dir, count);
        let [upper, work, merged] = ["upper", "work", "merged"].map(|name| dir.join(name));
        for dir in [&upper, &work, &merged] {
            fs::create_dir(dir).unwrap();
        }
        let overlay = Overlay {
            lower: layers.iter().rev().map(PathBuf::as_path).collect(),
            upper: Some((&upper, &work)),
            ..Overlay::default()
        };
        mount(&overlay, &merged).unwrap();
        let _guard = Mounted(merged.clone());
        assert!(is_mount_point(&merged).unwrap());
        assert_eq!(
            fs::read_to_string(merged.join("top")).unwrap(),
            (count - 1).to_string()
        );
        assert_eq!(fs::read_to_string(merged.join("file-0")).unwrap(), "0");
        fs::write(merged.join("written"), "x").unwrap();
        assert_eq!(fs::read_to_string(upper.join("written")).unwrap(), "x");
    }

    #[test]
    fn five_hundred_layers_by_fsconfig() {
        let dir = tempfile::tempdir().unwrap();
        check_stack(dir.path(), MAX_LOWER, overlay_by_fsconfig);
    }

    #[test]
    fn five_hundred_layers_by_mount() {
        let dir = tempfile::tempdir().unwrap();
        check_stack(dir.path(), MAX_LOWER, overlay_by_mount);
    }

    #[test]
    fn paths_longer_than_fsconfig_takes() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(200)).join("y".repeat(200));
        fs::create_dir_all(&deep).unwrap();
        check_stack(&deep, 3, overlay_by_fsconfig);
    }

    #[test]
    fn read_only_bind_refuses_writes() {
        let dir = tempfile::tempdir().unwrap();
        let [source, target] = ["source", "target"].map(|name| dir.path().join(name));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&target).unwrap();
        bind(
            &source,
            &target,
            BindOptions {
                read_only: true,
                ..BindOptions::default()
            },
        )
        .unwrap();
        let _guard = Mounted(target.clone());
        assert!(fs::write(target.join("file"), "x").is_err());
        fs::write(source.join("file"), "x").unwrap();
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "x");
    }

    #[test]
    fn unmounting_nothing_is_fine_and_a_bad_target_is_named() {
        let dir = tempfile::tempdir().unwrap();
        unmount(dir.path(), false).unwrap();
        unmount(&dir.path().join("missing"), false).unwrap();
        let missing = dir.path().join("nowhere");
        let error = overlay(
            &Overlay {
                lower: vec![dir.path()],
                ..Overlay::default()
            },
            &missing,
        )
        .unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}
