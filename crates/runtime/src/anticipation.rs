//! Readiness for moving processes between cgroups.
//!
//! Every move excludes all forks and exits of the system for a moment. When nobody has moved a process lately, the
//! kernel first waits for an RCU grace period: 8 ms on an idle machine, 50 ms on a busy one. Whoever moves right after
//! another does not wait. So a thread, told as soon as a container or a further process is going to be made, moves
//! itself to where it is, which changes nothing, and goes on doing so until the process is there; the wait then
//! happens beside the work that comes before the move.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a process may take to come, and how soon another one may follow.
const HOLD: Duration = Duration::from_millis(100);
/// Less than the shortest grace period, after which the kernel would wait again.
const INTERVAL: Duration = Duration::from_millis(2);

#[derive(Clone, Debug, Default)]
pub(crate) struct Anticipation {
    /// Until when the thread goes on; `None` while there is none.
    until: Arc<Mutex<Option<Instant>>>,
}

impl Anticipation {
    /// A process is about to be made. Returns at once; only costs time when it fails.
    pub(crate) fn begin(&self) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = until.replace(Instant::now() + HOLD).is_some();
        if runs {
            return;
        }
        let shared = Arc::clone(&self.until);
        let thread = std::thread::Builder::new()
            .name("cgroup-move".to_owned())
            .stack_size(64 << 10)
            .spawn(move || hold(&shared));
        if thread.is_err() {
            *until = None;
        }
    }
}

fn hold(until: &Mutex<Option<Instant>>) {
    let file = own_threads();
    // By its number, not as `0`: the kernel takes the lock only for a thread that might be another one.
    let thread = rustix::thread::gettid().as_raw_pid().to_string();
    loop {
        if let Some(file) = &file {
            // Refused (by the rules of version 2, say) is as good: the lock comes first.
            let _ = OpenOptions::new()
                .write(true)
                .open(file)
                .and_then(|mut file| file.write_all(thread.as_bytes()));
            std::thread::sleep(INTERVAL);
        }
        let mut until = until.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() || until.is_none_or(|until| until <= Instant::now()) {
            *until = None;
            return;
        }
    }
}

/// The file that lists the threads of our own cgroup, in any one hierarchy.
fn own_threads() -> Option<PathBuf> {
    let cgroups = fs_err::read_to_string("/proc/thread-self/cgroup").ok()?;
    cgroups.lines().find_map(|line| {
        let file = threads_file(line)?;
        file.exists().then_some(file)
    })
}

/// The same for one line of `/proc/<pid>/cgroup`: `5:devices:/a/b` on version 1, `0::/a/b` on version 2.
fn threads_file(line: &str) -> Option<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
    let root = PathBuf::from(crate::cgroup::ROOT);
    match controllers {
        "" => Some(root.join(path).join("cgroup.threads")),
        name if name.starts_with("name=") => None,
        controllers => Some(root.join(controllers).join(path).join("tasks")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_threads() {
        let file = |line| threads_file(line).map(|file| file.display().to_string());
        assert_eq!(
            file("5:devices:/a/b").as_deref(),
            Some("/sys/fs/cgroup/devices/a/b/tasks")
        );
        assert_eq!(
            file("4:cpu,cpuacct:/").as_deref(),
            Some("/sys/fs/cgroup/cpu,cpuacct/tasks")
        );
        assert_eq!(
            file("0::/user.slice/x:y").as_deref(),
            Some("/sys/fs/cgroup/user.slice/x:y/cgroup.threads")
        );
        assert_eq!(file("9:name=systemd:/"), None);
        assert_eq!(file("nonsense"), None);
    }

    #[test]
    fn the_thread_stays_where_it_is_and_ends() {
        let before = fs_err::read_to_string("/proc/self/cgroup").unwrap();
        let anticipation = Anticipation::default();
        anticipation.begin();
        anticipation.begin();
        while anticipation.until.lock().unwrap().is_some() {
            std::thread::sleep(INTERVAL);
        }
        assert_eq!(fs_err::read_to_string("/proc/self/cgroup").unwrap(), before);
        // And again after its end.
        anticipation.begin();
        assert!(anticipation.until.lock().unwrap().is_some());
    }
}
