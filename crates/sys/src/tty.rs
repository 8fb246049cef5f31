//! Pseudo terminals and window sizes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::termios::Winsize;

/// Sets the size of a terminal in characters. The foreground process group gets SIGWINCH if it changed.
pub fn set_size(terminal: impl AsFd, width: u16, height: u16) -> io::Result<()> {
    let size = Winsize {
        ws_row: height,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal, size).map_err(Into::into)
}

/// The size of a terminal in characters: width, height.
pub fn size(terminal: impl AsFd) -> io::Result<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(terminal)?;
    Ok((size.ws_col, size.ws_row))
}

/// Gives the terminal behind `master` to a user, so that a program without privileges can open it again by name.
pub fn give_to(master: BorrowedFd<'_>, uid: u32) -> io::Result<()> {
    use rustix::pty::OpenptFlags;
    let peer = rustix::pty::ioctl_tiocgptpeer(
        master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    rustix::fs::fchown(peer, Some(rustix::fs::Uid::from_raw(uid)), None).map_err(Into::into)
}

/// Receives one descriptor over a socket; `UnexpectedEof` if the peer sent none.
pub fn receive_fd(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut data = [0u8; 256];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    rustix::net::recvmsg(
        socket,
        &mut [io::IoSliceMut::new(&mut data)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
