//! Listing images.

use std::collections::{BTreeMap, HashMap, HashSet};

use havre_oci::{Digest, Reference};
use havre_store::Image;
use jiff::Timestamp;

use crate::select::{Chosen, Selector, Wanted};
use crate::{Filters, ImageError, ImageService, ImageUse, Platforms};

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Intermediate images too.
    pub all: bool,
    pub filters: Filters,
    /// Compute `shared_size`.
    pub shared_size: bool,
    /// Tell `last_used`.
    pub last_used: bool,
    /// Tell `platforms`.
    pub platforms: bool,
}

/// One row of `images`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub id: Digest,
    pub parent: Option<Digest>,
    /// "debian:latest", in Docker's familiar form.
    pub repo_tags: Vec<String>,
    /// "debian@sha256:…".
    pub repo_digests: Vec<String>,
    pub created: Option<Timestamp>,
    /// Unpacked size of all layers in bytes.
    pub size: u64,
    /// Bytes in layers other images use as well, when asked for.
    pub shared_size: Option<u64>,
    /// When it was last pulled, built upon, or a container was made from it or removed; else when it came. When asked for.
    pub last_used: Option<Timestamp>,
    /// What there is of it, when asked for.
    pub platforms: Option<Platforms>,
    pub labels: BTreeMap<String, String>,
}

/// The names of all images, read at once.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) tags: HashMap<Digest, Vec<Reference>>,
    /// Tags by the images they stand for when a platform is asked for.
    pub(crate) beside: HashMap<Digest, Vec<Reference>>,
    pub(crate) digests: HashMap<Digest, Vec<Reference>>,
}

impl ImageService {
    /// Images, newest first. `in_use`: what containers use, asked for if something depends on it.
    pub async fn list(
        &self,
        options: &ListOptions,
        in_use: impl FnOnce() -> Vec<ImageUse> + Send + 'static,
    ) -> Result<Vec<Summary>, ImageError> {
        let options = options.clone();
        self.blocking(move |service| {
            let in_use = match options.platforms || options.filters.need_uses() {
                true => in_use(),
                false => Vec::new(),
            };
            service.list_blocking(&options, &in_use)
        })
        .await
    }

    pub(crate) fn names(&self) -> Result<Names, ImageError> {
        let meta = self.store.meta();
        let mut names = Names::default();
        for (name, image) in meta.reference_names()? {
            if let Ok(reference) = Reference::parse(&name) {
                names.tags.entry(image).or_default().push(reference);
            }
        }
        for (name, image) in meta.reference_platforms()? {
            if let Ok(reference) = Reference::parse(&name) {
                names.beside.entry(image).or_default().push(reference);
            }
        }
        for known in meta.all_repo_digests()? {
            if let Ok(reference) = Reference::parse(&known.repository) {
                let reference = reference.with_digest(known.digest);
                names.digests.entry(known.image).or_default().push(reference);
            }
        }
        Ok(names)
    }

    fn list_blocking(&self, options: &ListOptions, in_use: &[ImageUse]) -> Result<Vec<Summary>, ImageError> {
        let selector = Selector::new(self, &options.filters)?;
        let wanted = Wanted {
            intermediate: options.all,
            labels: true,
            facts: options.last_used,
        };
        let chosen = self.choose(&selector, wanted, in_use)?;
        let shared_sizes = options.shared_size.then(|| self.shared_sizes()).transpose()?;
        let mut platforms = match options.platforms {
            true => self.platforms(in_use)?,
            false => HashMap::new(),
        };
        let groups = self.sizes_of_groups()?;
        let summary = |image: Chosen| Summary {
            platforms: platforms.remove(&image.row.id),
            repo_tags: image.tags.iter().map(Reference::familiar).collect(),
            repo_digests: image.digests.iter().map(Reference::familiar).collect(),
            parent: image.row.parent,
            created: image.row.created,
            size: match image.beside {
                false => groups.get(&image.row.id).copied().unwrap_or(image.row.size),
                true => image.row.size,
            },
            shared_size: shared_sizes
                .as_ref()
                .map(|sizes| sizes.get(&image.row.id).copied().unwrap_or(0)),
            last_used: image
                .facts
                .filter(|_| options.last_used)
                .map(|facts| facts.used()),
            labels: image.labels,
            id: image.row.id,
        };
        Ok(chosen.into_iter().map(summary).collect())
    }

    /// Bytes of all layers of the images that names stand for on several platforms, by the one that is meant when nobody says which.
    fn sizes_of_groups(&self) -> Result<HashMap<Digest, u64>, ImageError> {
        let meta = self.store.meta();
        let mut sizes = HashMap::new();
        let mut names: Vec<String> = meta
            .reference_platforms()?
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        names.dedup();
        let mut groups: HashMap<Digest, HashSet<Digest>> = HashMap::new();
        for name in names {
            let Some(row) = meta.reference(&name)? else {
                continue;
            };
            let layers = groups.entry(row.image.clone()).or_default();
            for id in row.others.iter().chain([&row.image]) {
                layers.extend(meta.find_image(id)?.into_iter().flat_map(|image| image.layers));
            }
        }
        for (image, layers) in groups {
            let mut size = 0;
            for diff_id in layers {
                size += self.store.layers().find(&diff_id)?.map_or(0, |layer| layer.size);
            }
            sizes.insert(image, size);
        }
        Ok(sizes)
    }

    /// For every image the bytes in layers that other images use as well.
    fn shared_sizes(&self) -> Result<HashMap<Digest, u64>, ImageError> {
        let images = self.store.meta().images()?;
        let layers = self.store.layers().list()?;
        let sizes: HashMap<&Digest, u64> = layers.iter().map(|layer| (&layer.diff_id, layer.size)).collect();
        let mut users: HashMap<&Digest, usize> = HashMap::new();
        for image in &images {
            let layers: HashSet<&Digest> = image.layers.iter().collect();
            for layer in layers {
                *users.entry(layer).or_default() += 1;
            }
        }
        let shared = |image: &Image| {
            let layers = image.layers.iter();
            layers
                .filter(|layer| users.get(layer).is_some_and(|count| *count > 1))
                .map(|layer| sizes.get(layer).copied().unwrap_or(0))
                .sum()
        };
        Ok(images
            .iter()
            .map(|image| (image.id.clone(), shared(image)))
            .collect())
    }
}
