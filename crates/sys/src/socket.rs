//! Sockets: what the kernel tells beyond reading and writing.

use std::os::fd::{AsFd, AsRawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How much memory, in bytes, is held by what was written to a Unix socket and its peer has not read yet: not the number of
/// those bytes, but zero exactly when there are none (unix(7), `SIOCOUTQ`).
pub fn unread_by_peer(socket: impl AsFd) -> Result<u32, Errno> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one int, which lives through the call. SIOCOUTQ has the number of TIOCOUTQ.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done < 0 {
        let errno = std::io::Error::last_os_error().raw_os_error();
        return Err(errno.map_or(Errno::IO, Errno::from_raw_os_error));
    }
    Ok(bytes.unsigned_abs())
}

/// Whether the peer of a Unix socket has closed it altogether, and not only its sending side.
pub fn peer_is_gone(socket: impl AsFd) -> bool {
    let mut watched = [PollFd::new(&socket, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut watched, Some(&now)).is_ok() && watched[0].revents().contains(PollFlags::HUP)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_the_peer_read_is_not_counted() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        assert_eq!(unread_by_peer(&here), Ok(0));
        here.write_all(b"12345").unwrap();
        assert!(unread_by_peer(&here).unwrap() >= 5);
        there.read_exact(&mut [0; 4]).unwrap();
        assert!(unread_by_peer(&here).unwrap() > 0);
        there.read_exact(&mut [0]).unwrap();
        assert_eq!(unread_by_peer(&here), Ok(0));
    }

    #[test]
    fn a_peer_that_only_stops_sending_is_not_gone() {
        let (here, there) = UnixStream::pair().unwrap();
        assert!(!peer_is_gone(&here));
        there.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(!peer_is_gone(&here));
        drop(there);
        assert!(peer_is_gone(&here));
    }
}
