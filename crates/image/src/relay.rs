//! A blob on its way from one registry to another, through nothing that is stored.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use havre_oci::{Descriptor, Digester};
use havre_registry_client::{BlobStream, BodyStream, RegistryError, Repository, Source};

/// Why the bytes stopped coming, told apart from why the upload failed.
pub(crate) type Failure = Arc<Mutex<Option<String>>>;

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

/// The bytes of `blob` from `offset` on, or those that have `begun` to come; the last are passed on only when all are what the
/// digest says.
pub(crate) fn stream(
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
