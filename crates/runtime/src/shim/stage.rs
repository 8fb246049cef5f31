//! A shim that makes a container in a user namespace sees for a moment what nobody else does: [`Stage`], furnished.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fs_err as fs;
use havre_sys::mount::{self, Apart, MountError};
use havre_sys::userns;

use crate::protocol::Failure;
use crate::spec::Stage;

/// The stage of a container, until the value is dropped. What was made there meanwhile keeps what it took.
pub(super) struct Furnished {
    _apart: Apart,
}

impl Furnished {
    /// `directory` is the container's.
    pub(super) fn new(stage: &Stage, directory: &Path) -> Result<Self, Failure> {
        furnish(stage, directory).map(|apart| Self { _apart: apart })
    }
}

fn io_failed(what: &Path) -> impl FnOnce(io::Error) -> Failure + '_ {
    move |error| Failure::Setup {
        message: format!("prepare {} for a user namespace: {error}", what.display()),
    }
}

fn mount_failed(error: MountError) -> Failure {
    Failure::Mount {
        message: format!("{error}: {}", error.source),
    }
}

fn furnish(stage: &Stage, directory: &Path) -> Result<Apart, Failure> {
    // Who joins the container later asks for it, too, and looks no further than whether it is there.
    let rootfs = stage.rootfs_place();
    fs::create_dir_all(&rootfs).map_err(io_failed(&rootfs))?;

    let network = fs::File::open(&stage.network).map_err(io_failed(&stage.network))?;
    let namespace = userns::owner_of(&network).map_err(io_failed(&stage.network))?;
    if userns::is_own(&namespace).map_err(io_failed(&stage.network))? {
        return Err(Failure::Setup {
            message: "the network to be shared does not belong to a user namespace: start both containers with --userns host"
                .into(),
        });
    }

    let apart = Apart::enter().map_err(mount_failed)?;
    let whole = mount::copy(&stage.rootfs, false, None).map_err(mount_failed)?;
    let sources: Result<Vec<_>, _> = stage
        .sources
        .iter()
        .map(|source| {
            mount::copy(
                &source.path,
                source.recursive,
                source.shifted.then_some(namespace.as_fd()),
            )
        })
        .collect();
    let sources = sources.map_err(mount_failed)?;
    // Nobody gets as far as here outside: the directory above is the engine's alone.
    fs::set_permissions(directory, passable()).map_err(io_failed(directory))?;
    make_passable(directory)?;

    let place = stage.directory();
    mount::tmpfs(place, "mode=711,size=1m").map_err(mount_failed)?;
    fs::create_dir(&rootfs).map_err(io_failed(&rootfs))?;
    mount::place(whole, &rootfs).map_err(mount_failed)?;
    for (kind, namespace) in [("user", namespace.as_fd()), ("network", network.as_fd())] {
        let place = stage.namespace_place(kind);
        fs::write(&place, "").map_err(io_failed(&place))?;
        let file = format!("/proc/self/fd/{}", namespace.as_raw_fd());
        let copy = mount::copy(Path::new(&file), false, None).map_err(mount_failed)?;
        mount::place(copy, &place).map_err(mount_failed)?;
    }
    for (number, source) in sources.into_iter().enumerate() {
        let place = stage.source_place(number);
        let status = rustix::fs::fstat(&source)
            .map_err(io::Error::from)
            .map_err(io_failed(&place))?;
        match rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir() {
            true => fs::create_dir(&place),
            false => fs::write(&place, ""),
        }
        .map_err(io_failed(&place))?;
        mount::place(source, &place).map_err(mount_failed)?;
    }
    Ok(apart)
}

/// To be passed, not to be read; whatever the umask is.
fn passable() -> Permissions {
    Permissions::from_mode(0o711)
}

/// Lets everybody pass to `directory`, here: the first directory on the way that is for others than everybody is covered by an
/// empty one, in which only this way is.
fn make_passable(directory: &Path) -> Result<(), Failure> {
    let mut way: Vec<&Path> = directory.ancestors().collect();
    way.reverse();
    let mut closed = None;
    for step in &way {
        let mode = fs::metadata(step).map_err(io_failed(step))?.permissions().mode();
        if mode & 0o001 == 0 {
            closed = Some(*step);
            break;
        }
    }
    let Some(closed) = closed else { return Ok(()) };
    let own = mount::copy(directory, false, None).map_err(mount_failed)?;
    mount::tmpfs(closed, "mode=711,size=1m").map_err(mount_failed)?;
    for step in way
        .iter()
        .filter(|step| step.starts_with(closed) && **step != closed)
    {
        fs::create_dir(step)
            .and_then(|()| fs::set_permissions(step, passable()))
            .map_err(io_failed(step))?;
    }
    mount::place(own, directory).map_err(mount_failed)
}
