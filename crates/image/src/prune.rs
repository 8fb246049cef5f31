//! Removing all images nothing needs.

use std::collections::HashSet;

use havre_oci::{Digest, Reference};
use havre_store::Image;

use crate::remove::Removal;
use crate::select::{Selector, Wanted};
use crate::{Filters, ImageError, ImageService, ImageUse, Keep, Removed, RemovedImage};

/// What to prune.
#[derive(Debug, Clone, Default)]
pub struct PruneOptions {
    /// All images no container uses, not only dangling ones. (`dangling=false` in the filters means the same.)
    pub all: bool,
    /// Those of lists; `dangling` says whether dangling images alone are meant.
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
            let mut removal = Removal::new(store, keep, "prune");
            for (image, _) in chosen {
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
                let mut removal = Removal::new(store, None, "prune");
                for (image, why) in chosen {
                    let id = image.id.clone();
                    service.delete(image, true, true, true, &request.in_use, &mut removal)?;
                    removal.explain(&id, why);
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

    /// The images that are removed, but for their parents, each with what the filters say of it; and whether what can be had
    /// again goes too.
    fn to_prune(
        &self,
        options: &PruneOptions,
        in_use: &[ImageUse],
    ) -> Result<(Vec<(Image, String)>, bool), ImageError> {
        let all = match options.filters.boolean("dangling")? {
            Some(dangling) => !dangling,
            None => options.all,
        };
        let filters = options.filters.without("dangling");
        let selector = Selector::new(self, &filters)?;
        let wanted = Wanted {
            intermediate: true,
            ..Wanted::default()
        };
        let used: HashSet<&Digest> = in_use.iter().map(|user| &user.image).collect();
        let found = self.choose(&selector, wanted, in_use)?;
        let meta = self.store.meta();
        let mut chosen = Vec::new();
        for image in found {
            let group = match image.beside {
                true => Vec::new(),
                false => self.others_of(&image.tags)?,
            };
            // Names that are not meant keep it, and nameless parents go with their last child.
            if used.contains(&image.row.id)
                || group.iter().any(|other| used.contains(&other.id))
                || image.otherwise_named
                || !image.tags.is_empty() && !all
                || image.tags.is_empty() && meta.has_children(&image.row.id)?
            {
                continue;
            }
            let why = selector.why(&image);
            if let Some(row) = meta.find_image(&image.row.id)? {
                chosen.push((group, row, why));
            }
        }
        let mut deep = Vec::with_capacity(chosen.len());
        for (group, image, why) in chosen {
            let generations = self.generations(&image)?;
            // The one its name stands for by itself goes last: the name would stand for another.
            for image in group.into_iter().chain([image]) {
                deep.push((generations, image, why.clone()));
            }
        }
        // What stands on an image goes before it.
        deep.sort_by_key(|(generations, ..)| std::cmp::Reverse(*generations));
        let chosen = deep.into_iter().map(|(_, image, why)| (image, why)).collect();
        Ok((chosen, all && filters.is_empty()))
    }

    /// The images for other platforms that tags stand for.
    fn others_of(&self, tags: &[Reference]) -> Result<Vec<Image>, ImageError> {
        let mut others: Vec<Image> = Vec::new();
        for tag in tags {
            for image in self.images_of(tag)?.into_iter().skip(1) {
                if !others.iter().any(|other| other.id == image.id) {
                    others.push(image);
                }
            }
        }
        Ok(others)
    }

    /// How many images an image was built on, one on the other.
    fn generations(&self, image: &Image) -> Result<usize, ImageError> {
        let mut seen = HashSet::new();
        let mut next = image.parent.clone();
        while let Some(parent) = next.filter(|parent| seen.insert(parent.clone())) {
            next = self
                .store
                .meta()
                .find_image(&parent)?
                .and_then(|image| image.parent);
        }
        Ok(seen.len())
    }
}
