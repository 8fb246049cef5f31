//! Mounts through the new mount API, with mount(2) where the kernel lacks it.

use std::io;
use std::path::{Path, PathBuf};

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

/// An overlay: layers beneath, at most one writable directory above.
#[derive(Clone, Debug, Default)]
pub struct Overlay<'a> {
    /// Lower directories, topmost first.
    pub lower: Vec<&'a Path>,
    /// Upper and work directory; read-only without.
    pub upper: Option<(&'a Path, &'a Path)>,
}

/// How a bind mount is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindOptions {
    /// With what is mounted beneath the source.
    pub recursive: bool,
    /// Nothing can be written through it.
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

/// Mounts an overlay at `target`.
pub fn overlay(_overlay: &Overlay<'_>, _target: &Path) -> Result<(), MountError> {
    todo!()
}

/// Shows `source` (a file or directory) at `target`, which must exist.
pub fn bind(_source: &Path, _target: &Path, _options: BindOptions) -> Result<(), MountError> {
    todo!()
}

/// Mounts a tmpfs with options as of mount(8), `size=64m,mode=1777`.
pub fn tmpfs(_target: &Path, _options: &str) -> Result<(), MountError> {
    todo!()
}

/// Sets the propagation of the mount at `target`, and of those beneath if `recursive`.
pub fn set_propagation(
    _target: &Path,
    _propagation: Propagation,
    _recursive: bool,
) -> Result<(), MountError> {
    todo!()
}

/// Unmounts what is at `target`; not an error if nothing is. `lazily`: out of sight at once, for real when unused.
pub fn unmount(_target: &Path, _lazily: bool) -> Result<(), MountError> {
    todo!()
}

/// Whether `path` is the root of a mount.
pub fn is_mount_point(_path: &Path) -> io::Result<bool> {
    todo!()
}
