//! One process per root.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::layout::Layout;
use crate::{Result, StoreError};

/// A process that was killed holds its lock until the last of its threads is gone: whoever starts the next at once waits.
const DYING: Duration = Duration::from_secs(5);
/// For a holder that shows no sign of dying (yet).
const BRIEF: Duration = Duration::from_millis(300);

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
        let asked = Instant::now();
        loop {
            match rustix::fs::flock(file.file().as_fd(), FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(StoreError::io("lock", &path, errno.into())),
            }
            let pid = holder(&mut file);
            let patience = if pid.is_some_and(is_dying) { DYING } else { BRIEF };
            if asked.elapsed() > patience {
                return Err(StoreError::Locked {
                    root: layout.root().to_path_buf(),
                    pid,
                });
            }
            std::thread::sleep(Duration::from_millis(10));
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

/// The process that wrote its number last.
fn holder(file: &mut fs::File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Gone, a zombie, or about to be killed.
fn is_dying(pid: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return true;
    };
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    let killed = |name: &str| {
        field(name)
            .and_then(|mask| u64::from_str_radix(&mask, 16).ok())
            .is_some_and(|mask| mask & (1 << 8) != 0)
    };
    field("State:").is_some_and(|state| state.starts_with(['Z', 'X']))
        || killed("ShdPnd:")
        || killed("SigPnd:")
}
