//! A daemon with nothing to do keeps little memory: what a burst of work leaves (free heap, pages of the program that
//! are needed only now and then) goes back to the kernel once it is over.

use std::thread;
use std::time::Duration;

use havre_sys::process::{IdleMemory, limit_heaps};
use rustix::time::{ClockId, clock_gettime};

/// How often it is looked whether there is work.
const TICK: Duration = Duration::from_secs(2);
/// A process that used less processor time than this in a tick does nothing but wake up and sweep: one hundredth of a
/// processor.
const QUIET: Duration = Duration::from_millis(20);
/// So many quiet ticks after the last work, memory is given back: at once, and when the threads it needed have ended.
const RELEASES: [u32; 2] = [1, 4];
/// How long a thread waits for blocking work before it ends. Its stack and what the allocator keeps for it go with it.
pub(crate) const KEEP_THREADS: Duration = Duration::from_secs(3);
/// More heaps than processors that work at once would only keep more free memory apart, but large machines need no more.
const MAX_HEAPS: u16 = 4;

/// Starts the thread that looks. Without it, memory stays as the last work left it. To be called before other threads
/// are started.
pub(crate) fn watch() {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    limit_heaps(u16::try_from(processors).unwrap_or(MAX_HEAPS).clamp(2, MAX_HEAPS));
    let thread = thread::Builder::new()
        .name("rest".to_owned())
        .stack_size(128 << 10)
        .spawn(|| {
            let mut before = processor_time();
            let mut quiet = 0_u32;
            loop {
                thread::sleep(TICK);
                let worked = processor_time().saturating_sub(before) > QUIET;
                quiet = if worked { 0 } else { quiet.saturating_add(1) };
                if RELEASES.contains(&quiet) {
                    IdleMemory::of_program().release();
                }
                before = processor_time();
            }
        });
    if let Err(error) = thread {
        tracing::debug!(%error, "memory is not given back at rest");
    }
}

/// What all threads of this process have used.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}
