//! Removing all images nothing needs.

use std::collections::HashSet;

use havre_oci::Digest;
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
        let mut removal = Removal::default();
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
            self.delete(image, true, true, true, in_use, &mut removal)?;
        }
        // All that isn't needed: what can be had again is not.
        if all && !by_label && until.is_none() {
            removal.freed += self.store.evict_compressed(0)?;
        }
        Ok(Pruned {
            removed: removal.removed,
            space_reclaimed: removal.freed,
        })
    }
}
