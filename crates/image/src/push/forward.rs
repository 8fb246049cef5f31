//! A layer's original compressed form, from the registry it came from to the one it goes to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use havre_oci::{Descriptor, Digest, Reference};
use havre_registry_client::{BlobStream, Credentials, Repository, Source};

use super::layers::Target;
use crate::relay::{self, Failure};
use crate::{ImageError, ImageService, ProgressEvent, origin};

/// Repositories asked for one blob.
const MAX_ORIGINS: usize = 4;
/// How long an origin has to begin: what it has can be made here as well.
const PATIENCE: Duration = Duration::from_secs(10);

impl ImageService {
    /// Sends the blob from the first origin that has it; whether there was one.
    pub(super) async fn forward(
        &self,
        target: &Target<'_>,
        diff_id: &Digest,
        blob: &Descriptor,
    ) -> Result<bool, ImageError> {
        let id = diff_id.short();
        let origins = origin::repositories(blob);
        for from in origins.iter().take(MAX_ORIGINS) {
            if from.repository() == target.reference.repository() {
                continue;
            }
            let Some((repository, begun)) = self.reach(target, from, blob).await else {
                continue;
            };
            tracing::debug!(blob = %blob.digest, from = %from.repository(), "layer is forwarded from its origin");
            let failure = Failure::default();
            let begun = Mutex::new(Some(begun));
            let source = {
                let (blob, failure) = (blob.clone(), Arc::clone(&failure));
                move |offset| {
                    let begun = match offset {
                        0 => begun.lock().unwrap_or_else(PoisonError::into_inner).take(),
                        _ => None,
                    };
                    Ok(relay::stream(repository.clone(), &blob, offset, begun, &failure))
                }
            };
            let told = |sent| {
                let event = ProgressEvent::bytes(id, "Pushing", sent, blob.size);
                target.progress.emit(event);
            };
            told(0);
            match target.repository.push_blob(blob, &source, &told).await {
                Ok(()) => {
                    target.progress.emit(ProgressEvent::of(id, "Pushed"));
                    return Ok(true);
                }
                Err(error) => {
                    let reason = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
                    let Some(reason) = reason else {
                        return Err(error.into());
                    };
                    tracing::info!(blob = %blob.digest, from = %from.repository(), reason, "origin failed on the way");
                }
            }
        }
        Ok(false)
    }

    /// The blob's stream from an origin that answers and may be read. Another registry is asked without credentials: those at
    /// hand are not its.
    async fn reach(
        &self,
        target: &Target<'_>,
        from: &Reference,
        blob: &Descriptor,
    ) -> Option<(Repository, BlobStream)> {
        let credentials = match from.domain() == target.reference.domain() {
            true => target.credentials.clone(),
            false => Credentials::None,
        };
        let repository = self.client.repository(from, &credentials);
        let fetch = repository.fetch_blob(blob, 0, Source::Any);
        let outcome = tokio::time::timeout(PATIENCE, fetch).await;
        match outcome {
            Ok(Ok(stream)) => Some((repository, stream)),
            Ok(Err(error)) => {
                tracing::debug!(blob = %blob.digest, from = %from.repository(), %error, "origin cannot give a layer");
                None
            }
            Err(_) => {
                tracing::debug!(blob = %blob.digest, from = %from.repository(), "origin does not answer");
                None
            }
        }
    }
}
