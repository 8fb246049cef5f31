//! Removing all images nothing needs.

use std::collections::HashSet;

use havre_oci::Digest;
use havre_store::Image;
use jiff::Timestamp;

use crate::remove::Removal;
use crate::{Filters, ImageError, ImageService, ImageUse, Keep, Removed, RemovedImage};

/// What to prune.
#[derive(Debug, Clone, Default)]
pub struct PruneOptions {
    /// All images no container uses, not only dangling ones. (`dangling=false` in the filters means the same.)
    pub all: bool,
    /// `until`, `label`, `label!`, `dangling`.
    pub filters: Filters,
}

/// What a plan of a prune is made for.
#[derive(Debug, Clone, Default)]
pub struct PruneRequest {
    /// Containers that go before.
    pub containers: Vec<String>,
    /// Which images, if any.
    pub images: Option<PruneOptions>,
    /// What the other containers use.
    pub in_use: Vec<ImageUse>,
    /// Keys of the records of the build cache that go after.
    pub cache: Vec<String>,
}

/// What a prune would remove. Bytes are of what nothing else has, and each counts once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePlan {
    pub images: Vec<RemovedImage>,
    /// Kept compressed forms of layers that stay, with their bytes.
    pub compressed: Vec<(Digest, u64)>,
    /// Keys of the build cache, with their bytes.
    pub cache: Vec<(String, u64)>,
}

/// What a prune did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    pub removed: Vec<Removed>,
    /// Bytes that came back.
    pub space_reclaimed: u64,
}

const KEYS: &[&str] = &["until", "label", "label!", "dangling"];

impl ImageService {
    /// Removes images that no container uses: the untagged ones, or all.
    pub async fn prune(
        &self,
        options: &PruneOptions,
        in_use: &[ImageUse],
        keep: Option<Keep>,
    ) -> Result<Pruned, ImageError> {
        let (options, in_use) = (options.clone(), in_use.to_vec());
        self.blocking(move |service| service.prune_blocking(&options, &in_use, keep.as_ref()))
            .await
    }

    fn prune_blocking(
        &self,
        options: &PruneOptions,
        in_use: &[ImageUse],
        keep: Option<&Keep>,
    ) -> Result<Pruned, ImageError> {
        let (chosen, everything) = self.to_prune(options, in_use)?;
        let (removed, mut freed) = self.store.removing(|store| {
            let mut removal = Removal::new(store, keep);
            for image in chosen {
                self.delete(image, true, true, true, in_use, &mut removal)?;
            }
            Ok::<_, ImageError>((removal.removed, removal.freed))
        })?;
        // All that isn't needed: what can be had again is not.
        if everything {
            freed += self.store.evict_compressed(0)?;
        }
        Ok(Pruned {
            removed,
            space_reclaimed: freed,
        })
    }

    /// What a prune would remove now, found out by doing it within a transaction that is called off.
    pub async fn plan_prune(&self, request: PruneRequest) -> Result<PrunePlan, ImageError> {
        self.blocking(move |service| {
            let chosen = match &request.images {
                Some(options) => service.to_prune(options, &request.in_use)?,
                None => (Vec::new(), false),
            };
            let (chosen, everything) = chosen;
            service.rehearse(|store| {
                for container in &request.containers {
                    store.forget_snapshot(container)?;
                }
                let mut removal = Removal::new(store, None);
                for image in chosen {
                    service.delete(image, true, true, true, &request.in_use, &mut removal)?;
                }
                let compressed = match everything {
                    true => service.store.compressed()?,
                    false => Vec::new(),
                };
                let mut cache = Vec::new();
                for key in &request.cache {
                    if let Some(freed) = store.forget_cached(key)? {
                        cache.push((key.clone(), freed.bytes));
                    }
                }
                Ok(PrunePlan {
                    images: removal.images,
                    compressed: compressed
                        .into_iter()
                        .map(|blob| (blob.digest, blob.size))
                        .collect(),
                    cache,
                })
            })
        })
        .await
    }

    /// Forgets just these records of the build cache, with what only they held; of each the bytes that come back, or `None` if it
    /// was gone.
    pub async fn prune_cached(&self, keys: &[String]) -> Result<Vec<Option<u64>>, ImageError> {
        let keys = keys.to_vec();
        self.blocking(move |service| {
            service.store.removing(|store| {
                let forget = |key: &String| Ok(store.forget_cached(key)?.map(|freed| freed.bytes));
                keys.iter().map(forget).collect()
            })
        })
        .await
    }

    /// The images that are removed, but for their parents; and whether what can be had again goes too.
    fn to_prune(
        &self,
        options: &PruneOptions,
        in_use: &[ImageUse],
    ) -> Result<(Vec<Image>, bool), ImageError> {
        let filters = &options.filters;
        filters.check(KEYS)?;
        let until = filters.until()?;
        let all = match filters.boolean("dangling")? {
            Some(dangling) => !dangling,
            None => options.all,
        };
        let by_label = !filters.get("label").is_empty() || !filters.get("label!").is_empty();
        let used: HashSet<&Digest> = in_use.iter().map(|user| &user.image).collect();
        let images = self.store.meta().images()?;
        let parents: HashSet<Digest> = images.iter().filter_map(|image| image.parent.clone()).collect();
        let mut names = self.names()?;
        let mut chosen = Vec::new();
        for image in images {
            // Parents go with their last child.
            if used.contains(&image.id) || parents.contains(&image.id) {
                continue;
            }
            let tagged = names.tags.remove(&image.id).is_some_and(|tags| !tags.is_empty());
            if tagged && !all {
                continue;
            }
            if until.is_some_and(|until| image.created.unwrap_or(Timestamp::UNIX_EPOCH) >= until) {
                continue;
            }
            if by_label && !filters.labels_match(&self.read_config(&image.id)?.config.labels) {
                continue;
            }
            chosen.push(image);
        }
        Ok((chosen, all && !by_label && until.is_none()))
    }
}
