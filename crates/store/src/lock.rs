//! One process per root.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;

use fs_err as fs;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::layout::Layout;
use crate::{Result, StoreError};

/// The root's lock; released when dropped, and by the kernel when the process ends.
#[derive(Debug)]
pub(crate) struct RootLock {
    _file: fs::File,
}

impl RootLock {
    pub(crate) fn acquire(layout: &Layout) -> Result<Self> {
        let path = layout.lock();
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(StoreError::at("open", &path))?;
        match rustix::fs::flock(file.file().as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let read = (&mut file).take(32).read_to_string(&mut holder);
                let pid = read.ok().and_then(|_| holder.trim().parse().ok());
                return Err(StoreError::Locked {
                    root: layout.root().to_path_buf(),
                    pid,
                });
            }
            Err(errno) => return Err(StoreError::io("lock", &path, errno.into())),
        }
        let write = |file: &mut fs::File| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(StoreError::at("write", &path))?;
        Ok(Self { _file: file })
    }
}
