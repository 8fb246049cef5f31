//! The layers of an image: which are missing, and in what order they come.

use std::collections::HashSet;

use futures_util::{StreamExt as _, TryStreamExt as _};
use havre_oci::{Descriptor, Digest, ImageConfig, Manifest};
use havre_registry_client::Repository;
use havre_store::Lease;
use tokio::sync::Semaphore;

use super::transfer::Transfer;
use crate::{ImageError, ImageService, Progress, ProgressEvent};

/// One layer to have.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) blob: Descriptor,
    pub(super) diff_id: Digest,
}

impl Wanted {
    /// Docker shows the blob's digest.
    pub(super) fn id(&self) -> String {
        self.blob.digest.short().to_owned()
    }
}

impl ImageService {
    /// Downloads and unpacks what is missing, largest first.
    pub(super) async fn pull_layers(
        &self,
        repository: &Repository,
        from: &str,
        manifest: &Manifest,
        config: &ImageConfig,
        lease: &Lease,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        let mut seen = HashSet::new();
        let all: Vec<Wanted> = manifest
            .layers
            .iter()
            .zip(&config.rootfs.diff_ids)
            .filter(|(_, diff_id)| seen.insert(*diff_id))
            .map(|(blob, diff_id)| Wanted {
                blob: blob.clone(),
                diff_id: diff_id.clone(),
            })
            .collect();
        for layer in &all {
            lease.hold(&layer.diff_id);
            lease.hold(&layer.blob.digest);
        }
        let present = {
            let (layers, from) = (all.clone(), from.to_owned());
            self.blocking(move |service| {
                let found = |layer: &Wanted| {
                    let found = service.store.layers().find_sound(&layer.diff_id)?.is_some();
                    if found {
                        service.seen_at(&layer.diff_id, &layer.blob.digest, &from)?;
                    }
                    Ok(found)
                };
                layers
                    .iter()
                    .map(found)
                    .collect::<Result<Vec<bool>, ImageError>>()
            })
            .await?
        };
        let mut missing = Vec::new();
        for (layer, present) in all.into_iter().zip(present) {
            let status = if present {
                "Already exists"
            } else {
                "Pulling fs layer"
            };
            progress.emit(ProgressEvent::of(layer.id(), status));
            if !present {
                missing.push(layer);
            }
        }
        missing.sort_by_key(|layer| std::cmp::Reverse(layer.blob.size));
        for layer in missing.iter().skip(self.limits.downloads) {
            progress.emit(ProgressEvent::of(layer.id(), "Waiting"));
        }
        let slots = Semaphore::new(self.limits.downloads.max(1));
        // All layers are begun; the slots bound the downloads, so that a layer that is only being unpacked doesn't hold up
        // the next download.
        let count = missing.len().max(1);
        futures_util::stream::iter(missing)
            .map(|layer| self.pull_layer(repository, from, layer, &slots, lease, progress))
            .buffer_unordered(count)
            .try_collect::<()>()
            .await
    }

    async fn pull_layer(
        &self,
        repository: &Repository,
        from: &str,
        layer: Wanted,
        slots: &Semaphore,
        lease: &Lease,
        progress: &dyn Progress,
    ) -> Result<(), ImageError> {
        let id = layer.id();
        let turn = self
            .flights
            .enter(&layer.diff_id, |(status, detail)| {
                progress.emit(ProgressEvent {
                    id: Some(id.clone()),
                    status: status.to_owned(),
                    detail,
                });
            })
            .await;
        let diff_id = layer.diff_id.clone();
        let made = self
            .blocking(move |service| Ok(service.store.layers().find_sound(&diff_id)?.is_some()))
            .await?;
        if !made {
            Transfer {
                service: self,
                repository,
                from,
                layer: &layer,
                lease,
                progress,
                turn: &turn,
            }
            .run(slots)
            .await?;
        }
        progress.emit(ProgressEvent::of(id, "Pull complete"));
        Ok(())
    }
}
