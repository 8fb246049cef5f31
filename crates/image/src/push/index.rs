//! Images of several platforms under one name: the index they came by when the registry can have all it names, else one of those
//! that are here.

use havre_oci::{Descriptor, Document, Index, MAX_DOCUMENT_SIZE, media_type};
use havre_store::Image;

use super::layers::Target;
use crate::{ImageError, ImageService, ProgressEvent};

impl ImageService {
    /// Pushes images, the one that stands for the name first, and an index of them under the tag. Its descriptor.
    pub(super) async fn push_index(
        &self,
        target: &Target<'_>,
        images: &[Image],
        tag: &str,
    ) -> Result<Descriptor, ImageError> {
        let mut pushed = Vec::with_capacity(images.len());
        for image in images {
            let mut descriptor = self.push_image(target, image, None).await?;
            descriptor.platform = Some(image.platform.clone());
            pushed.push(descriptor);
        }
        let known = {
            let name = target.reference.canonical();
            self.blocking(move |service| service.known_index(&name)).await?
        };
        let (media_type, bytes) = match known {
            Some((index, bytes)) if self.has_all(target, &index, &pushed).await? => (index.media_type, bytes),
            known => {
                if known.is_some() {
                    let here: Vec<String> = images.iter().map(|image| image.platform.to_string()).collect();
                    target.progress.emit(ProgressEvent::line(format!(
                        "Not everything that came with the image is here: its name will stand for {} only",
                        here.join(", ")
                    )));
                }
                pushed.sort_by(|one, other| one.platform.cmp(&other.platform));
                (media_type::OCI_INDEX.to_owned(), Index::oci(pushed).to_bytes())
            }
        };
        let digest = (target.repository)
            .push_manifest(tag, &media_type, bytes.clone())
            .await?;
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        let (reference, index) = (target.reference.clone(), descriptor.clone());
        let ids: Vec<_> = images.iter().map(|image| image.id.clone()).collect();
        self.blocking(move |service| {
            let lease = service.lease();
            service.put_named(&index.digest, &bytes, &lease)?;
            let meta = service.store.meta();
            for id in &ids {
                meta.add_repo_digest(&reference.repository(), &index.digest, id)?;
            }
            let name = reference.canonical();
            // Somebody may have let it stand for something else meanwhile.
            match meta.reference(&name)? {
                Some(row) if row.image == ids[0] => {
                    Ok(meta.set_reference(&name, (&row.image, &row.others), Some(&index), "push")?)
                }
                _ => Ok(()),
            }
        })
        .await?;
        Ok(descriptor)
    }

    /// The index a name came by.
    fn known_index(&self, name: &str) -> Result<Option<(Index, Vec<u8>)>, ImageError> {
        let row = self.store.meta().reference(name)?;
        let Some(target) = row.and_then(|row| row.target) else {
            return Ok(None);
        };
        if !self.store.content().contains(&target.digest) {
            return Ok(None);
        }
        let bytes = self.store.content().read(&target.digest, MAX_DOCUMENT_SIZE)?;
        Ok(match Document::parse(&bytes, Some(&target.media_type)) {
            Ok(Document::Index(index)) => Some((index, bytes)),
            _ => None,
        })
    }

    /// Whether all that an index names is here: the one image it has, and what was kept with it.
    pub(super) async fn is_whole(&self, target: &Target<'_>, image: &Image) -> Result<bool, ImageError> {
        let (name, image) = (target.reference.canonical(), image.clone());
        self.blocking(move |service| {
            let Some((index, _)) = service.known_index(&name)? else {
                return Ok(false);
            };
            let own = image.manifest.as_ref().map(|manifest| &manifest.digest);
            let kept = service.store.meta().image_blobs(&image.id)?;
            Ok(index
                .manifests
                .iter()
                .all(|named| Some(&named.digest) == own || kept.contains(&named.digest)))
        })
        .await
    }

    /// Pushes an attestation that was kept; whether it was.
    async fn push_attestation(&self, target: &Target<'_>, named: &Descriptor) -> Result<bool, ImageError> {
        if !named.is_attestation() || !self.store.content().contains(&named.digest) {
            return Ok(false);
        }
        let (lease, digest) = (self.lease(), named.digest.clone());
        lease.hold(&digest);
        let read =
            move |service: &ImageService| Ok(service.store.content().read(&digest, MAX_DOCUMENT_SIZE)?);
        let bytes = self.blocking(read).await?;
        let Ok(Document::Manifest(manifest)) = Document::parse(&bytes, Some(&named.media_type)) else {
            return Ok(false);
        };
        for part in manifest.layers.iter().chain([&manifest.config]) {
            lease.hold(&part.digest);
            if target.repository.blob_exists(&part.digest).await? {
                continue;
            }
            if !self.store.content().contains(&part.digest) {
                return Ok(false);
            }
            self.upload(target.repository, part, &|_| {}).await?;
        }
        let name = named.digest.to_string();
        target
            .repository
            .push_manifest(&name, &manifest.media_type, bytes)
            .await?;
        Ok(true)
    }

    /// Whether the repository has all that an index names.
    async fn has_all(
        &self,
        target: &Target<'_>,
        index: &Index,
        pushed: &[Descriptor],
    ) -> Result<bool, ImageError> {
        for named in &index.manifests {
            let here = pushed.iter().any(|descriptor| descriptor.digest == named.digest)
                || self.push_attestation(target, named).await?;
            if !here
                && target
                    .repository
                    .head_manifest(named.digest.as_str())
                    .await?
                    .is_none()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
