//! A daemon with nothing to do keeps little memory: what a burst of work leaves (free heap, pages of the program that
//! are needed only now and then) goes back to the kernel once it is over.

use std::thread;
use std::time::Duration;

use havre_sys::process::IdleMemory;
use rustix::time::{ClockId, clock_gettime};

/// How often it is looked whether there is work.
const TICK: Duration = Duration::from_secs(2);
/// A process that used less processor time than this in a tick does nothing but wake up.
const QUIET: Duration = Duration::from_millis(5);

/// Starts the thread that looks. Without it, memory stays as the last work left it.
pub(crate) fn watch() {
    let thread = thread::Builder::new()
        .name("rest".to_owned())
        .stack_size(128 << 10)
        .spawn(|| {
            let mut before = processor_time();
            let mut resting = false;
            loop {
                thread::sleep(TICK);
                let worked = processor_time().saturating_sub(before) > QUIET;
                if !worked && !resting {
                    IdleMemory::of_program().release();
                }
                resting = !worked;
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
