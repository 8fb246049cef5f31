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
use crate::save::{ANNOTATION_NAME, ANNOTATION_REF};
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
}

fn invalid(reason: impl Into<String>) -> ImageError {
    ImageError::Archive(reason.into())
}

impl ImageService {
    pub(super) fn load_blocking(
        &self,
        input: impl Read + Send,
        events: &mpsc::UnboundedSender<ProgressEvent>,
    ) -> Result<Vec<Loaded>, ImageError> {
        let lease = self.lease();
        let intake = self.take_in(input, &lease, events)?;
        let manifests = intake.oci_manifests()?;
        let ready = match intake.documents.get("manifest.json") {
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
        manifests: &[FoundManifest],
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
            let manifest = manifests
                .iter()
                .find(|found| found.manifest.config.digest == config_digest && self.is_known(&found.manifest))
                .map(|found| (found.descriptor.clone(), found.bytes.clone()));
            ready.push(Ready {
                config_digest,
                config_bytes,
                config,
                manifest,
                names,
            });
        }
        Ok(ready)
    }

    fn read_oci_layout(
        &self,
        intake: &Intake,
        manifests: Vec<FoundManifest>,
    ) -> Result<Vec<Ready>, ImageError> {
        let mut ready: Vec<Ready> = Vec::new();
        for found in manifests {
            let config_digest = found.manifest.config.digest.clone();
            let name = found.name();
            if let Some(known) = ready
                .iter_mut()
                .find(|ready| ready.config_digest == config_digest)
            {
                known.names.extend(name);
                continue;
            }
            if !media_type::is_config(&found.manifest.config.media_type) {
                return Err(ImageError::NotAnImage {
                    reference: found.descriptor.digest.to_string(),
                    media_type: found.manifest.config.media_type,
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
                .then_some((found.descriptor, found.bytes));
            ready.push(Ready {
                config_digest,
                config_bytes,
                config,
                manifest,
                names: name.into_iter().collect(),
            });
        }
        if ready.is_empty() {
            return Err(invalid("index.json names no image"));
        }
        Ok(ready)
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
            None => Err(invalid(format!("{name:?} is missing"))),
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
        self.put_named(&ready.config_digest, &ready.config_bytes, lease)?;
        let mut descriptor = None;
        if let Some((found, bytes)) = ready.manifest {
            self.put_named(&found.digest, &bytes, lease)?;
            descriptor = Some(Descriptor::new(found.media_type, found.digest, found.size));
        }
        let meta = self.store.meta();
        let known = meta.find_image(&ready.config_digest)?;
        let parent = known.as_ref().and_then(|image| image.parent.clone());
        // A manifest that is known already is what a registry has.
        let manifest = known.and_then(|image| image.manifest).or(descriptor);
        let image: Image = self.image_row(ready.config_digest.clone(), manifest, &ready.config, parent)?;
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

/// An image manifest of an OCI layout, with the descriptor that led to it.
struct FoundManifest {
    descriptor: Descriptor,
    bytes: Vec<u8>,
    manifest: Manifest,
}

impl FoundManifest {
    /// The name its annotations give: containerd's full name, or a reference name that is more than a tag.
    fn name(&self) -> Option<Reference> {
        let annotation = |key: &str| self.descriptor.annotations.get(key);
        let text = annotation(ANNOTATION_NAME)
            .or_else(|| annotation(ANNOTATION_REF).filter(|text| text.contains(['/', ':'])))?;
        let reference = Reference::parse(text).ok()?.with_default_tag();
        (reference.digest().is_none()).then_some(reference)
    }
}

impl Intake {
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

    /// The image manifests the layout's index leads to; none without an index. Of an index of platforms, the host's.
    fn oci_manifests(&self) -> Result<Vec<FoundManifest>, ImageError> {
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
            if let Some(manifest) = self.follow(descriptor, 0)? {
                found.push(manifest);
            }
        }
        Ok(found)
    }

    fn follow(&self, descriptor: &Descriptor, depth: usize) -> Result<Option<FoundManifest>, ImageError> {
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
                Ok(Some(FoundManifest {
                    descriptor,
                    bytes: bytes.clone(),
                    manifest,
                }))
            }
            Document::Index(_) if depth == MAX_DEPTH => Err(invalid("too many indexes within indexes")),
            Document::Index(index) => {
                let chosen = self.present_platform(&index)?;
                let mut chosen = chosen.clone();
                // The outer descriptor carries the names.
                chosen.annotations.clone_from(&descriptor.annotations);
                self.follow(&chosen, depth + 1)
            }
        }
    }

    /// Of an index, the host's platform, or the only one whose manifest is in the archive.
    fn present_platform<'a>(&self, index: &'a Index) -> Result<&'a Descriptor, ImageError> {
        let is_here = |descriptor: &&Descriptor| self.documents.contains_key(&blob_name(&descriptor.digest));
        if let Some(descriptor) = Platform::host().select(index).filter(is_here) {
            return Ok(descriptor);
        }
        let mut here = index.manifests.iter().filter(is_here);
        match (here.next(), here.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(ImageError::NoMatchingManifest {
                platform: Platform::host().to_string(),
            }),
        }
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
