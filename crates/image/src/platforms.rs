//! What there is of images, platform by platform: those that are here, and what else the index names they came by.

use std::collections::{HashMap, HashSet};

use havre_oci::{Descriptor, Digest, Document, MAX_DOCUMENT_SIZE, Platform, media_type};
use havre_store::Layer;

use crate::{ImageError, ImageService, ImageUse};

/// What an index names that is no image: where its parts came from, and of what they consist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    pub descriptor: Descriptor,
    /// The manifest it is about.
    pub subject: Option<Digest>,
    /// Its manifest is here.
    pub available: bool,
}

/// What a name stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Platforms {
    /// The one that is meant when nobody says which first, then those that are here, then those that are not.
    pub images: Vec<PlatformSummary>,
    pub attestations: Vec<Attestation>,
}

/// One platform of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformSummary {
    /// Image ID; of what is not here the digest of its manifest.
    pub id: Digest,
    pub available: bool,
    pub platform: Platform,
    /// The manifest the image came with or was pushed by; if there is none, its configuration.
    pub target: Descriptor,
    /// IDs of the containers that use it.
    pub containers: Vec<String>,
    /// Bytes that a pull of it would be: documents, and layers as they are compressed; uncompressed if they never were.
    pub content: u64,
    /// Bytes of its layers on the disk, those that others share too.
    pub unpacked: u64,
    /// Bytes on the disk in all: layers, and what is kept beside them.
    pub total: u64,
}

impl ImageService {
    /// Of every image what its names stand for.
    pub(crate) fn platforms(&self, in_use: &[ImageUse]) -> Result<HashMap<Digest, Platforms>, ImageError> {
        let single = self.single_platforms(in_use)?;
        let mut all: HashMap<Digest, Platforms> = HashMap::with_capacity(single.len());
        for (id, summary) in &single {
            let platforms = Platforms {
                images: vec![summary.clone()],
                attestations: Vec::new(),
            };
            all.insert(id.clone(), platforms);
        }
        for row in self.store.meta().references()? {
            let Some(platforms) = all.get_mut(&row.image) else {
                continue;
            };
            for other in &row.others {
                if let Some(other) = single
                    .get(other)
                    .filter(|other| !platforms.images.contains(other))
                {
                    platforms.images.push(other.clone());
                }
            }
            if let Some(target) = &row.target {
                self.add_absent(target, platforms)?;
            }
        }
        Ok(all)
    }

    /// What an index names beside the images that are here.
    fn add_absent(&self, target: &Descriptor, platforms: &mut Platforms) -> Result<(), ImageError> {
        let content = self.store.content();
        if !media_type::is_index(&target.media_type) || !content.contains(&target.digest) {
            return Ok(());
        }
        let bytes = content.read(&target.digest, MAX_DOCUMENT_SIZE)?;
        let Ok(Document::Index(index)) = Document::parse(&bytes, Some(&target.media_type)) else {
            return Ok(());
        };
        for descriptor in index.manifests {
            if descriptor.is_attestation() {
                let attestation = Attestation {
                    subject: descriptor.subject_of_attestation(),
                    available: content.contains(&descriptor.digest),
                    descriptor,
                };
                if !platforms.attestations.contains(&attestation) {
                    platforms.attestations.push(attestation);
                }
                continue;
            }
            let here = |known: &PlatformSummary| known.target.digest == descriptor.digest;
            let (Some(platform), false) = (&descriptor.platform, platforms.images.iter().any(here)) else {
                continue;
            };
            platforms.images.push(PlatformSummary {
                id: descriptor.digest.clone(),
                available: false,
                platform: platform.clone(),
                target: descriptor,
                containers: Vec::new(),
                content: 0,
                unpacked: 0,
                total: 0,
            });
        }
        Ok(())
    }

    /// Of every image its own platform.
    fn single_platforms(&self, in_use: &[ImageUse]) -> Result<HashMap<Digest, PlatformSummary>, ImageError> {
        let (meta, content) = (self.store.meta(), self.store.content());
        let layers = self.store.layers().list()?;
        let layers: HashMap<&Digest, &Layer> = layers.iter().map(|layer| (&layer.diff_id, layer)).collect();
        let mut forms: HashMap<Digest, (u64, u64)> = HashMap::new();
        let mut platforms = HashMap::new();
        for image in meta.images()? {
            let own: HashSet<&Digest> = image.layers.iter().collect();
            let documents = [
                Some(&image.id),
                image.manifest.as_ref().map(|manifest| &manifest.digest),
            ];
            let documents: u64 = (documents.into_iter().flatten())
                .filter_map(|digest| content.size(digest))
                .sum();
            let (mut sent, mut unpacked, mut kept) = (documents, 0, documents);
            for diff_id in own {
                let Some(layer) = layers.get(diff_id) else {
                    continue;
                };
                unpacked += layer.disk_size();
                let (compressed, beside) = match forms.get(diff_id) {
                    Some(known) => *known,
                    None => {
                        let blobs = meta.layer_blobs(diff_id)?;
                        let beside = blobs.iter().filter_map(|blob| content.size(&blob.digest)).sum();
                        let sizes = (blobs.first().map_or(layer.tar_size, |blob| blob.size), beside);
                        forms.insert(diff_id.clone(), sizes);
                        sizes
                    }
                };
                sent += compressed;
                kept += beside;
            }
            let config = || {
                let size = content.size(&image.id).unwrap_or(0);
                Descriptor::new(media_type::OCI_CONFIG, image.id.clone(), size)
            };
            let containers = in_use.iter().filter(|user| user.image == image.id);
            let summary = PlatformSummary {
                id: image.id.clone(),
                available: true,
                platform: image.platform,
                target: image.manifest.clone().unwrap_or_else(config),
                containers: containers.map(|user| user.container.clone()).collect(),
                content: sent,
                unpacked,
                total: unpacked + kept,
            };
            platforms.insert(image.id, summary);
        }
        Ok(platforms)
    }
}
