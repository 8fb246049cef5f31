//! The labels of images, remembered: a list needs those of every image, and a configuration never changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use havre_oci::Digest;

use crate::ImageError;

pub(crate) type Labels = BTreeMap<String, String>;

/// Labels of one image that are larger than this many bytes are read each time.
const MAX_BYTES: usize = 4 << 10;

#[derive(Debug, Default)]
pub(crate) struct LabelCache(Mutex<HashMap<Digest, Labels>>);

impl LabelCache {
    /// The labels of an image, read by `read` the first time.
    pub(crate) fn get(
        &self,
        image: &Digest,
        read: impl FnOnce() -> Result<Labels, ImageError>,
    ) -> Result<Labels, ImageError> {
        if let Some(labels) = self.known().get(image) {
            return Ok(labels.clone());
        }
        let labels = read()?;
        let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes <= MAX_BYTES {
            self.known().insert(image.clone(), labels.clone());
        }
        Ok(labels)
    }

    /// Forgets images that are gone. Costs nothing while there are not many more of them than `count`.
    pub(crate) fn trim(&self, count: usize, exists: impl Fn(&Digest) -> bool) {
        let mut known = self.known();
        if known.len() > count + count / 4 + 64 {
            known.retain(|image, _| exists(image));
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Labels>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(value: &str) -> Labels {
        [("key".to_owned(), value.to_owned())].into()
    }

    #[test]
    fn read_once_unless_large_or_failed() {
        let cache = LabelCache::default();
        let (small, large) = (Digest::sha256_of(b"small"), Digest::sha256_of(b"large"));
        assert!(cache.get(&small, || Err(ImageError::Interrupted)).is_err());
        assert_eq!(cache.get(&small, || Ok(labels("1"))).unwrap(), labels("1"));
        assert_eq!(cache.get(&small, || Ok(labels("2"))).unwrap(), labels("1"));
        let long = labels(&"x".repeat(MAX_BYTES));
        cache.get(&large, || Ok(long)).unwrap();
        assert_eq!(cache.get(&large, || Ok(labels("2"))).unwrap(), labels("2"));
    }

    #[test]
    fn images_that_are_gone_are_forgotten() {
        let cache = LabelCache::default();
        for number in 0..100_u8 {
            cache
                .get(&Digest::sha256_of(&[number]), || Ok(labels("1")))
                .unwrap();
        }
        let stays = Digest::sha256_of(&[7]);
        cache.trim(100, |_| false);
        assert_eq!(cache.known().len(), 100);
        cache.trim(1, |image| *image == stays);
        assert_eq!(cache.known().keys().collect::<Vec<_>>(), [&stays]);
    }
}
