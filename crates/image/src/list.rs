//! Listing images.

use std::cell::LazyCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use havre_oci::{Digest, Reference};
use havre_store::Image;
use jiff::Timestamp;

use crate::filter::path_match;
use crate::{FilterError, Filters, ImageError, ImageService};

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Intermediate images too.
    pub all: bool,
    /// `before`, `since`, `until`, `dangling`, `label`, `label!`, `reference`.
    pub filters: Filters,
    /// Compute `shared_size`.
    pub shared_size: bool,
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
    pub labels: BTreeMap<String, String>,
}

/// The names of all images, read at once.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) tags: HashMap<Digest, Vec<Reference>>,
    pub(crate) digests: HashMap<Digest, Vec<Reference>>,
}

const KEYS: &[&str] = &[
    "before",
    "since",
    "until",
    "dangling",
    "label",
    "label!",
    "reference",
];

impl ImageService {
    /// Images, newest first.
    pub async fn list(&self, options: &ListOptions) -> Result<Vec<Summary>, ImageError> {
        let options = options.clone();
        self.blocking(move |service| service.list_blocking(&options))
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
        for known in meta.all_repo_digests()? {
            if let Ok(reference) = Reference::parse(&known.repository) {
                let reference = reference.with_digest(known.digest);
                names.digests.entry(known.image).or_default().push(reference);
            }
        }
        Ok(names)
    }

    fn list_blocking(&self, options: &ListOptions) -> Result<Vec<Summary>, ImageError> {
        let filters = &options.filters;
        filters.check(KEYS)?;
        let dangling = filters.boolean("dangling")?;
        let created_of = |key| -> Result<Option<Timestamp>, ImageError> {
            let mut found = None;
            for name in filters.get(key) {
                found = Some(self.find(name)?.image.created.unwrap_or(Timestamp::UNIX_EPOCH));
            }
            Ok(found)
        };
        let (before, since, until) = (created_of("before")?, created_of("since")?, filters.until()?);
        let patterns = filters.get("reference");
        for pattern in patterns {
            if path_match(pattern, "").is_none() {
                return Err(FilterError::Pattern(pattern.clone()).into());
            }
        }
        let by_label = !filters.get("label").is_empty() || !filters.get("label!").is_empty();

        let mut images = self.store.meta().image_rows()?;
        images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        let mut names = self.names()?;
        let parents: HashSet<&Digest> = images.iter().filter_map(|image| image.parent.as_ref()).collect();
        let shared_sizes = options.shared_size.then(|| self.shared_sizes()).transpose()?;
        // Made only when there is something to forget.
        let ids: LazyCell<HashSet<&Digest>, _> =
            LazyCell::new(|| images.iter().map(|image| &image.id).collect());
        self.labels.trim(images.len(), |image| ids.contains(image));
        let mut rows = Vec::with_capacity(images.len());
        for image in &images {
            let created = image.created.unwrap_or(Timestamp::UNIX_EPOCH);
            if before.is_some_and(|before| created >= before)
                || since.is_some_and(|since| created <= since)
                || until.is_some_and(|until| created >= until)
            {
                continue;
            }
            let mut tags = names.tags.remove(&image.id).unwrap_or_default();
            let mut digests = names.digests.remove(&image.id).unwrap_or_default();
            let unnamed = tags.is_empty();
            // Docker calls an image dangling that has no tag, and hides those that only serve as parents.
            if unnamed && digests.is_empty() && parents.contains(&image.id) && !options.all {
                continue;
            }
            if dangling.is_some_and(|dangling| dangling != unnamed) {
                continue;
            }
            if !patterns.is_empty() {
                let matches = |reference: &Reference| {
                    let (full, name) = (reference.familiar(), reference.familiar_name());
                    patterns.iter().any(|pattern| {
                        path_match(pattern, &full) == Some(true) || path_match(pattern, &name) == Some(true)
                    })
                };
                tags.retain(matches);
                digests.retain(matches);
                if tags.is_empty() && digests.is_empty() {
                    continue;
                }
            }
            // One damaged image must not hide the others.
            let read = || Ok(self.read_config(&image.id)?.config.labels);
            let labels = match self.labels.get(&image.id, read) {
                Ok(labels) => labels,
                Err(error) => {
                    tracing::warn!(image = %image.id, %error, "the configuration of an image cannot be read");
                    BTreeMap::new()
                }
            };
            if by_label && !filters.labels_match(&labels) {
                continue;
            }
            let shared_size = shared_sizes
                .as_ref()
                .map(|sizes| sizes.get(&image.id).copied().unwrap_or(0));
            rows.push(Summary {
                repo_tags: tags.iter().map(Reference::familiar).collect(),
                repo_digests: digests.iter().map(Reference::familiar).collect(),
                id: image.id.clone(),
                parent: image.parent.clone(),
                created: image.created,
                size: image.size,
                shared_size,
                labels,
            });
        }
        Ok(rows)
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
