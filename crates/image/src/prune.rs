//! Removing all images nothing needs.

use std::collections::HashSet;

use havre_oci::{Digest, Reference};
use havre_store::Image;
use jiff::Timestamp;

use crate::remove::Removal;
use crate::{Filters, ImageError, ImageService, ImageUse, Removed};

/// What to prune.
#[derive(Debug, Clone, Default)]
pub struct PruneOptions {
    /// All images no container uses, not only dangling ones. (`dangling=false` in the filters means the same.)
    pub all: bool,
    /// `until`, `label`, `label!`, `dangling`.
    pub filters: Filters,
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
    pub async fn prune(&self, options: &PruneOptions, in_use: &[ImageUse]) -> Result<Pruned, ImageError> {
        let (options, in_use) = (options.clone(), in_use.to_vec());
        self.blocking(move |service| service.prune_blocking(&options, &in_use))
            .await
    }

    fn prune_blocking(&self, options: &PruneOptions, in_use: &[ImageUse]) -> Result<Pruned, ImageError> {
        let (chosen, everything) = self.to_prune(options, in_use)?;
        let (removed, mut freed) = self.store.removing(|store| {
            let mut removal = Removal::new(store);
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

    /// The images a prune would remove, with their names as users write them; parents after the last of their children.
    pub async fn prunable(
        &self,
        options: &PruneOptions,
        in_use: &[ImageUse],
    ) -> Result<Vec<(Image, Vec<String>)>, ImageError> {
        let (options, in_use) = (options.clone(), in_use.to_vec());
        self.blocking(move |service| {
            let (mut chosen, _) = service.to_prune(&options, &in_use)?;
            let used: HashSet<&Digest> = in_use.iter().map(|user| &user.image).collect();
            let images = service.store.meta().images()?;
            let names = service.names()?;
            let named = |id: &Digest| names.tags.contains_key(id) || names.digests.contains_key(id);
            let mut gone: HashSet<Digest> = chosen.iter().map(|image| image.id.clone()).collect();
            let mut at = 0;
            while at < chosen.len() {
                let parent = chosen[at].parent.clone();
                at += 1;
                let Some(parent) = parent.and_then(|id| images.iter().find(|image| image.id == id)) else {
                    continue;
                };
                let mut children = images
                    .iter()
                    .filter(|image| image.parent.as_ref() == Some(&parent.id));
                if !named(&parent.id)
                    && !used.contains(&parent.id)
                    && children.all(|child| gone.contains(&child.id))
                    && gone.insert(parent.id.clone())
                {
                    chosen.push(parent.clone());
                }
            }
            let with_names = |image: Image| {
                let tags = names.tags.get(&image.id).into_iter().flatten();
                let tags = tags.map(Reference::familiar).collect();
                (image, tags)
            };
            Ok(chosen.into_iter().map(with_names).collect())
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
