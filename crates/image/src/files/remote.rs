//! Images of registries, looked into where they lie: no more is read than it takes to answer, and nothing is stored.
//!
//! Layers the store has are read here. Of the others:
//!
//! | the layer | to list its files | to read one of them |
//! |---|---|---|
//! | has a table of contents (`toc.rs`) | the table | the pieces it lies in |
//! | is an archive that is not compressed | its headers | its bytes |
//! | is compressed, or the registry does not serve parts | all of it | from the beginning to the file |
//!
//! Layers are looked at from the top, the next one only if those above leave open what is at the path. What is found in a
//! compressed layer is what its archive has first under the path: an archive that names a path twice, which tools that make
//! layers don't, has something else at its end.
//!
//! **What is verified**: manifests and the configuration by their digests, a compressed layer that is read to its end by its
//! own, tables and contents found by them by the digests the manifest leads to. What is read of a layer in part is what the
//! registry sends: there is nothing to compare it with.

mod blob;
mod layer;
mod toc;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use havre_oci::{Platform, Reference};

use self::blob::Blob;
pub use self::layer::Watch;
pub(super) use self::layer::{Aim, Contents, RemoteLayer};
use super::{ImageFiles, LayerAbout, LayerSource};
use crate::remote::Access;
use crate::{ImageError, ImageService};

pub(crate) use self::blob::unwrapped;

/// Ends what is being read of a registry, when whoever wanted it is gone.
#[derive(Debug, Default)]
pub struct Abandon(Option<Arc<AtomicBool>>);

impl Abandon {
    /// It was not abandoned.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(left) = &self.0 {
            left.store(true, Ordering::Relaxed);
        }
    }
}

impl ImageFiles {
    /// While this lives, the files are wanted; to be held by whoever may go before they are found.
    pub fn wanted(&self) -> Abandon {
        Abandon(Some(Arc::clone(&self.left)))
    }
}

impl ImageService {
    /// Opens the files of an image in its registry: of an index, those of the platform, or of the host's.
    pub async fn remote_files(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        access: &Access,
    ) -> Result<ImageFiles, ImageError> {
        let image = self.remote_image(reference, platform, access).await?;
        let repository = self.repository(reference, access);
        let left = Arc::new(AtomicBool::new(false));
        let blobs: Vec<Blob> = (image.manifest.layers.iter())
            .map(|blob| Blob::of_registry(blob.clone(), repository.clone(), Arc::clone(&left)))
            .collect();
        let name = reference.familiar();
        self.blocking(move |service| {
            let mut steps = image.config.history.iter().filter(|step| !step.empty_layer);
            let (mut layers, mut sources) = (Vec::new(), Vec::new());
            for (diff_id, blob) in image.config.rootfs.diff_ids.iter().zip(blobs) {
                let store = service.store.layers();
                let here = store.find_sound(diff_id)?;
                let step = steps.next().cloned().unwrap_or_default();
                layers.push(LayerAbout {
                    diff_id: diff_id.clone(),
                    size: here.as_ref().map(|layer| layer.size),
                    created: step.created,
                    created_by: step.created_by,
                    comment: step.comment,
                });
                let remote = || match service.store.content().open(&blob.descriptor.digest) {
                    Ok(file) => Blob::kept(blob.descriptor.clone(), file),
                    Err(_) => blob.clone(),
                };
                // One that goes in this moment is read as if it had never been here.
                sources.push(match here.map(|_| store.tree(diff_id)) {
                    Some(Ok(tree)) => LayerSource::Here(tree),
                    _ => LayerSource::Remote(Box::new(
                        RemoteLayer::new(Arc::clone(&service.store), remote()).into(),
                    )),
                });
            }
            Ok(ImageFiles {
                name,
                id: image.descriptor_of_config().digest.clone(),
                manifest: Some(image.descriptor.digest),
                layers,
                sources,
                left,
            })
        })
        .await
    }
}
