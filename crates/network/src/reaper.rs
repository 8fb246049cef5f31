//! Removal in the background. Taking an element out of the firewall takes the kernel ten milliseconds, deleting a veth pair
//! thirty, letting go of a namespace some more, and nobody needs to wait for any of it.
//!
//! What waits is removed together: one firewall transaction for all ports, then the namespaces, then all interfaces at
//! once, so that a hundred containers cost little more than one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use havre_sys::netns;

use crate::firewall::{Element, Firewall};
use crate::netlink::{self, Connection};

/// How many jobs are done together at most: who waits for a port waits for one round.
const ROUND: usize = 64;

/// After so long without a job there is time to look around.
const REST: Duration = Duration::from_secs(2);

/// An endpoint to remove.
#[derive(Debug, Default)]
pub(crate) struct Condemned {
    /// Of the host; empty when it has none.
    pub(crate) interface: String,
    /// An interface in a namespace: left to that, the kernel would remove it some time later, and its hardware address
    /// would be in use until then.
    pub(crate) inside: Option<(PathBuf, String)>,
    /// Forgotten when the interface is gone.
    pub(crate) place: Option<Left>,
    pub(crate) published: Vec<Element>,
}

/// What an endpoint leaves behind when everything that was made for it is gone: its record, and its addresses.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) container: String,
    pub(crate) network: String,
    pub(crate) addresses: Vec<IpAddr>,
}

/// Something to remove, or somebody who waits for it.
#[derive(Debug)]
pub(crate) enum Job {
    Endpoint(Condemned),
    /// A namespace, by the path that keeps it.
    Namespace(PathBuf),
    /// Answered when all ports sent before are withdrawn.
    Settle(Sender<()>),
    /// Answered when everything sent before is done.
    Flush(Sender<()>),
}

/// What the reaper tells its owner.
pub(crate) enum Removed {
    Published(Vec<Element>),
    Endpoint(Left),
}

/// The thread that removes. It ends when this is dropped, after what it was sent before.
pub(crate) struct Reaper {
    jobs: Sender<Job>,
    condemned: Namespaces,
    /// Those in which an interface is to be removed.
    interfaces: Namespaces,
}

/// Namespaces that will be removed, whether there is anything at their path or not.
type Namespaces = Arc<Mutex<BTreeSet<PathBuf>>>;

fn lock(namespaces: &Namespaces) -> MutexGuard<'_, BTreeSet<PathBuf>> {
    namespaces.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reaper {
    /// `removed` is told what is gone, `rested` is called when there has been nothing to do for a while.
    pub(crate) fn start(
        firewall: Firewall,
        removed: impl Fn(Removed) + Send + 'static,
        rested: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let condemned = Namespaces::default();
        let interfaces = Namespaces::default();
        let known = (condemned.clone(), interfaces.clone());
        thread::Builder::new()
            .name("network-reaper".to_owned())
            .spawn(move || work(&queue, &firewall, &removed, &rested, (&known.0, &known.1)))?;
        Ok(Self {
            jobs,
            condemned,
            interfaces,
        })
    }

    pub(crate) fn send(&self, job: Job) {
        match &job {
            Job::Namespace(path) if !lock(&self.condemned).insert(path.clone()) => return,
            Job::Endpoint(Condemned {
                inside: Some((path, _)),
                ..
            }) => {
                lock(&self.interfaces).insert(path.clone());
            }
            _ => {}
        }
        // The thread lives as long as this sender does.
        let _ = self.jobs.send(job);
    }

    /// Makes room for a namespace at a path where there may be one that is on its way out: that one is put away now, and what is
    /// made there then is not removed in its stead. Its interfaces still go in the background, which takes far longer.
    pub(crate) fn make_room(&self, path: &Path) -> std::io::Result<()> {
        let waits = lock(&self.interfaces).contains(path);
        if waits {
            // They are found through the path.
            self.flush();
        }
        let mut condemned = lock(&self.condemned);
        condemned.remove(path);
        netns::remove(path)
    }

    /// Waits until all ports sent so far are withdrawn from the firewall.
    pub(crate) fn settle(&self) {
        self.wait(Job::Settle);
    }

    /// Waits for everything sent so far.
    pub(crate) fn flush(&self) {
        self.wait(Job::Flush);
    }

    fn wait(&self, job: impl FnOnce(Sender<()>) -> Job) {
        let (done, wait) = channel();
        self.send(job(done));
        let _ = wait.recv();
    }
}

fn work(
    queue: &Receiver<Job>,
    firewall: &Firewall,
    removed: &dyn Fn(Removed),
    rested: &dyn Fn(),
    (condemned, interfaces): (&Namespaces, &Namespaces),
) {
    loop {
        let first = match queue.recv_timeout(REST) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => {
                rested();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let (mut endpoints, mut namespaces, mut settled, mut flushed) = (vec![], vec![], vec![], vec![]);
        for job in std::iter::once(first).chain(queue.try_iter().take(ROUND - 1)) {
            match job {
                Job::Endpoint(endpoint) => endpoints.push(endpoint),
                Job::Namespace(path) => namespaces.push(path),
                Job::Settle(waiting) => settled.push(waiting),
                Job::Flush(waiting) => flushed.push(waiting),
            }
        }

        let published: Vec<_> = endpoints
            .iter_mut()
            .flat_map(|endpoint| endpoint.published.drain(..))
            .collect();
        if let Err(error) = firewall.withdraw(&published) {
            tracing::warn!(%error, "published ports could not be withdrawn");
        }
        removed(Removed::Published(published));
        answer(settled);

        for (path, interface) in endpoints.iter().filter_map(|endpoint| endpoint.inside.as_ref()) {
            let deleted = netns::within(path, || delete_links(&[interface]));
            if let Err(error) = deleted
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, interface, "an interface in a namespace could not be removed");
            }
            lock(interfaces).remove(path);
        }
        for path in namespaces {
            // Whoever made room has removed it, and what is there now is another one.
            let mut condemned = lock(condemned);
            if condemned.remove(&path)
                && let Err(error) = netns::remove(&path)
            {
                tracing::warn!(%error, path = %path.display(), "a network namespace could not be removed");
            }
        }
        let interfaces: Vec<_> = endpoints
            .iter()
            .map(|endpoint| endpoint.interface.as_str())
            .filter(|interface| !interface.is_empty())
            .collect();
        if let Err(error) = delete_links(&interfaces) {
            tracing::warn!(%error, ?interfaces, "interfaces could not be removed");
        }
        for left in endpoints.into_iter().filter_map(|endpoint| endpoint.place) {
            removed(Removed::Endpoint(left));
        }
        answer(flushed);
    }
}

fn answer(waiting: Vec<Sender<()>>) {
    for one in waiting {
        let _ = one.send(());
    }
}

/// Deletes links together. Those that the kernel removed by itself, because the other end's namespace ended, are no error.
fn delete_links(names: &[&str]) -> std::io::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let mut host = Connection::open()?;
    let mut failure = None;
    let gone = rustix::io::Errno::NODEV.raw_os_error();
    for name in names {
        match host.execute(vec![netlink::condemn_link(name)]) {
            Err(error) if error.raw_os_error() != Some(gone) => failure = Some(error),
            _ => {}
        }
    }
    match host.execute(vec![netlink::delete_condemned_links()]) {
        Err(error) if error.raw_os_error() != Some(gone) => failure = Some(error),
        _ => {}
    }
    failure.map_or(Ok(()), Err)
}
