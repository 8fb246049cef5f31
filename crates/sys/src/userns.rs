//! User namespaces: ids of a container that are others on the host.
//!
//! A namespace needs no process and no file of its own: whoever has a network namespace that belongs to it
//! ([`crate::netns::create_in`]) finds it from there ([`owner_of`]), and it ends with the last of those.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::{CapabilitySets, capabilities, set_capabilities};
use serde::{Deserialize, Serialize};

/// A run of ids: `inside`, `inside` + 1, … are `outside`, `outside` + 1, … on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// The ids of a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    pub uids: Vec<IdRange>,
    pub gids: Vec<IdRange>,
}

/// What the kernel shows for an id that a namespace doesn't have.
pub const NOBODY: u32 = 65534;

impl IdMap {
    /// The user on the host.
    pub fn uid_outside(&self, inside: u32) -> Option<u32> {
        outside(&self.uids, inside)
    }

    pub fn gid_outside(&self, inside: u32) -> Option<u32> {
        outside(&self.gids, inside)
    }

    /// The user in the namespace; nobody if it has none.
    pub fn uid_inside(&self, outside: u32) -> u32 {
        inside(&self.uids, outside)
    }

    pub fn gid_inside(&self, outside: u32) -> u32 {
        inside(&self.gids, outside)
    }

    /// The ids of the namespace a process is in.
    pub fn of_process(pid: i32) -> io::Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            parse(&fs_err::read_to_string(&path)?).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not understood"))
            })
        };
        Ok(Self {
            uids: read("uid_map")?,
            gids: read("gid_map")?,
        })
    }
}

fn outside(ranges: &[IdRange], inside: u32) -> Option<u32> {
    let range = |range: &IdRange| {
        let offset = inside.checked_sub(range.inside)?;
        (offset < range.count).then_some(range.outside.checked_add(offset)?)
    };
    ranges.iter().find_map(range)
}

fn inside(ranges: &[IdRange], outside: u32) -> u32 {
    let range = |range: &IdRange| {
        let offset = outside.checked_sub(range.outside)?;
        (offset < range.count).then_some(range.inside.checked_add(offset)?)
    };
    ranges.iter().find_map(range).unwrap_or(NOBODY)
}

/// The lines of `/proc/PID/uid_map`; user_namespaces(7).
fn parse(text: &str) -> Option<Vec<IdRange>> {
    let line = |line: &str| {
        let numbers: Option<Vec<u32>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
        match numbers?[..] {
            [inside, outside, count] => Some(IdRange {
                inside,
                outside,
                count,
            }),
            _ => None,
        }
    };
    text.lines().map(line).collect()
}

fn lines(ranges: &[IdRange]) -> String {
    let line = |range: &IdRange| format!("{} {} {}\n", range.inside, range.outside, range.count);
    ranges.iter().map(line).collect()
}

/// The user namespace something belongs to.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// One that is made for it.
    New(&'a IdMap),
    /// An existing one.
    Existing(BorrowedFd<'a>),
}

/// Makes a user namespace. It lasts as long as the descriptor, and what was made with it.
pub fn create(map: &IdMap) -> io::Result<OwnedFd> {
    Holder::start(Owner::New(map), false)?.namespace("user")
}

/// The user namespace a namespace of another kind belongs to.
pub fn owner_of(namespace: impl AsFd) -> io::Result<OwnedFd> {
    // SAFETY: NS_GET_USERNS takes no argument and answers with a descriptor of ours, or -1.
    let fd = unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), libc::NS_GET_USERNS) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fresh, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether a user namespace is the one this process is in.
pub fn is_own(namespace: impl AsFd) -> io::Result<bool> {
    is_same(fs_err::File::open("/proc/self/ns/user")?, namespace)
}

/// Whether two descriptors are of the same namespace.
pub fn is_same(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Puts the calling process into a user namespace, as one of its users. For processes with one thread.
pub fn enter(namespace: impl AsFd, uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    let checked = |result: libc::c_int| match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // SAFETY: the groups are as many as is said and last; the others take numbers only.
    unsafe {
        checked(libc::setns(namespace.as_fd().as_raw_fd(), libc::CLONE_NEWUSER))?;
        checked(libc::setgroups(groups.len(), groups.as_ptr()))?;
        checked(libc::setresgid(gid, gid, gid))?;
        checked(libc::setresuid(uid, uid, uid))
    }
}

/// Runs `work` as root of a user namespace with these ids does ([`acting_as`]); without any, as it is.
pub fn as_root_of<T: Send>(map: Option<&IdMap>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    match map.and_then(|map| map.uid_outside(0).zip(map.gid_outside(0))) {
        Some((uid, gid)) => acting_as(uid, gid, work),
        None => Ok(work()),
    }
}

/// Runs `work` on a thread of its own whose new files belong to this user and group, and which may otherwise do everything it
/// could before: what root of a container has on a file system that only knows the container's ids.
pub fn acting_as<T: Send>(uid: u32, gid: u32, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let helper = std::thread::Builder::new()
            .name("acting".to_owned())
            .spawn_scoped(scope, || {
                let before = capabilities(None)?;
                // SAFETY: both change this helper thread only, and cannot fail but by leaving things as they are.
                let now = unsafe {
                    libc::setfsgid(gid);
                    libc::setfsuid(uid);
                    (libc::setfsuid(u32::MAX), libc::setfsgid(u32::MAX))
                };
                if now != (uid.cast_signed(), gid.cast_signed()) {
                    return Err(io::Error::from(Errno::PERM));
                }
                // Leaving root's id has taken those that concern files.
                set_capabilities(
                    None,
                    CapabilitySets {
                        effective: before.permitted,
                        ..before
                    },
                )?;
                Ok(work())
            })?;
        match helper.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A process that does nothing but hold namespaces until the value is dropped, or the thread that made it ends.
///
/// Only a process without other threads can be in a user namespace of its own, or enter one. This one is a copy of a process
/// that has many, so it makes system calls and nothing else.
pub(crate) struct Holder(libc::pid_t);

/// What the copy is told.
struct Orders {
    /// Where it reports, by an error number, 0 for none.
    report: libc::c_int,
    /// The user namespace to enter, or -1.
    enter: libc::c_int,
    network: bool,
}

impl Holder {
    /// With `network`, it has a network namespace of its own, which belongs to its user namespace.
    pub(crate) fn start(owner: Owner<'_>, network: bool) -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut orders = Orders {
            report: writer.as_raw_fd(),
            enter: match owner {
                Owner::New(_) => -1,
                Owner::Existing(namespace) => namespace.as_raw_fd(),
            },
            network,
        };
        let flags = match owner {
            Owner::New(_) => libc::CLONE_NEWUSER,
            Owner::Existing(_) => 0,
        };
        let mut stack = vec![0_u128; 2048];
        // SAFETY: without CLONE_VM the child has a copy of our memory, its stack among it, which is used from its end
        // (aligned to 16 bytes). It only makes system calls, which take no lock that another thread of ours may have held.
        let pid = unsafe {
            let end = stack.as_mut_ptr().add(stack.len());
            libc::clone(hold, end.cast(), flags, (&raw mut orders).cast())
        };
        if pid < 0 {
            let error = io::Error::last_os_error();
            return Err(match error.raw_os_error() {
                Some(libc::ENOSPC | libc::EUSERS) => io::Error::new(
                    error.kind(),
                    "the limit of user namespaces is reached: raise the sysctl user.max_user_namespaces",
                ),
                _ => error,
            });
        }
        let holder = Holder(pid);
        drop(writer);
        let mut report = [0; 4];
        if rustix::io::retry_on_intr(|| rustix::io::read(&reader, &mut report))? != report.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match i32::from_ne_bytes(report) {
            0 => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
        if let Owner::New(map) = owner {
            fs_err::write(format!("/proc/{pid}/uid_map"), lines(&map.uids))?;
            fs_err::write(format!("/proc/{pid}/gid_map"), lines(&map.gids))?;
        }
        Ok(holder)
    }

    /// One of its namespaces, by the name of its file in `/proc/PID/ns`.
    pub(crate) fn namespace(&self, kind: &str) -> io::Result<OwnedFd> {
        Ok(fs_err::File::open(format!("/proc/{}/ns/{kind}", self.0))?
            .into_file()
            .into())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // SAFETY: the process is our child and nobody else waits for it (it has no signal to tell of its end), so the number
        // is still its.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            while libc::waitpid(self.0, std::ptr::null_mut(), libc::__WALL) < 0
                && io::Error::last_os_error().raw_os_error() == Some(libc::EINTR)
            {}
        }
    }
}

/// The life of a [`Holder`].
extern "C" fn hold(orders: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `orders` is the child's copy of what its parent wrote. Everything here is a plain system call; the error number
    // is read from this thread's own memory.
    unsafe {
        let orders = &*orders.cast::<Orders>();
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let mut failed = 0;
        if orders.enter >= 0 && libc::setns(orders.enter, libc::CLONE_NEWUSER) != 0 {
            failed = *libc::__errno_location();
        }
        if failed == 0 && orders.network && libc::unshare(libc::CLONE_NEWNET) != 0 {
            failed = *libc::__errno_location();
        }
        libc::write(orders.report, (&raw const failed).cast(), 4);
        loop {
            libc::pause();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn map() -> IdMap {
        let ranges = vec![
            IdRange {
                inside: 0,
                outside: 200_000,
                count: 1000,
            },
            IdRange {
                inside: 1000,
                outside: 400_000,
                count: 10,
            },
        ];
        IdMap {
            uids: ranges.clone(),
            gids: ranges,
        }
    }

    #[test]
    fn ids_in_and_out() {
        let map = map();
        for (inside, outside) in [(0, 200_000), (999, 200_999), (1000, 400_000), (1009, 400_009)] {
            assert_eq!(map.uid_outside(inside), Some(outside));
            assert_eq!(map.gid_inside(outside), inside);
        }
        assert_eq!(map.gid_outside(1010), None);
        assert_eq!(map.uid_inside(0), NOBODY);
        assert_eq!(map.uid_inside(201_000), NOBODY);
        assert_eq!(parse(&lines(&map.uids)), Some(map.uids));
        assert_eq!(parse("0 1\n"), None);
    }

    // Needs root.
    #[test]
    fn a_namespace_has_the_ids_it_was_made_with() {
        let map = map();
        let holder = Holder::start(Owner::New(&map), false).expect("holder");
        assert_eq!(IdMap::of_process(holder.0).expect("maps"), map);
        let pid = holder.0;
        let namespace = holder.namespace("user").expect("namespace");
        drop(holder);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        assert!(!is_own(&namespace).expect("compare"));
        let entered = Holder::start(Owner::Existing(namespace.as_fd()), true).expect("enter");
        assert_eq!(IdMap::of_process(entered.0).expect("maps"), map);
        let network = entered.namespace("net").expect("network namespace");
        assert!(!is_own(owner_of(network).expect("owner")).expect("compare"));
        let host = fs_err::File::open("/proc/self/ns/net").expect("own network");
        assert!(is_own(owner_of(host).expect("owner")).expect("compare"));
    }

    // Needs root.
    #[test]
    fn files_made_for_another_are_the_others_and_nothing_is_lost() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("file");
        let ours = fs_err::metadata(dir.path()).expect("metadata");
        acting_as(200_000, 200_001, || -> io::Result<()> {
            // Not in a directory that is root's alone, but for the capability.
            fs_err::write(&path, "x")?;
            std::os::unix::fs::chown(dir.path(), Some(5), None)
        })
        .expect("thread")
        .expect("work");
        use std::os::unix::fs::MetadataExt;
        let made = fs_err::metadata(&path).expect("metadata");
        assert_eq!((made.uid(), made.gid()), (200_000, 200_001));
        assert_eq!(fs_err::metadata(dir.path()).expect("metadata").uid(), 5);
        fs_err::write(dir.path().join("own"), "").expect("write");
        let own = fs_err::metadata(dir.path().join("own")).expect("metadata");
        assert_eq!(own.uid(), ours.uid(), "the caller stayed who it was");
    }
}
