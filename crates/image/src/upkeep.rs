//! Looking after what is there: finding damage, mending it, and giving layers another form.
//!
//! Everything runs beside the daemon's other work: nothing is held while it is read, one layer is in hand at a time (while
//! checking: one for every two cores), and memory is that of one transfer.

mod check;
mod migrate;
mod repair;
mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use havre_oci::{Descriptor, Digest, Reference};

pub use self::migrate::{Migrated, MigratedLayer, Outcome};
pub use self::repair::Repaired;

use crate::{ImageError, ImageService};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);

/// What can be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    Layer,
    /// A manifest, or an index.
    Manifest,
    /// An image's configuration.
    Config,
    /// The compressed form of a layer, kept beside it.
    Compressed,
    /// A blob that nothing names.
    Unused,
}

impl Object {
    const ALL: [Self; 5] = [
        Self::Layer,
        Self::Manifest,
        Self::Config,
        Self::Compressed,
        Self::Unused,
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Compressed => "compressed layer",
            Self::Unused => "unused blob",
        }
    }

    /// What is called so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|object| object.name() == name)
    }
}

/// One way to mend something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// From the compressed form kept beside it.
    Unpack(Descriptor),
    /// From a repository that has it; for a layer, in this compressed form.
    Fetch {
        from: Reference,
        blob: Option<Descriptor>,
    },
    /// The file is right and only has to be protected again.
    Protect,
    /// It can be done without.
    Remove,
}

impl Remedy {
    /// What would be done, in a few words.
    pub fn description(&self) -> String {
        match self {
            Self::Unpack(_) => "unpack the compressed layer kept here".to_owned(),
            Self::Fetch { from, .. } => format!("fetch from {}", from.familiar_name()),
            Self::Protect => "protect it again".to_owned(),
            Self::Remove => "remove it: nothing is lost".to_owned(),
        }
    }
}

/// Something that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub object: Object,
    pub digest: Digest,
    /// Bytes: of a layer those of its archive.
    pub size: u64,
    /// What is wrong, as a sentence without its end.
    pub reason: String,
    pub users: Users,
    /// Ways to mend it, the best first.
    pub remedies: Vec<Remedy>,
}

impl Problem {
    /// What people can do when there is no remedy.
    pub fn advice(&self) -> String {
        if !self.remedies.is_empty() {
            return String::new();
        }
        match self.object {
            Object::Layer if self.users.images.is_empty() => {
                "no registry is known to have it; it goes with what uses it".to_owned()
            }
            Object::Layer => "no registry is known to have it: load, import or pull the image again, which \
                              replaces it, or build it again with --no-cache"
                .to_owned(),
            _ => "no registry is known to have it: remove the image, then load, pull or build it again"
                .to_owned(),
        }
    }
}

/// Who needs something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// Names of images, or IDs of those without.
    pub images: Vec<String>,
    /// IDs of containers, and of build steps.
    pub containers: Vec<String>,
    /// Whether the build cache does.
    pub cache: bool,
}

/// What a check looked at, and what it found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub images: u64,
    /// Layers read.
    pub layers: u64,
    /// Bytes of their archives.
    pub layer_bytes: u64,
    /// Blobs read.
    pub blobs: u64,
    pub blob_bytes: u64,
    pub problems: Vec<Problem>,
}

/// Work on a blocking thread, as seen from outside.
#[derive(Debug, Default)]
struct Watch {
    /// Bytes.
    done: AtomicU64,
    stop: AtomicBool,
}

/// Ends the work when whoever wanted it is gone.
struct StopOnDrop(Arc<Watch>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl ImageService {
    /// Runs on a blocking thread and tells `shown` about every tenth of a second how many bytes are done.
    async fn watched<T, F>(&self, mut shown: impl FnMut(u64), work: F) -> Result<T, ImageError>
    where
        T: Send + 'static,
        F: FnOnce(&ImageService, &Watch) -> Result<T, ImageError> + Send + 'static,
    {
        let watch = Arc::new(Watch::default());
        let stop = StopOnDrop(Arc::clone(&watch));
        let work = {
            let watch = Arc::clone(&watch);
            self.blocking(move |service| work(service, &watch))
        };
        tokio::pin!(work);
        let mut ticker = tokio::time::interval(TICK);
        let mut last = 0;
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                _ = ticker.tick() => {
                    let now = watch.done.load(Ordering::Relaxed);
                    if now != last {
                        last = now;
                        shown(now);
                    }
                }
            }
        };
        drop(stop);
        outcome
    }
}
