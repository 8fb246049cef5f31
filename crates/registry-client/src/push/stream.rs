//! Uploading a blob while it is made: its digest and size are known after its last byte.
//!
//! ```text
//! POST blobs/uploads/      → session
//! PATCH session            the bytes, of no announced length
//! PUT session?digest=…     empty
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use havre_oci::Digest;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, StatusCode, Url};

use super::{BodyStream, FINISH_TIMEOUT, watched};
use crate::RegistryError;
use crate::client::Repository;
use crate::endpoint::{Call, Reply, Target};
use crate::retry::{is_transient, retry_after};
use crate::transport::stalled;

/// Makes a blob, always with the same bytes.
pub trait BlobMaker: Send + Sync {
    /// Begins at the first byte; called again when an upload has to start anew.
    fn begin(&self) -> std::io::Result<BodyStream>;

    /// Digest and size of what the last stream gave, once it has ended.
    fn made(&self) -> Option<(Digest, u64)>;
}

enum Outcome {
    Done(Digest, u64),
    Refused(Box<Reply>),
}

impl Repository {
    /// Uploads a blob while it is made; `progress` gets the bytes sent so far. Its digest and size, or `None` when the registry
    /// wants to know the length of a request beforehand: then make the blob first and use [`push_blob`](Self::push_blob).
    ///
    /// A broken upload starts again, since a registry keeps what it got of a request only when that has ended well.
    pub async fn push_made(
        &self,
        maker: &dyn BlobMaker,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Option<(Digest, u64)>, RegistryError> {
        let mut failed = 0;
        loop {
            let (error, after) = match self.push_made_once(maker, progress).await {
                Ok(Outcome::Done(digest, size)) => return Ok(Some((digest, size))),
                Ok(Outcome::Refused(reply)) => {
                    let status = reply.status();
                    if matches!(
                        status,
                        StatusCode::LENGTH_REQUIRED
                            | StatusCode::PAYLOAD_TOO_LARGE
                            | StatusCode::BAD_REQUEST
                            | StatusCode::METHOD_NOT_ALLOWED
                            | StatusCode::NOT_IMPLEMENTED
                    ) {
                        tracing::debug!(%status, "the registry takes no stream of unknown length");
                        return Ok(None);
                    }
                    let transient = is_transient(status) || status == StatusCode::NOT_FOUND;
                    let after = retry_after(reply.headers());
                    let failure = reply.failure(self.options().stall_timeout).await;
                    if !transient {
                        return Err(failure.into_error());
                    }
                    (failure.into_error(), after)
                }
                Err(error) if error.is_transient() => (error, None),
                Err(error) => return Err(error),
            };
            failed += 1;
            let policy = self.options().retry.at_most(3);
            let Some(pause) = policy.pause(failed, after) else {
                return Err(error);
            };
            tracing::debug!(?pause, %error, "upload is started again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn push_made_once(
        &self,
        maker: &dyn BlobMaker,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Outcome, RegistryError> {
        let call = self
            .call(Method::POST, "blobs/uploads/")
            .header(CONTENT_LENGTH, "0");
        let reply = self.origin().exchange(&call).await?;
        if !reply.status().is_success() {
            return Ok(Outcome::Refused(Box::new(reply)));
        }
        let session = self.origin().location(&reply)?;
        let reply = self.patch(maker, session, progress).await?;
        if !reply.status().is_success() {
            return Ok(Outcome::Refused(Box::new(reply)));
        }
        let mut finish = self.origin().location(&reply)?;
        let Some((digest, size)) = maker.made() else {
            return Err(RegistryError::Protocol {
                url: crate::transport::shown(&reply.url),
                reason: "it accepted an upload before the last byte was sent".to_owned(),
            });
        };
        finish.query_pairs_mut().append_pair("digest", digest.as_str());
        let mut call = self.call(Method::PUT, "").header(CONTENT_LENGTH, "0");
        call.target = Target::Url(finish.clone());
        let exchange = tokio::time::timeout(FINISH_TIMEOUT, self.origin().exchange(&call));
        let reply = exchange
            .await
            .map_err(|_| stalled(&Method::PUT, &finish, FINISH_TIMEOUT))??;
        if !reply.status().is_success() {
            return Ok(Outcome::Refused(Box::new(reply)));
        }
        progress(size);
        Ok(Outcome::Done(digest, size))
    }

    /// Sends all bytes, telling the progress.
    async fn patch(
        &self,
        maker: &dyn BlobMaker,
        session: Url,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Reply, RegistryError> {
        let sent = Arc::new(AtomicU64::new(0));
        let ended = Arc::new(AtomicBool::new(false));
        let make = || {
            sent.store(0, Ordering::Relaxed);
            ended.store(false, Ordering::Relaxed);
            let stream = maker.begin().map_err(|source| RegistryError::Made { source })?;
            let (sent, ended) = (Arc::clone(&sent), Arc::clone(&ended));
            Ok(reqwest::Body::wrap_stream(counted(stream, sent, ended)))
        };
        let mut call: Call<'_> = self
            .call(Method::PATCH, "")
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(&make);
        call.target = Target::Url(session.clone());
        let exchange = self.origin().exchange(&call);
        let patience = |_| match ended.load(Ordering::Relaxed) {
            true => FINISH_TIMEOUT,
            false => self.options().stall_timeout,
        };
        let gave_up = |patience| stalled(&Method::PATCH, &session, patience);
        watched(exchange, &sent, progress, patience, gave_up).await
    }
}

/// Counts what passes and notes the end.
fn counted(
    stream: BodyStream,
    sent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures_util::stream::unfold(stream, move |mut stream| {
        let (sent, ended) = (Arc::clone(&sent), Arc::clone(&ended));
        async move {
            let Some(item) = stream.next().await else {
                ended.store(true, Ordering::Relaxed);
                return None;
            };
            if let Ok(chunk) = &item {
                sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
            Some((item, stream))
        }
    })
}
