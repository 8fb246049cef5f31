//! Mounts through the new mount API, with mount(2) where the kernel lacks it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    mount, mount_change, mount_remount, move_mount, open_tree,
};
use rustix::process::chdir;
use rustix::thread::{UnshareFlags, unshare_unsafe};

mod device;
mod null;
mod shifted;

pub use device::{Device, DeviceError, device};
pub use null::null_device;
pub use shifted::{Apart, copy, overlay_shifted, place};

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
    pub(crate) fn new(action: &'static str, target: &Path, errno: Errno) -> Self {
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
pub(crate) const MAX_OPTION: usize = 255;

/// Mounts an overlay at `target`.
///
/// Features that would leave marks in the upper directory which mean nothing elsewhere (redirects, metadata-only copies,
/// inode index) are off, so that the upper directory is a layer as it stands.
pub fn overlay(overlay: &Overlay<'_>, target: &Path) -> Result<(), MountError> {
    overlay_any(overlay, target).map_err(|errno| MountError::new("mount an overlay at", target, errno))
}

fn overlay_any(overlay: &Overlay<'_>, target: &Path) -> Result<(), Errno> {
    if has_lowerdir_plus() {
        match overlay_by_fsconfig(overlay, target) {
            Err(Errno::INVAL) => {}
            other => return other,
        }
    }
    overlay_by_mount(overlay, target)
}

/// Whether layers can be named one by one (Linux 6.7 and later). Asked once, and without a mount: a kernel before 6.5 takes
/// every option, unread, and complains in its log when it comes to the mount.
fn has_lowerdir_plus() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let Ok(context) = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) else {
            return false;
        };
        let takes = |key: &str| fsconfig_set_string(&context, key, "/").is_ok();
        takes("lowerdir+") && !takes("no-such-option")
    })
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

/// A bind mount that goes when this value does; see [`bind_at`].
#[derive(Debug)]
pub struct Bound {
    /// The root of the mount itself.
    tree: OwnedFd,
    target: PathBuf,
}

/// Shows `source` at an open file or directory (`O_PATH` will do): whatever happens meanwhile to the names that led to the
/// target, nothing else is covered, and nothing else is uncovered in the end. `shown` is the target's name in messages.
pub fn bind_at(
    source: &Path,
    target: impl AsFd,
    shown: &Path,
    options: BindOptions,
) -> Result<Bound, MountError> {
    let failed = |errno| MountError::new("bind mount at", shown, errno);
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if options.recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = open_tree(CWD, source, flags).map_err(failed)?;
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", target.as_fd(), "", empty).map_err(failed)?;
    let bound = Bound {
        tree,
        target: shown.to_path_buf(),
    };
    if options.read_only {
        let flags = MountFlags::BIND | MountFlags::RDONLY;
        mount_remount(bound.own_path(), flags, "")
            .map_err(|errno| MountError::new("make read-only", shown, errno))?;
    }
    Ok(bound)
}

impl Bound {
    /// A name of the mount's root that no rename changes.
    fn own_path(&self) -> String {
        format!("/proc/self/fd/{}", self.tree.as_raw_fd())
    }

    fn detach(&self) -> Result<(), MountError> {
        match rustix::mount::unmount(self.own_path(), UnmountFlags::DETACH) {
            // Gone already, with the mount it was in.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(MountError::new("unmount", &self.target, errno)),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            tracing::warn!(error = %error.source, "{error}");
        }
    }
}

/// Mounts a tmpfs with options as of mount(8), `size=64m,mode=1777`.
pub fn tmpfs(target: &Path, options: &str) -> Result<(), MountError> {
    let data =
        CString::new(options).map_err(|_| MountError::new("mount a tmpfs at", target, Errno::INVAL))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", target, "tmpfs", flags, data.as_c_str())
        .map_err(|errno| MountError::new("mount a tmpfs at", target, errno))
}

/// Mounts memory that processes share, of so many bytes, as it is usual at `/dev/shm`; `owner` are a user and a group.
pub fn shared_memory(target: &Path, size: u64, owner: (u32, u32)) -> Result<(), MountError> {
    let failed = |errno| MountError::new("mount shared memory at", target, errno);
    let (uid, gid) = owner;
    let data = CString::new(format!("mode=1777,size={size},uid={uid},gid={gid}"))
        .map_err(|_| failed(Errno::INVAL))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("shm", target, "tmpfs", flags, data.as_c_str()).map_err(failed)
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
        if !has_lowerdir_plus() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        check_stack(dir.path(), MAX_LOWER, overlay_by_fsconfig);
    }

    #[test]
    fn paths_of_any_length_are_stacked() {
        // By whichever way this kernel knows.
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(200)).join("y".repeat(200));
        fs::create_dir_all(&deep).unwrap();
        check_stack(&deep, 20, overlay_any);
    }

    #[test]
    fn five_hundred_layers_by_mount() {
        let dir = tempfile::tempdir().unwrap();
        check_stack(dir.path(), MAX_LOWER, overlay_by_mount);
    }

    #[test]
    fn paths_longer_than_fsconfig_takes() {
        if !has_lowerdir_plus() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(200)).join("y".repeat(200));
        fs::create_dir_all(&deep).unwrap();
        check_stack(&deep, 3, overlay_by_fsconfig);
    }

    fn path_fd(path: &Path) -> OwnedFd {
        open_path(path).unwrap()
    }

    #[test]
    fn read_only_bind_refuses_writes() {
        let dir = tempfile::tempdir().unwrap();
        let [source, target] = ["source", "target"].map(|name| dir.path().join(name));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&target).unwrap();
        let options = BindOptions {
            read_only: true,
            ..BindOptions::default()
        };
        let bound = bind_at(&source, path_fd(&target), &target, options).unwrap();
        assert!(fs::write(target.join("file"), "x").is_err());
        fs::write(source.join("file"), "x").unwrap();
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "x");
        drop(bound);
        assert!(!is_mount_point(&target).unwrap() && !target.join("file").exists());
    }

    #[test]
    fn a_target_swapped_for_a_link_moves_no_mount() {
        let dir = tempfile::tempdir().unwrap();
        let [source, target, away, precious] =
            ["source", "target", "away", "precious"].map(|name| dir.path().join(name));
        for made in [&source, &target, &precious] {
            fs::create_dir(made).unwrap();
        }
        let open = path_fd(&target);
        fs::rename(&target, &away).unwrap();
        std::os::unix::fs::symlink(&precious, &target).unwrap();
        let bound = bind_at(&source, open, &target, BindOptions::default()).unwrap();
        assert!(is_mount_point(&away).unwrap() && !is_mount_point(&precious).unwrap());
        // Nor is anything else unmounted in the end.
        let guard = bind_at(&source, path_fd(&precious), &precious, BindOptions::default()).unwrap();
        drop(bound);
        assert!(is_mount_point(&precious).unwrap() && !is_mount_point(&away).unwrap());
        drop(guard);
        assert!(!is_mount_point(&precious).unwrap());
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
