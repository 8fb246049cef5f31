//! Sockets that another program has opened for this one (systemd's socket activation), and giving them to a next one.

#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The first descriptor that is passed.
const FIRST: RawFd = 3;

/// The variables of the protocol.
pub const PID: &str = "LISTEN_PID";
/// How many descriptors there are.
pub const COUNT: &str = "LISTEN_FDS";

/// Takes descriptors that `sd_listen_fds(3)` has found, by their numbers; each at most once per process.
///
/// What isn't open is left out.
pub fn adopt(numbers: impl IntoIterator<Item = RawFd>) -> Vec<OwnedFd> {
    let open = |number: &RawFd| {
        // SAFETY: F_GETFD touches no memory.
        *number >= FIRST && unsafe { libc::fcntl(*number, libc::F_GETFD) } >= 0
    };
    let numbers = numbers.into_iter().filter(open);
    numbers
        .map(|number| {
            // SAFETY: the descriptor is open, and by the protocol it was opened for this process, in which nothing else
            // knows it.
            let fd = unsafe { OwnedFd::from_raw_fd(number) };
            // Not for children.
            let _ = rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC);
            fd
        })
        .collect()
}

/// Replaces the program of this process by another, which gets these sockets as systemd would pass them. Until it has handlers
/// of its own, hang-ups are ignored in it. Returns only on failure; then descriptors may be in disorder.
pub fn exec_with_sockets(
    program: &Path,
    arguments: &[impl AsRef<OsStr>],
    variables: &[(&str, &str)],
    sockets: &[OwnedFd],
) -> io::Error {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env(PID, std::process::id().to_string())
        .env(COUNT, sockets.len().to_string());
    for (name, value) in variables {
        command.env(name, value);
    }
    // First out of the way of each other, then to their numbers, where they stay open.
    let last = FIRST + sockets.len() as RawFd;
    let mut moved = Vec::new();
    for socket in sockets {
        match rustix::io::fcntl_dupfd_cloexec(socket, last) {
            Ok(fd) => moved.push(fd),
            Err(errno) => return errno.into(),
        }
    }
    for (number, socket) in (FIRST..).zip(&moved) {
        // SAFETY: dup2 takes integers. What it closes belongs to this program, which is about to be replaced.
        if unsafe { libc::dup2(socket.as_raw_fd(), number) } < 0 {
            return io::Error::last_os_error();
        }
    }
    // SAFETY: an ignored signal runs no code.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    command.exec()
}
