//! Threads that compress, shared by every stream that needs them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::piece::Coders;

/// How long a thread waits for more before it ends.
const IDLE: Duration = Duration::from_secs(1);

/// What a thread does with its compressors.
pub(super) type Job = Box<dyn FnOnce(&mut Coders) + Send>;

/// At most so many threads compress at any time, however many streams there are. They start with the first work and end a
/// second after the last. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    threads: usize,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    running: usize,
    waiting: usize,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Pool")
            .field("threads", &self.0.threads)
            .finish_non_exhaustive()
    }
}

impl Default for Pool {
    /// One thread per core.
    fn default() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from))
    }
}

impl Pool {
    /// With at most `threads` threads (at least one).
    pub fn new(threads: usize) -> Self {
        Self(Arc::new(Shared {
            threads: threads.max(1),
            state: Mutex::default(),
            work: Condvar::new(),
        }))
    }

    /// The most threads that run at once.
    pub fn threads(&self) -> usize {
        self.0.threads
    }

    /// Queues a job; the oldest are done first.
    pub(super) fn submit(&self, job: Job) {
        let mut state = self.0.state();
        state.jobs.push_back(job);
        if state.waiting >= state.jobs.len() || state.running >= self.0.threads {
            drop(state);
            self.0.work.notify_one();
            return;
        }
        state.running += 1;
        drop(state);
        let shared = Arc::clone(&self.0);
        let started = std::thread::Builder::new()
            .name("compress".into())
            .spawn(move || {
                Worker {
                    shared,
                    counted: true,
                }
                .run()
            });
        if started.is_err() {
            let mut state = self.0.state();
            state.running -= 1;
            // Without a thread to do it, the caller does.
            if state.running == 0 {
                let jobs = std::mem::take(&mut state.jobs);
                drop(state);
                let mut coders = Coders::default();
                jobs.into_iter().for_each(|job| job(&mut coders));
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that is counted as running until this is dropped, by a panic of a job too.
struct Worker {
    shared: Arc<Shared>,
    counted: bool,
}

impl Worker {
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut coders = Coders::default();
        let mut state = shared.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job(&mut coders);
                state = shared.state();
                continue;
            }
            state.waiting += 1;
            let waited = shared
                .work
                .wait_timeout_while(state, IDLE, |state| state.jobs.is_empty());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
            if state.jobs.is_empty() {
                // Before the lock is given up: a job that came in between would count on this thread.
                state.running -= 1;
                self.counted = false;
                return;
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.counted {
            self.shared.state().running -= 1;
        }
    }
}
