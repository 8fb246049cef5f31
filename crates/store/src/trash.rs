//! Deleting off the critical path: renamed out of sight at once, removed by a thread.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::layout::Layout;
use crate::snapshotter::FS;
use crate::store::mounts_beneath;
use crate::{Result, StoreError};

/// Directories deeper than this are removed in pieces, so that a tree of any depth costs few descriptors.
const DEPTH: usize = 64;

/// The way to `trash/`, and the thread that empties it.
#[derive(Debug)]
pub(crate) struct Trash {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    next: AtomicU64,
    stop: AtomicBool,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<PathBuf>,
    working: bool,
}

impl Trash {
    /// Starts emptying `trash/` of what an earlier process left there.
    pub(crate) fn open(layout: &Layout) -> Result<Self> {
        let dir = layout.trash();
        let mut waiting = VecDeque::new();
        let mut next = 0;
        for entry in fs::read_dir(&dir).map_err(StoreError::at("read", &dir))? {
            let entry = entry.map_err(StoreError::at("read", &dir))?;
            let used = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u64>().ok());
            next = next.max(used.map_or(0, |used| used + 1));
            waiting.push_back(entry.path());
        }
        let shared = Arc::new(Shared {
            dir,
            next: next.into(),
            stop: false.into(),
            queue: Mutex::new(Queue {
                waiting,
                working: false,
            }),
            changed: Condvar::new(),
        });
        let worker = std::thread::Builder::new().name("trash".into()).spawn({
            let shared = shared.clone();
            move || shared.work()
        });
        let worker = worker.map_err(StoreError::at("start a thread for", &shared.dir))?;
        Ok(Self {
            shared,
            worker: Some(worker),
        })
    }

    /// Moves `path` out of sight and lets it be deleted; whether there was anything.
    pub(crate) fn discard(&self, path: &Path) -> Result<bool> {
        let target = self.shared.target();
        match rustix::fs::renameat(CWD, path, CWD, &target) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(StoreError::io("remove", path, errno.into())),
        }
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.push_back(target);
        self.shared.changed.notify_all();
        Ok(true)
    }

    /// Waits until everything discarded so far is deleted.
    pub(crate) fn wait(&self) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while queue.working || !queue.waiting.is_empty() {
            queue = self
                .shared
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Trash {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn target(&self) -> PathBuf {
        self.dir
            .join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn work(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.stopped() {
            let Some(path) = queue.waiting.pop_front() else {
                // The timeout only matters for a stop signalled between the check and the wait.
                let timeout = std::time::Duration::from_millis(500);
                queue = self
                    .changed
                    .wait_timeout(queue, timeout)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
                continue;
            };
            queue.working = true;
            drop(queue);
            if let Err(errno) = self.remove(&path) {
                tracing::warn!(path = %path.display(), %errno, "cannot empty the trash; trying again at the next start");
            }
            queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.working = false;
            self.changed.notify_all();
        }
    }

    fn remove(&self, path: &Path) -> Result<(), Errno> {
        match rustix::fs::unlinkat(CWD, path, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(Errno::NOENT) => return Ok(()),
            other => return other,
        }
        // A layer that is a file is still mounted.
        let _ = havre_sys::mount::unmount(&path.join(FS), true);
        match self.remove_dir(path) {
            // Something else is mounted in it.
            Err(Errno::BUSY | Errno::ROFS) => {
                for target in mounts_beneath(path) {
                    let _ = havre_sys::mount::unmount(&target, true);
                }
                self.remove_dir(path)
            }
            other => other,
        }
    }

    fn remove_dir(&self, path: &Path) -> Result<(), Errno> {
        self.empty(open_dir(CWD, path)?, 0)?;
        if self.stopped() {
            return Ok(());
        }
        rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)
    }

    fn empty(&self, dir: OwnedFd, depth: usize) -> Result<(), Errno> {
        let mut entries = Dir::read_from(&dir)?;
        while let Some(entry) = entries.read() {
            if self.stopped() {
                return Ok(());
            }
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if entry.file_type() != FileType::Directory {
                match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => continue,
                    // A file system that doesn't tell types.
                    Err(Errno::ISDIR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            if depth == DEPTH {
                let target = self.target();
                rustix::fs::renameat(dir.as_fd(), name, CWD, &target)?;
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.waiting.push_back(target);
                continue;
            }
            self.empty(open_dir(&dir, name)?, depth + 1)?;
            if !self.stopped() {
                rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR)?;
            }
        }
        Ok(())
    }
}

fn open_dir(parent: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}
