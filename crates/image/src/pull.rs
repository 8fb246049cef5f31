//! Pull: resolve → select platform → manifest and configuration → layers (downloaded and unpacked at the same time) →
//! image and references, published last.

mod attestations;
mod layers;
mod plan;
mod transfer;

use havre_oci::{Digest, Document, ImageConfig, MAX_CONFIG_SIZE, Manifest, Platform, Reference, media_type};
use havre_registry_client::{Credentials, Repository, Resolved};
use havre_store::{Image, Lease, Names};

use crate::lookup::best;
use crate::remote::selector;
use crate::{ImageError, ImageService, Progress, ProgressEvent};

pub use plan::{PlannedLayer, PullPlan};

/// What to pull, and as whom.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Wanted platform; the host's when `None`.
    pub platform: Option<Platform>,
    /// Every tag of the repository (the reference must have none).
    pub all_tags: bool,
    pub credentials: Credentials,
}

/// A pulled image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Image ID.
    pub image: Digest,
    /// Digest of the manifest or index the reference resolved to.
    pub digest: Digest,
    /// The reference as pulled, with its tag or digest.
    pub reference: Reference,
    /// Nothing was newer.
    pub up_to_date: bool,
}

/// What a reference resolved to, down to one image.
pub(crate) struct Selected {
    /// As the reference resolved: manifest or index.
    pub(crate) top: Resolved,
    /// The manifest of the platform, when `top` is an index.
    child: Option<Resolved>,
    pub(crate) manifest: Manifest,
}

impl Selected {
    pub(crate) fn image_manifest(&self) -> &Resolved {
        self.child.as_ref().unwrap_or(&self.top)
    }
}

impl ImageService {
    /// Pulls an image; one result per tag (several with `all_tags`). Emits Docker's progress lines, the last of which are
    /// "Digest: …" and "Status: …".
    pub async fn pull(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: &dyn Progress,
    ) -> Result<Vec<Pulled>, ImageError> {
        let repository = self.client.repository(reference, &options.credentials);
        if !options.all_tags {
            let reference = reference.clone().with_default_tag();
            let pulled = self.pull_one(&repository, &reference, options, progress).await?;
            emit_status(progress, &reference.familiar(), pulled.up_to_date);
            return Ok(vec![pulled]);
        }
        if !reference.is_name_only() {
            return Err(ImageError::AllTagsWithTag(reference.familiar()));
        }
        let mut pulled = Vec::new();
        for tag in repository.tags().await? {
            // A registry's tags are its own words.
            let reference = reference.with_tag(&tag)?;
            pulled.push(self.pull_one(&repository, &reference, options, progress).await?);
        }
        emit_status(
            progress,
            &reference.familiar(),
            pulled.iter().all(|pulled| pulled.up_to_date),
        );
        Ok(pulled)
    }

    async fn pull_one(
        &self,
        repository: &Repository,
        reference: &Reference,
        options: &PullOptions,
        progress: &dyn Progress,
    ) -> Result<Pulled, ImageError> {
        let selector = selector(reference);
        let name = if reference.digest().is_some() {
            reference.canonical()
        } else {
            selector.clone()
        };
        // Said once the registry has it: what fails before is an error and nothing else.
        let announce = || {
            progress.emit(ProgressEvent::of(
                name.clone(),
                format!("Pulling from {}", reference.path()),
            ))
        };

        let wanted = options.platform.clone().unwrap_or_else(Platform::host);
        if let Some(pulled) = self.known(repository, reference, &selector, options).await? {
            announce();
            progress.emit(ProgressEvent::line(format!("Digest: {}", pulled.digest)));
            return Ok(pulled);
        }
        let selected = self.select(repository, reference, &selector, &wanted).await?;
        announce();
        let lease = self.lease();
        let config = self
            .fetch_config(repository, reference, &selected.manifest, &lease)
            .await?;
        if config.platform().os != "linux" {
            return Err(ImageError::UnsupportedOs {
                os: config.platform().os,
            });
        }
        let from = reference.repository();
        self.pull_layers(repository, &from, &selected.manifest, &config, &lease, progress)
            .await?;
        let attestations = self.pull_attestations(repository, &selected, &lease).await;
        let pulled = self
            .publish(reference, selected, config, attestations, lease)
            .await?;
        self.settle().await?;
        progress.emit(ProgressEvent::line(format!("Digest: {}", pulled.0.digest)));
        if let Some(platform) = &options.platform
            && !platform.matches(&pulled.1)
        {
            // Docker takes a lone manifest of another platform, and says so.
            progress.emit(ProgressEvent::line(format!(
                "WARNING: image with reference {} was found but its platform ({}) does not match the specified platform ({platform})",
                reference.familiar(),
                pulled.1,
            )));
        }
        Ok(pulled.0)
    }

    /// The image under the reference, if it is here and the registry still has the same. Costs a HEAD, which registries
    /// do not count as a pull.
    async fn known(
        &self,
        repository: &Repository,
        reference: &Reference,
        selector: &str,
        options: &PullOptions,
    ) -> Result<Option<Pulled>, ImageError> {
        let local = {
            let (reference, wanted) = (reference.clone(), options.platform.clone());
            self.blocking(move |service| service.local(&reference, wanted.as_ref()))
                .await?
        };
        let Some((image, digest)) = local else {
            return Ok(None);
        };
        let head = repository.head_manifest(selector).await?;
        if head.is_none_or(|head| head.digest != digest) {
            return Ok(None);
        }
        Ok(Some(Pulled {
            image: image.id,
            digest,
            reference: reference.clone(),
            up_to_date: true,
        }))
    }

    /// The complete image a reference stands for on the platform, and the digest it was pulled by. What is served without a choice
    /// suits whoever does not ask.
    fn local(
        &self,
        reference: &Reference,
        wanted: Option<&Platform>,
    ) -> Result<Option<(Image, Digest)>, ImageError> {
        let meta = self.store.meta();
        let digest = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Some(digest.clone()),
            (None, Some(_)) => meta
                .reference(&reference.canonical())?
                .and_then(|row| row.target)
                .map(|target| target.digest),
            (None, None) => None,
        };
        let Some(digest) = digest else { return Ok(None) };
        let images = self.images_of(reference)?;
        let served_alone = |image: &Image| {
            let manifest = image.manifest.as_ref();
            wanted.is_none() && manifest.is_some_and(|manifest| manifest.digest == digest)
        };
        let platform = wanted.cloned().unwrap_or_else(Platform::host);
        let image = match images.first() {
            Some(image) if served_alone(image) => Some(image.clone()),
            _ => best(images, &platform),
        };
        let Some(image) = image else { return Ok(None) };
        for diff_id in &image.layers {
            if self.store.layers().find_sound(diff_id)?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some((image, digest)))
    }

    /// Follows an index to the manifest of the platform.
    pub(crate) async fn select(
        &self,
        repository: &Repository,
        reference: &Reference,
        selector: &str,
        wanted: &Platform,
    ) -> Result<Selected, ImageError> {
        let top = repository.resolve(selector).await?;
        let child = match &top.document {
            Document::Manifest(_) => None,
            Document::Index(index) => {
                let Some(descriptor) = wanted.select(index) else {
                    return Err(ImageError::NoMatchingManifest {
                        platform: wanted.to_string(),
                    });
                };
                Some(repository.resolve(descriptor.digest.as_str()).await?)
            }
        };
        let not_an_image = |media_type: &str| ImageError::NotAnImage {
            reference: reference.familiar(),
            media_type: media_type.to_owned(),
        };
        let manifest = match &child.as_ref().unwrap_or(&top).document {
            Document::Manifest(manifest) => manifest.clone(),
            Document::Index(index) => return Err(not_an_image(&index.media_type)),
        };
        // Old tools wrote configurations as octet streams.
        let config_type = manifest.config.media_type.as_str();
        if !media_type::is_config(config_type) && config_type != "application/octet-stream" {
            return Err(not_an_image(config_type));
        }
        if let Some(layer) = manifest
            .layers
            .iter()
            .find(|layer| !media_type::is_layer(&layer.media_type))
        {
            return Err(not_an_image(&layer.media_type));
        }
        Ok(Selected { top, child, manifest })
    }

    async fn fetch_config(
        &self,
        repository: &Repository,
        reference: &Reference,
        manifest: &Manifest,
        lease: &Lease,
    ) -> Result<ImageConfig, ImageError> {
        let descriptor = &manifest.config;
        lease.hold(&descriptor.digest);
        let bytes = if self.store.content().contains(&descriptor.digest) {
            let digest = descriptor.digest.clone();
            self.blocking(move |service| Ok(service.store.content().read(&digest, MAX_CONFIG_SIZE)?))
                .await?
        } else {
            let bytes = repository.read_blob(descriptor, MAX_CONFIG_SIZE).await?;
            let (lease, descriptor, copy) = (lease.clone(), descriptor.clone(), bytes.clone());
            self.blocking(move |service| service.put_named(&descriptor.digest, &copy, &lease))
                .await?;
            bytes
        };
        image_config(reference, manifest, &bytes)
    }

    /// Everything is there: manifests, then the image, then its names.
    async fn publish(
        &self,
        reference: &Reference,
        selected: Selected,
        config: ImageConfig,
        attestations: Vec<Digest>,
        lease: Lease,
    ) -> Result<(Pulled, Platform), ImageError> {
        let reference = reference.clone();
        self.blocking(move |service| {
            for resolved in [Some(&selected.top), selected.child.as_ref()]
                .into_iter()
                .flatten()
            {
                service.keep(resolved, &lease)?;
            }
            let meta = service.store.meta();
            let id = selected.manifest.config.digest.clone();
            let manifest = selected.image_manifest().descriptor.clone();
            let parent = meta.find_image(&id)?.and_then(|image| image.parent);
            let image = service.image_row(id, Some(manifest), &config, parent)?;
            let top = &selected.top.descriptor;
            let before = service.images_of(&reference)?;
            let tagged = reference.tag().is_some() && reference.digest().is_none();
            let names = Names {
                references: tagged.then(|| reference.canonical()).into_iter().collect(),
                others: Vec::new(),
                target: Some(top),
                repo_digest: Some((reference.repository(), &top.digest)),
                blobs: attestations,
            };
            meta.publish_image(&image, &names, "pull")?;
            // Somebody may have removed it again.
            if let Err(error) = meta.touch_image(&image.id) {
                tracing::debug!(image = %image.id, %error, "cannot note the use of an image");
            }
            let up_to_date = before.iter().any(|before| before.id == image.id);
            let pulled = Pulled {
                image: image.id,
                digest: top.digest.clone(),
                reference,
                up_to_date,
            };
            Ok((pulled, image.platform))
        })
        .await
    }

    /// Stores a manifest or index under the digest it was asked by.
    fn keep(&self, resolved: &Resolved, lease: &Lease) -> Result<(), ImageError> {
        self.put_named(&resolved.descriptor.digest, &resolved.bytes, lease)
    }
}

/// The configuration of a manifest; as many layers must stand in the one as in the other.
pub(crate) fn image_config(
    reference: &Reference,
    manifest: &Manifest,
    bytes: &[u8],
) -> Result<ImageConfig, ImageError> {
    let config = ImageConfig::parse(bytes).map_err(|source| ImageError::Config {
        reference: reference.familiar(),
        source,
    })?;
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(ImageError::LayerCount {
            reference: reference.familiar(),
            layers,
            diff_ids,
        });
    }
    Ok(config)
}

fn emit_status(progress: &dyn Progress, name: &str, up_to_date: bool) {
    let status = if up_to_date {
        "Image is up to date for"
    } else {
        "Downloaded newer image for"
    };
    progress.emit(ProgressEvent::line(format!("Status: {status} {name}")));
}
