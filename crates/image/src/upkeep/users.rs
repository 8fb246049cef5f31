//! Who needs which layers and documents, and where they could be had again.

use std::collections::BTreeSet;

use havre_oci::{Descriptor, Digest, Document, MAX_DOCUMENT_SIZE, Reference};
use havre_store::Image;

use super::{Remedy, Users};
use crate::{ImageError, ImageService, origin};

/// Everything that refers to layers and documents, at one moment.
#[derive(Default)]
pub(super) struct Table {
    images: Vec<Known>,
    /// Chains of snapshots, by ID.
    snapshots: Vec<(String, Vec<Digest>)>,
    cached: BTreeSet<Digest>,
}

struct Known {
    image: Image,
    names: Vec<String>,
    /// Repositories it was pulled from or pushed to, with the digest it has there.
    repositories: Vec<(Reference, Digest)>,
    /// Manifests and indexes it is known by.
    documents: BTreeSet<Digest>,
}

impl Table {
    pub(super) fn read(service: &ImageService) -> Result<Self, ImageError> {
        let meta = service.store.meta();
        let mut table = Table::default();
        for image in meta.images()? {
            let mut references = meta.references_to(&image.id)?;
            references.extend(meta.references_beside(&image.id)?);
            let digests = meta.repo_digests(&image.id)?;
            let mut names: Vec<String> = references
                .iter()
                .filter_map(|row| Some(Reference::parse(&row.name).ok()?.familiar()))
                .collect();
            if names.is_empty() {
                names.push(image.id.short().to_owned());
            }
            let mut documents: BTreeSet<Digest> = references
                .into_iter()
                .filter_map(|row| Some(row.target?.digest))
                .collect();
            documents.extend(image.manifest.as_ref().map(|manifest| manifest.digest.clone()));
            let mut repositories = Vec::new();
            for row in digests {
                documents.insert(row.digest.clone());
                if let Ok(repository) = Reference::parse(&row.repository) {
                    repositories.push((repository, row.digest));
                }
            }
            table.images.push(Known {
                image,
                names,
                repositories,
                documents,
            });
        }
        for snapshot in service.store.snapshots().list()? {
            table.snapshots.push((snapshot.id, snapshot.chain));
        }
        for entry in meta.cache_list()? {
            table.cached.extend(entry.record.layers);
        }
        Ok(table)
    }

    pub(super) fn images(&self) -> impl Iterator<Item = &Image> {
        self.images.iter().map(|known| &known.image)
    }

    /// Manifests and indexes that images are known by.
    pub(super) fn documents(&self) -> BTreeSet<&Digest> {
        self.images.iter().flat_map(|known| &known.documents).collect()
    }

    pub(super) fn of_layer(&self, diff_id: &Digest) -> Users {
        let mut users = self.of_images(|known| known.image.layers.contains(diff_id));
        let on_it = self.snapshots.iter().filter(|(_, chain)| chain.contains(diff_id));
        users.containers = on_it.map(|(id, _)| id.clone()).collect();
        users.cache = self.cached.contains(diff_id);
        users
    }

    pub(super) fn of_config(&self, id: &Digest) -> Users {
        self.of_images(|known| known.image.id == *id)
    }

    pub(super) fn of_document(&self, digest: &Digest) -> Users {
        self.of_images(|known| known.documents.contains(digest))
    }

    fn of_images(&self, uses: impl Fn(&Known) -> bool) -> Users {
        let users = self.images.iter().filter(|known| uses(known));
        Users {
            images: users.flat_map(|known| known.names.clone()).collect(),
            ..Users::default()
        }
    }

    /// Where a layer can be had: kept compressed forms that aren't among `damaged`, then the repositories remembered for its
    /// compressed forms, then those of the images it is in.
    pub(super) fn remedies_of_layer(
        &self,
        service: &ImageService,
        diff_id: &Digest,
        damaged: &BTreeSet<Digest>,
    ) -> Result<Vec<Remedy>, ImageError> {
        let content = service.store.content();
        let known = service.store.meta().layer_blobs(diff_id)?;
        let kept = known
            .iter()
            .filter(|blob| content.contains(&blob.digest) && !damaged.contains(&blob.digest));
        let mut remedies: Vec<Remedy> = kept.cloned().map(Remedy::Unpack).collect();
        let mut fetch = |from: Reference, blob: &Descriptor| {
            let remedy = Remedy::Fetch {
                from,
                blob: Some(Descriptor::new(
                    blob.media_type.clone(),
                    blob.digest.clone(),
                    blob.size,
                )),
            };
            if !remedies.contains(&remedy) {
                remedies.push(remedy);
            }
        };
        for blob in &known {
            for from in origin::repositories(blob) {
                fetch(from, blob);
            }
        }
        for known in &self.images {
            let Some(position) = known.image.layers.iter().position(|layer| layer == diff_id) else {
                continue;
            };
            let Some(manifest) = manifest_of(service, &known.image) else {
                continue;
            };
            if manifest.layers.len() != known.image.layers.len() {
                continue;
            }
            for (from, _) in &known.repositories {
                fetch(from.clone(), &manifest.layers[position]);
            }
        }
        Ok(remedies)
    }

    /// Where a configuration can be had.
    pub(super) fn remedies_of_config(&self, service: &ImageService, id: &Digest) -> Vec<Remedy> {
        let Some(known) = self.images.iter().find(|known| known.image.id == *id) else {
            return Vec::new();
        };
        let blob = manifest_of(service, &known.image).map(|manifest| manifest.config);
        let from = known.repositories.iter();
        from.map(|(from, _)| Remedy::Fetch {
            from: from.clone(),
            blob: blob.clone(),
        })
        .collect()
    }

    /// Where a manifest or index can be had.
    pub(super) fn remedies_of_document(&self, digest: &Digest) -> Vec<Remedy> {
        let mut remedies = Vec::new();
        for known in self
            .images
            .iter()
            .filter(|known| known.documents.contains(digest))
        {
            for (from, _) in &known.repositories {
                let remedy = Remedy::Fetch {
                    from: from.clone(),
                    blob: None,
                };
                if !remedies.contains(&remedy) {
                    remedies.push(remedy);
                }
            }
        }
        remedies
    }
}

/// The manifest an image came with, if that is here and says what its digest says.
fn manifest_of(service: &ImageService, image: &Image) -> Option<havre_oci::Manifest> {
    let digest = &image.manifest.as_ref()?.digest;
    let bytes = service.store.content().read(digest, MAX_DOCUMENT_SIZE).ok()?;
    if Digest::of(digest.algorithm(), &bytes) != *digest {
        return None;
    }
    match Document::parse(&bytes, None).ok()? {
        Document::Manifest(manifest) => Some(manifest),
        Document::Index(_) => None,
    }
}
