//! A layer's original compressed form, from the registry it came from to the one it goes to.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use havre_oci::{Descriptor, Digest, Digester, Reference};
use havre_registry_client::{BlobStream, BodyStream, Credentials, RegistryError, Repository, Source};

use super::layers::Target;
use crate::{ImageError, ImageService, ProgressEvent, origin};

/// Repositories asked for one blob.
const MAX_ORIGINS: usize = 4;
/// How long an origin has to begin: what it has can be made here as well.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the bytes stopped coming, told apart from why the upload failed.
type Failure = Arc<Mutex<Option<String>>>;

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
                    Ok(stream(repository.clone(), &blob, offset, begun, &failure))
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

/// What is under way of a forwarded blob.
struct Forwarding {
    repository: Repository,
    blob: Descriptor,
    offset: u64,
    stream: Option<BlobStream>,
    /// Of a stream from the first byte.
    digester: Option<Digester>,
    /// The last bytes are passed on when all of them are known to be right.
    held: Option<Bytes>,
    failure: Failure,
}

impl Forwarding {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let fetch = self
                    .repository
                    .fetch_blob(&self.blob, self.offset, Source::Any)
                    .await?;
                none.insert(fetch)
            }
        };
        while let Some(chunk) = stream.next().await? {
            if let Some(digester) = &mut self.digester {
                digester.update(&chunk);
            }
            if let Some(before) = self.held.replace(chunk) {
                return Ok(Some(before));
            }
        }
        if let Some(digester) = self.digester.take() {
            let actual = digester.finish();
            if actual != self.blob.digest {
                return Err(RegistryError::BlobMismatch {
                    expected: self.blob.digest.clone(),
                    actual,
                });
            }
        }
        Ok(self.held.take())
    }
}

fn stream(
    repository: Repository,
    blob: &Descriptor,
    offset: u64,
    begun: Option<BlobStream>,
    failure: &Failure,
) -> BodyStream {
    let forwarding = Forwarding {
        repository,
        blob: blob.clone(),
        offset,
        stream: begun,
        digester: (offset == 0).then(|| Digester::new(blob.digest.algorithm())),
        held: None,
        failure: Arc::clone(failure),
    };
    Box::pin(futures_util::stream::unfold(
        Some(forwarding),
        |forwarding| async move {
            let mut forwarding = forwarding?;
            match forwarding.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(forwarding))),
                Ok(None) => None,
                Err(error) => {
                    let mut failure = forwarding.failure.lock().unwrap_or_else(PoisonError::into_inner);
                    *failure = Some(error.to_string());
                    drop(failure);
                    Some((Err(io::Error::other(error)), None))
                }
            }
        },
    ))
}
