//! Removal in the background. Deleting a veth pair takes the kernel tens of milliseconds, letting go of a namespace some
//! more, and nobody needs to wait for either.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use havre_sys::netns;

use crate::netlink::{self, Connection};

/// Something to remove.
#[derive(Debug)]
pub(crate) enum Job {
    /// An interface; when it is gone, its address is free.
    Interface { name: String, address: Option<Ipv4Addr> },
    /// A namespace, by the path that keeps it.
    Namespace(PathBuf),
    /// Answered when everything sent before is done.
    Flush(Sender<()>),
}

/// The thread that removes. It ends when this is dropped, after what it was sent before.
pub(crate) struct Reaper {
    jobs: Sender<Job>,
}

impl Reaper {
    /// `released` is told every address that became free.
    pub(crate) fn start(released: impl Fn(Ipv4Addr) + Send + 'static) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        thread::Builder::new()
            .name("network-reaper".to_owned())
            .spawn(move || work(&queue, &released))?;
        Ok(Self { jobs })
    }

    pub(crate) fn send(&self, job: Job) {
        // The thread lives as long as this sender does.
        let _ = self.jobs.send(job);
    }

    /// Waits for everything sent so far.
    pub(crate) fn flush(&self) {
        let (done, wait) = channel();
        self.send(Job::Flush(done));
        let _ = wait.recv();
    }
}

fn work(queue: &Receiver<Job>, released: &dyn Fn(Ipv4Addr)) {
    while let Ok(job) = queue.recv() {
        match job {
            Job::Interface { name, address } => {
                match Connection::open().and_then(|mut host| host.execute(vec![netlink::delete_link(&name)]))
                {
                    // The kernel removes it by itself when its other end's namespace ends.
                    Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {}
                    Err(error) => {
                        tracing::warn!(%error, interface = name, "an interface could not be removed")
                    }
                    Ok(()) => {}
                }
                if let Some(address) = address {
                    released(address);
                }
            }
            Job::Namespace(path) => {
                if let Err(error) = netns::remove(&path) {
                    tracing::warn!(%error, path = %path.display(), "a network namespace could not be removed");
                }
            }
            Job::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}
