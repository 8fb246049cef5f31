//! Layers of build steps, which are directories until somebody wants their archive.

use std::sync::Mutex;
use std::sync::PoisonError;

use havre_oci::Digest;
use havre_store::{ApplyError, Form};

use crate::{ImageError, ImageService};

impl ImageService {
    /// Makes a file of a layer that is a directory, in one pass: its archive is put together, hashed, written and indexed.
    /// What is exported then is read from that file, in several pieces at once. A layer that can't be converted at the
    /// moment, since something mounted stands on it, stays as it is and gives the same archive. Blocking.
    pub(crate) fn pack_layer(&self, diff_id: &Digest) -> Result<(), ImageError> {
        let layers = self.store.layers();
        let layer = layers.find(diff_id)?;
        if layer.is_none_or(|layer| layer.form != Form::Directory) {
            return Ok(());
        }
        match layers.convert(diff_id, &mut |_| {}) {
            Ok(outcome) => tracing::debug!(layer = %diff_id, ?outcome, "to be exported"),
            // Its files aren't what they were: nobody is to get them.
            Err(error @ ApplyError::DiffIdMismatch { .. }) => return Err(ImageError::layer(diff_id, error)),
            Err(error) => tracing::warn!(layer = %diff_id, %error, "a layer stays a directory"),
        }
        Ok(())
    }

    /// The same for several layers, as many at once as there are workers.
    pub(crate) fn pack_layers(&self, layers: Vec<Digest>) -> Result<(), ImageError> {
        let workers = self.limits.workers.clamp(1, layers.len().max(1));
        let waiting = Mutex::new(layers);
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let work = || -> Result<(), ImageError> {
            while let Some(diff_id) = next() {
                self.pack_layer(&diff_id)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
            let mut outcome = work();
            for other in others {
                outcome = outcome.and(other.join().unwrap_or(Err(ImageError::Interrupted)));
            }
            outcome
        })
    }
}
