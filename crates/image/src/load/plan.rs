//! What an archive means: `manifest.json` (docker-archive), else `index.json` (OCI layout).

use std::io::Read;

use havre_oci::{
    Descriptor, Digest, Document, ImageConfig, Index, Manifest, Platform, Reference, media_type,
};
use havre_store::{Image, Lease, Names};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::Loaded;
use super::intake::{Intake, normalized};
use crate::save::{ANNOTATION_NAME, ANNOTATION_REF, ANNOTATION_SINCE};
use crate::{ImageError, ImageService, ProgressEvent};

const MAX_IMAGES: usize = 10_000;
/// Indexes within indexes.
const MAX_DEPTH: usize = 4;

/// One image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ArchiveEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// An image that is complete and can be published.
struct Ready {
    config_digest: Digest,
    config_bytes: Vec<u8>,
    config: ImageConfig,
    manifest: Option<(Descriptor, Vec<u8>)>,
    names: Vec<Reference>,
    /// The images of the same names for other platforms.
    others: Vec<Ready>,
}

fn invalid(reason: impl Into<String>) -> ImageError {
    ImageError::Archive(reason.into())
}

impl ImageService {
    pub(super) fn load_blocking(
        &self,
        input: impl Read + Send,
        platforms: &[Platform],
        events: &mpsc::UnboundedSender<ProgressEvent>,
    ) -> Result<Vec<Loaded>, ImageError> {
        let lease = self.lease();
        let intake = self.take_in(input, &lease, events)?;
        let manifests = intake.oci_manifests()?;
        let mut ready = match intake.documents.get("manifest.json") {
            Some(json) => self.read_docker_archive(&intake, json, &manifests)?,
            None if intake.documents.contains_key("index.json") => {
                self.read_oci_layout(&intake, manifests)?
            }
            None => {
                return Err(invalid(
                    "it holds neither manifest.json nor index.json; for the tar of a file system use import",
                ));
            }
        };
        if !platforms.is_empty() {
            ready = of_platforms(ready, platforms)?;
        }
        // Everything is sound: now, and not before, it becomes visible.
        let mut loaded = Vec::new();
        for ready in ready {
            self.publish_loaded(ready, &lease, events, &mut loaded)?;
        }
        drop(lease);
        if self.keep.is_bounded() {
            self.settle_compressed()?;
        }
        Ok(loaded)
    }

    fn read_docker_archive(
        &self,
        intake: &Intake,
        json: &[u8],
        manifests: &[FoundImage],
    ) -> Result<Vec<Ready>, ImageError> {
        let entries: Vec<ArchiveEntry> =
            serde_json::from_slice(json).map_err(|error| invalid(format!("manifest.json: {error}")))?;
        if entries.len() > MAX_IMAGES {
            return Err(invalid(format!(
                "manifest.json names {} images, the limit is {MAX_IMAGES}",
                entries.len()
            )));
        }
        let mut ready = Vec::new();
        for entry in entries {
            let config_bytes = intake.document(&entry.config)?.to_vec();
            let config_digest = Digest::sha256_of(&config_bytes);
            intake.check_name(&entry.config, &config_digest)?;
            let config = parse_config(&config_bytes, &entry.config)?;
            let diff_ids = &config.rootfs.diff_ids;
            let layers = entry.layers.unwrap_or_default();
            if layers.len() != diff_ids.len() {
                return Err(ImageError::LayerCount {
                    reference: entry.config,
                    layers: layers.len(),
                    diff_ids: diff_ids.len(),
                });
            }
            for (name, diff_id) in layers.iter().zip(diff_ids) {
                self.check_layer(intake, name, diff_id)?;
            }
            let mut names = Vec::new();
            for tag in entry.repo_tags.unwrap_or_default() {
                let reference =
                    Reference::parse(&tag).map_err(|error| invalid(format!("tag {tag:?}: {error}")))?;
                if reference.tag().is_none() || reference.digest().is_some() {
                    return Err(invalid(format!("tag {tag:?}: expected NAME:TAG")));
                }
                names.push(reference);
            }
            let mut of_image = manifests
                .iter()
                .filter(|found| found.image.manifest.config.digest == config_digest);
            let manifest = of_image
                .clone()
                .find(|found| self.is_known(&found.image.manifest))
                .map(|found| (found.image.descriptor.clone(), found.image.bytes.clone()));
            // What the index has beside an image of this list, the list does not tell.
            let others = match of_image.find(|found| !found.others.is_empty()) {
                Some(found) => self.read_all(intake, &found.others)?,
                None => Vec::new(),
            };
            ready.push(Ready {
                config_digest,
                config_bytes,
                config,
                manifest,
                names,
                others,
            });
        }
        Ok(ready)
    }

    fn read_oci_layout(&self, intake: &Intake, images: Vec<FoundImage>) -> Result<Vec<Ready>, ImageError> {
        let mut ready: Vec<Ready> = Vec::new();
        for found in images {
            let config_digest = &found.image.manifest.config.digest;
            let name = found.name();
            if let Some(known) = ready
                .iter_mut()
                .find(|ready| ready.config_digest == *config_digest && found.others.is_empty())
            {
                known.names.extend(name);
                continue;
            }
            let others = self.read_all(intake, &found.others)?;
            let mut image = self.read_image(intake, &found.image)?;
            image.names.extend(name);
            image.others = others;
            ready.push(image);
        }
        if ready.is_empty() {
            return Err(invalid("index.json names no image"));
        }
        Ok(ready)
    }

    fn read_all(&self, intake: &Intake, found: &[FoundManifest]) -> Result<Vec<Ready>, ImageError> {
        found.iter().map(|found| self.read_image(intake, found)).collect()
    }

    /// An image of a layout, complete, without a name.
    fn read_image(&self, intake: &Intake, found: &FoundManifest) -> Result<Ready, ImageError> {
        let config_digest = found.manifest.config.digest.clone();
        if !media_type::is_config(&found.manifest.config.media_type) {
            return Err(ImageError::NotAnImage {
                reference: found.descriptor.digest.to_string(),
                media_type: found.manifest.config.media_type.clone(),
            });
        }
        let path = blob_name(&config_digest);
        let config_bytes = intake.document(&path)?.to_vec();
        intake.check_name(&path, &config_digest_of(&config_digest, &config_bytes))?;
        let config = parse_config(&config_bytes, &path)?;
        let (layers, diff_ids) = (&found.manifest.layers, &config.rootfs.diff_ids);
        if layers.len() != diff_ids.len() {
            let (layers, diff_ids) = (layers.len(), diff_ids.len());
            return Err(ImageError::LayerCount {
                reference: path,
                layers,
                diff_ids,
            });
        }
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            self.check_layer(intake, &blob_name(&layer.digest), diff_id)?;
        }
        let manifest = self
            .is_known(&found.manifest)
            .then(|| (found.descriptor.clone(), found.bytes.clone()));
        Ok(Ready {
            config_digest,
            config_bytes,
            config,
            manifest,
            names: Vec::new(),
            others: Vec::new(),
        })
    }

    /// The layer an archive names must be the one the configuration names; one that was left out must be in the store.
    fn check_layer(&self, intake: &Intake, name: &str, diff_id: &Digest) -> Result<(), ImageError> {
        let real = normalized(name).ok_or_else(|| invalid(format!("{name:?} leads out of the archive")))?;
        match intake.layers.get(intake.real(&real)) {
            Some(found) if found == diff_id => Ok(()),
            Some(found) => Err(invalid(format!(
                "{name:?} has diff ID {found}, the configuration says {diff_id}"
            ))),
            None if self.store.layers().find(diff_id)?.is_some() => Ok(()),
            None => Err(match intake.since() {
                Some(bases) => invalid(format!(
                    "it leaves out layer {}, as whoever loads it has {bases}: load or pull that first",
                    diff_id.short()
                )),
                None => invalid(format!("{name:?} is missing")),
            }),
        }
    }

    /// Whether the layers of a manifest have been seen in the form it names. A manifest of nothing but uncompressed layers is
    /// one that was made for an archive: a push is better off without.
    fn is_known(&self, manifest: &Manifest) -> bool {
        let known = |digest| matches!(self.store.meta().layer_of_blob(digest), Ok(Some(_)));
        let mut layers = manifest.layers.iter();
        layers.all(|layer| known(&layer.digest) || self.has_blob(&layer.digest))
            && manifest.layers.iter().any(|layer| known(&layer.digest))
    }

    fn publish_loaded(
        &self,
        ready: Ready,
        lease: &Lease,
        events: &mpsc::UnboundedSender<ProgressEvent>,
        loaded: &mut Vec<Loaded>,
    ) -> Result<(), ImageError> {
        let mut others = Vec::with_capacity(ready.others.len());
        for other in &ready.others {
            others.push(self.put_ready(other, lease)?);
        }
        let image = self.put_ready(&ready, lease)?;
        let meta = self.store.meta();
        for name in &ready.names {
            let canonical = name.canonical();
            if let Some(old) = meta.reference(&canonical)?.filter(|old| old.image != image.id) {
                let _ = events.send(ProgressEvent::line(format!(
                    "The image {} already exists, renaming the old one with ID {} to empty string",
                    name.familiar(),
                    old.image
                )));
            }
            loaded.push(Loaded {
                image: image.id.clone(),
                reference: Some(name.clone()),
            });
        }
        let names = Names {
            references: ready.names.iter().map(Reference::canonical).collect(),
            others,
            ..Names::default()
        };
        meta.publish_image(&image, &names, "load")?;
        if ready.names.is_empty() {
            loaded.push(Loaded {
                image: image.id,
                reference: None,
            });
        }
        Ok(())
    }
}

impl ImageService {
    /// Stores an image's documents; its row.
    fn put_ready(&self, ready: &Ready, lease: &Lease) -> Result<Image, ImageError> {
        self.put_named(&ready.config_digest, &ready.config_bytes, lease)?;
        let mut descriptor = None;
        if let Some((found, bytes)) = &ready.manifest {
            self.put_named(&found.digest, bytes, lease)?;
            descriptor = Some(Descriptor::new(
                found.media_type.clone(),
                found.digest.clone(),
                found.size,
            ));
        }
        let known = self.store.meta().find_image(&ready.config_digest)?;
        let parent = known.as_ref().and_then(|image| image.parent.clone());
        // A manifest that is known already is what a registry has.
        let manifest = known.and_then(|image| image.manifest).or(descriptor);
        self.image_row(ready.config_digest.clone(), manifest, &ready.config, parent)
    }
}

/// The images of some platforms alone; every one that is asked for must be there.
fn of_platforms(ready: Vec<Ready>, platforms: &[Platform]) -> Result<Vec<Ready>, ImageError> {
    let mut kept = Vec::new();
    for mut ready in ready {
        let names = std::mem::take(&mut ready.names);
        let others = std::mem::take(&mut ready.others);
        let group = others.into_iter().chain([ready]);
        let mut chosen: Vec<Ready> = group
            .filter(|one| {
                platforms
                    .iter()
                    .any(|wanted| wanted.matches(&one.config.platform()))
            })
            .collect();
        if let Some(mut first) = chosen.pop() {
            (first.names, first.others) = (names, chosen);
            kept.push(first);
        }
    }
    for wanted in platforms {
        let there = kept.iter().flat_map(|ready| ready.others.iter().chain([ready]));
        if !there.clone().any(|one| wanted.matches(&one.config.platform())) {
            return Err(ImageError::NoMatchingManifest {
                platform: wanted.to_string(),
            });
        }
    }
    Ok(kept)
}

/// What an entry of the layout's index leads to.
struct FoundImage {
    /// With the annotations of the entry.
    image: FoundManifest,
    /// Of an index of platforms the others that are in the archive.
    others: Vec<FoundManifest>,
}

/// An image manifest of an OCI layout, with the descriptor that led to it.
struct FoundManifest {
    descriptor: Descriptor,
    bytes: Vec<u8>,
    manifest: Manifest,
}

impl FoundImage {
    /// The name its annotations give: containerd's full name, or a reference name that is more than a tag.
    fn name(&self) -> Option<Reference> {
        let annotation = |key: &str| self.image.descriptor.annotations.get(key);
        let text = annotation(ANNOTATION_NAME)
            .or_else(|| annotation(ANNOTATION_REF).filter(|text| text.contains(['/', ':'])))?;
        let reference = Reference::parse(text).ok()?.with_default_tag();
        (reference.digest().is_none()).then_some(reference)
    }
}

impl Intake {
    /// The images whose layers were left out, as the archive says.
    fn since(&self) -> Option<String> {
        let index = self.documents.get("index.json")?;
        match Document::parse(index, Some(media_type::OCI_INDEX)) {
            Ok(Document::Index(mut index)) => index.annotations.remove(ANNOTATION_SINCE),
            _ => None,
        }
    }

    fn document(&self, name: &str) -> Result<&[u8], ImageError> {
        let path = normalized(name).ok_or_else(|| invalid(format!("{name:?} leads out of the archive")))?;
        let found = self.documents.get(self.real(&path));
        found
            .map(Vec::as_slice)
            .ok_or_else(|| invalid(format!("{name:?} is missing")))
    }

    /// A document named by a digest must have it.
    fn check_name(&self, name: &str, actual: &Digest) -> Result<(), ImageError> {
        let Some(rest) = name.strip_prefix("blobs/") else {
            return Ok(());
        };
        if rest.replacen('/', ":", 1) == actual.as_str() {
            return Ok(());
        }
        Err(invalid(format!("{name:?} has digest {actual}")))
    }

    /// The images the layout's index leads to; none without an index. Of an index of platforms, all that are there.
    fn oci_manifests(&self) -> Result<Vec<FoundImage>, ImageError> {
        let Some(bytes) = self.documents.get("index.json") else {
            return Ok(Vec::new());
        };
        let document = Document::parse(bytes, Some(media_type::OCI_INDEX));
        let Document::Index(index) = document.map_err(|error| invalid(format!("index.json: {error}")))?
        else {
            return Err(invalid("index.json is not an index"));
        };
        if index.manifests.len() > MAX_IMAGES {
            return Err(invalid(format!("index.json names more than {MAX_IMAGES} images")));
        }
        let mut found = Vec::new();
        for descriptor in &index.manifests {
            found.push(self.follow(descriptor, 0)?);
        }
        Ok(found)
    }

    fn follow(&self, descriptor: &Descriptor, depth: usize) -> Result<FoundImage, ImageError> {
        let path = blob_name(&descriptor.digest);
        let Some(bytes) = self.documents.get(&path) else {
            return Err(invalid(format!("{path:?} is missing")));
        };
        let actual = Digest::of(descriptor.digest.algorithm(), bytes);
        self.check_name(&path, &actual)?;
        let document = Document::parse(
            bytes,
            Some(&descriptor.media_type)
                .filter(|text| !text.is_empty())
                .map(|text| text.as_str()),
        );
        match document.map_err(|error| invalid(format!("{path:?}: {error}")))? {
            Document::Manifest(manifest) => {
                let mut descriptor = descriptor.clone();
                descriptor.media_type.clone_from(&manifest.media_type);
                descriptor.size = bytes.len() as u64;
                Ok(FoundImage {
                    image: FoundManifest {
                        descriptor,
                        bytes: bytes.clone(),
                        manifest,
                    },
                    others: Vec::new(),
                })
            }
            Document::Index(_) if depth == MAX_DEPTH => Err(invalid("too many indexes within indexes")),
            Document::Index(index) => {
                let chosen = self.present_platform(&index)?;
                let mut others = Vec::new();
                for other in index
                    .manifests
                    .iter()
                    .filter(|other| self.is_other(other, chosen))
                {
                    others.push(self.follow(other, depth + 1)?.image);
                }
                let mut chosen = chosen.clone();
                // The outer descriptor carries the names.
                chosen.annotations.clone_from(&descriptor.annotations);
                let image = self.follow(&chosen, depth + 1)?.image;
                // Tools write the manifests of platforms they leave out.
                others.retain(|other| {
                    let config = &other.manifest.config;
                    config.digest != image.manifest.config.digest && self.is_here(config)
                });
                Ok(FoundImage { image, others })
            }
        }
    }

    fn is_here(&self, descriptor: &Descriptor) -> bool {
        self.documents.contains_key(&blob_name(&descriptor.digest))
    }

    /// Whether an entry of an index is an image for a platform other than the chosen one's.
    fn is_other(&self, descriptor: &Descriptor, chosen: &Descriptor) -> bool {
        descriptor.digest != chosen.digest
            && descriptor.platform.is_some()
            && !descriptor.is_attestation()
            && self.is_here(descriptor)
    }

    /// Of an index, the host's platform, or else the first whose manifest is in the archive.
    fn present_platform<'a>(&self, index: &'a Index) -> Result<&'a Descriptor, ImageError> {
        let host = Platform::host();
        if let Some(descriptor) = host.select(index).filter(|one| self.is_here(one)) {
            return Ok(descriptor);
        }
        let images = index.manifests.iter().filter(|one| !one.is_attestation());
        let mut here = images.filter(|one| self.is_here(one));
        here.next().ok_or_else(|| ImageError::NoMatchingManifest {
            platform: host.to_string(),
        })
    }
}

fn config_digest_of(named: &Digest, bytes: &[u8]) -> Digest {
    Digest::of(named.algorithm(), bytes)
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

fn parse_config(bytes: &[u8], name: &str) -> Result<ImageConfig, ImageError> {
    ImageConfig::parse(bytes).map_err(|source| ImageError::Config {
        reference: name.to_owned(),
        source,
    })
}
