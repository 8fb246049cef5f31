//! Network namespaces: made, kept by a bind mount, entered by a thread.
//!
//! A namespace belongs to a thread, so everything here happens on a helper thread that ends with the call: no thread of
//! the caller ever leaves its own namespace.

use std::io;
use std::path::Path;
use std::thread;

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::userns::{Holder, Owner};

/// Makes a network namespace, runs `inside` in it, and keeps it at `path` (a file made for the purpose).
///
/// # Errors
/// `AlreadyExists` when `path` exists; what the kernel says otherwise. After an error nothing remains at `path`.
pub fn create<T: Send>(path: &Path, inside: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    keep(path, || {
        // SAFETY: NEWNET replaces only this helper thread's network namespace; no table of descriptors is unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
        inside()
    })
}

/// `enter` leaves its thread in a new namespace, which is then kept.
fn keep<T: Send>(path: &Path, enter: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    fs_err::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)?;
    let made = on_helper(|| {
        let value = enter()?;
        mount_bind("/proc/thread-self/ns/net", path)?;
        Ok(value)
    });
    if made.is_err() {
        let _ = fs_err::remove_file(path);
    }
    made
}

/// As [`create`], but the namespace belongs to a user namespace: its root is root of the network, too.
pub fn create_in<T: Send>(
    path: &Path,
    owner: Owner<'_>,
    inside: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    keep(path, || {
        // Until it is kept here, by its path.
        let holder = Holder::start(owner, true)?;
        move_into_link_name_space(
            rustix::fd::AsFd::as_fd(&holder.namespace("net")?),
            Some(LinkNameSpaceType::Network),
        )?;
        inside()
    })
}

/// Runs `inside` in the namespace kept at `path`.
pub fn within<T: Send>(path: &Path, inside: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let namespace = fs_err::File::open(path)?;
    on_helper(|| {
        move_into_link_name_space(
            rustix::fd::AsFd::as_fd(&namespace),
            Some(LinkNameSpaceType::Network),
        )?;
        inside()
    })
}

/// Lets go of the namespace kept at `path`; it ends with its last process. Nothing being there is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // EINVAL: a file on which nothing is mounted.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether `path` keeps a namespace, and is not just the file that a reboot left behind.
pub fn is_kept(path: &Path) -> bool {
    const NSFS_MAGIC: u64 = 0x6e73_6673;
    rustix::fs::statfs(path).is_ok_and(|info| info.f_type as u64 == NSFS_MAGIC)
}

fn on_helper<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let helper = thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(128 * 1024)
            .spawn_scoped(scope, work)?;
        match helper.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_namespace() -> io::Result<std::path::PathBuf> {
        std::fs::read_link("/proc/thread-self/ns/net")
    }

    // Needs root.
    #[test]
    fn a_namespace_is_kept_entered_and_let_go() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("one");
        let outside = own_namespace().expect("own namespace");

        let made = create(&path, own_namespace).expect("create");
        assert_ne!(made, outside);
        assert!(is_kept(&path));
        assert_eq!(within(&path, own_namespace).expect("enter"), made);
        assert_eq!(
            own_namespace().expect("own namespace"),
            outside,
            "the caller stayed where it was"
        );

        let again = create(&path, || Ok(())).expect_err("a second one at the same path");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert!(is_kept(&path), "the first one is still there");

        remove(&path).expect("remove");
        assert!(!path.exists());
        remove(&path).expect("removing what isn't there");
    }

    // Needs root.
    #[test]
    fn a_namespace_may_belong_to_a_user_namespace() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("one");
        let map = crate::userns::IdMap {
            uids: vec![crate::userns::IdRange {
                inside: 0,
                outside: 200_000,
                count: 10,
            }],
            gids: vec![crate::userns::IdRange {
                inside: 0,
                outside: 200_000,
                count: 10,
            }],
        };
        let made = create_in(&path, Owner::New(&map), own_namespace).expect("create");
        assert_eq!(within(&path, own_namespace).expect("enter"), made);
        let owner = crate::userns::owner_of(fs_err::File::open(&path).expect("open")).expect("owner");
        assert!(!crate::userns::is_own(&owner).expect("compare"));
        remove(&path).expect("remove");
    }

    // Needs root.
    #[test]
    fn nothing_is_kept_when_the_work_inside_fails() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("one");
        let failed = create(&path, || -> io::Result<()> { Err(io::Error::other("no")) });
        assert!(failed.is_err());
        assert!(!path.exists());
    }

    // Needs root.
    #[test]
    fn a_plain_file_keeps_no_namespace_and_is_removed() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("left-by-a-reboot");
        fs_err::write(&path, "").expect("write");
        assert!(!is_kept(&path));
        remove(&path).expect("remove");
        assert!(!path.exists());
    }
}
