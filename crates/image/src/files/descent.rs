//! From the uppermost layer down to the one that settles what is at a path, two at a time where they have to be read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::remote::Aim;
use super::{ImageFiles, LayerSource, hides, lock};
use crate::ImageError;

/// Layers that are read at once: what is below waits for inflation more than for the line.
const WORKERS: usize = 2;
/// The next layer is begun when so much of one was read: what is in an upper layer is found before that as a rule.
const AHEAD: u64 = 1 << 20;

/// A search for what is at a path. Of the same files, one at a time.
pub(super) struct Descent<'a> {
    files: &'a ImageFiles,
    /// The uppermost first.
    layers: &'a [usize],
    path: &'a [u8],
    keep: bool,
    /// The position of the layer that is looked at next.
    next: AtomicUsize,
    /// The position of the uppermost layer known to hide all below it.
    settled: AtomicUsize,
    /// By positions: what ends the reading of a layer.
    unwanted: Vec<Option<Arc<AtomicBool>>>,
    /// By positions.
    failures: Mutex<BTreeMap<usize, ImageError>>,
}

impl<'a> Descent<'a> {
    pub(super) fn new(files: &'a ImageFiles, layers: &'a [usize], path: &'a [u8], keep: bool) -> Self {
        let unwanted = layers.iter().map(|layer| match files.sources.get(*layer)? {
            LayerSource::Here(_) => None,
            LayerSource::Remote(remote) => Some(lock(remote).unwanted()),
        });
        Self {
            unwanted: unwanted.collect(),
            files,
            layers,
            path,
            keep,
            next: AtomicUsize::new(0),
            settled: AtomicUsize::new(layers.len()),
            failures: Mutex::default(),
        }
    }

    /// Reads so much that it is known what is at the path; the error of the uppermost layer whose reading failed, if what it
    /// has matters.
    pub(super) fn run(self) -> Result<(), ImageError> {
        let this = &self;
        thread::scope(|scope| {
            let mut workers = 1;
            this.work(&mut || {
                if workers < WORKERS {
                    workers += 1;
                    scope.spawn(|| this.work(&mut || ()));
                }
            });
        });
        for unwanted in self.unwanted.iter().flatten() {
            unwanted.store(false, Ordering::Relaxed);
        }
        let settled = self.settled.into_inner();
        let failures = self.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        match failures.into_iter().next() {
            Some((position, error)) if position <= settled => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes one layer after the other while none above hides it. `ahead` is called when there is time to begin another.
    fn work(&self, ahead: &mut dyn FnMut()) {
        loop {
            let position = self.next.fetch_add(1, Ordering::Relaxed);
            if position >= self.settled.load(Ordering::Relaxed) {
                return;
            }
            let hides = self.look(position, ahead);
            if !matches!(hides, Ok(false)) {
                // Of what is below, nothing is seen, or without this layer nothing can be said.
                self.settled.fetch_min(position, Ordering::Relaxed);
                for unwanted in self.unwanted[position + 1..].iter().flatten() {
                    unwanted.store(true, Ordering::Relaxed);
                }
            }
            if let Err(error) = hides {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.insert(position, error);
            }
        }
    }

    /// Whether a layer hides all below it.
    fn look(&self, position: usize, ahead: &mut dyn FnMut()) -> Result<bool, ImageError> {
        let layer = self.layers[position];
        if let LayerSource::Remote(remote) = self.files.source(layer)? {
            let aim = Aim {
                path: Some(self.path),
                digests: false,
                keep: self.keep.then_some(self.path),
            };
            let mut watch = |read: u64, _| {
                if read > AHEAD {
                    ahead();
                }
                match position > self.settled.load(Ordering::Relaxed) {
                    true => Err(ImageError::Interrupted),
                    false => Ok(()),
                }
            };
            lock(remote).advance(&aim, &mut watch)?;
        }
        self.files.with_tree(layer, |tree| hides(tree, self.path))
    }
}
